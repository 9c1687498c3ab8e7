"""The routes of charts and exports: what a browser, a spreadsheet, Prometheus and a site's 503 page ask for.

All but the page are documented for programs in docs/figures.md. Nothing here waits for a database or a repository.
"""

from __future__ import annotations

import json

from flask import Blueprint, Response, render_template, request

from downtime.history import metrics, tables
from downtime.history.selection import EVERYTHING, Selection, from_query
from downtime.history.status_document import status_document
from downtime.lanes import Lane
from master.pages import charts
from master.pages.source import Source

CSV_TYPE = "text/csv; charset=utf-8; header=present"


def blueprint(source: Source) -> Blueprint:
    """The routes over one source; the application that they are registered with has `page.html`."""
    routes = Blueprint("figures", __name__)

    @routes.get("/charts")
    def show_charts() -> tuple[str, int]:
        selection, mistake = _asked_for()
        shown = charts.page(source.journeys().values(), selection, source.settings)
        page = render_template("charts.html", page=shown, selection=selection, mistake=mistake, lanes=tuple(Lane),
                               given=request.args, query=selection.query)
        return page, 400 if mistake else 200

    @routes.get("/deployments.json")
    def deployments_json() -> Response:
        rows, mistake = _rows(source)
        if mistake:
            return _json({"mistake": mistake}, status=400)
        return _json({"generated_at": tables.iso(source.now()), "count": len(rows), "rows": tables.as_json(rows)})

    @routes.get("/deployments.csv")
    def deployments_csv() -> Response:
        rows, mistake = _rows(source)
        if mistake:
            return Response(f"{mistake}\n", status=400, content_type="text/plain; charset=utf-8")
        return Response(tables.as_csv(rows), content_type=CSV_TYPE,
                        headers={"Content-Disposition": 'attachment; filename="deployments.csv"'})

    @routes.get("/metrics")
    def show_metrics() -> Response:
        return Response(metrics.metrics(source.journeys().values(), source.now()), content_type=metrics.CONTENT_TYPE)

    @routes.get("/status.json")
    def show_status() -> Response:
        return _status(source)

    return routes


def _status(source: Source) -> Response:
    """Readable from every site: it says nothing that a visitor may not know, and needs no session."""
    document = status_document(source.journeys().values(), source.now(), in_doubt=source.in_doubt())
    response = _json(document.to_json())
    response.headers["Cache-Control"] = "no-store"
    response.headers["Access-Control-Allow-Origin"] = "*"
    if document.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(document.retry_after_seconds)
    return response


def _asked_for() -> tuple[Selection, str]:
    """What the query string selects; everything, and what is wrong, where it makes no sense."""
    try:
        return from_query(request.args), ""
    except ValueError as error:
        return EVERYTHING, str(error)


def _rows(source: Source) -> tuple[tuple[tables.Row, ...], str]:
    selection, mistake = _asked_for()
    return (() if mistake else tables.rows(source.journeys().values(), selection)), mistake


def _json(value: object, *, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")
