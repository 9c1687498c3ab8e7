"""The pages as a Flask application. Each route reads, calls a pure function, and fills a template."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request

from downtime import patches, windows
from downtime.history import board, decisions, filters
from downtime.history.board import Order
from downtime.history.journey import Attempt
from downtime.history.queue import queue, to_json
from downtime.history.stages import Stage, Whose, standing
from downtime.history.telling import told
from downtime.lanes import Lane
from downtime.settings import Settings
from master.pages import figures, timeline, wording
from master.pages.source import Source
from steps.shared.names import FORCED_BY, BuilderName

# Scripts and styles are files of ours, and nothing is fetched from elsewhere. Forms only filter: they stay here.
CONTENT_SECURITY_POLICY = ("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
                           "img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'")

FEW = 10             # patches: below that, the page explains itself without being asked
ATTEMPTS_SHOWN = 20  # of one patch, the newest; each costs a look into Buildbot's database
KICKED_SHOWN = 500   # sessions of one report


def application(source: Source) -> Flask:
    """All pages over one source. No route ends with an error for what a visitor writes into the address."""
    app = Flask("master.pages")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(wording.FILTERS)
    app.jinja_env.globals.update(base=source.base_url, Stage=Stage, Whose=Whose, Lane=Lane,
                                 decide_by=FORCED_BY[BuilderName.APPROVE], begin_by=FORCED_BY[BuilderName.BEGIN_NOW])
    app.before_request(lambda: _look(source))
    app.after_request(_guarded)
    app.register_error_handler(404, _not_found)
    _add_board(app, source)
    _add_deployment(app, source)
    _add_decisions(app, source)
    app.register_blueprint(figures.blueprint(source))
    return app


def _add_board(app: Flask, source: Source) -> None:
    @app.get("/index.html")
    def index() -> str:
        return render_template("index.html")

    @app.get("/board")
    def show_board() -> str:
        now, settings, journeys = source.now(), source.settings, source.journeys()
        asked, mistakes = filters.read(request.args)
        shown = board.board(journeys.values(), asked, order=_order(settings), now=now, mistakes=mistakes)
        return render_template(
            "board.html", board=shown, filters=asked, queue=queue(journeys, order=_order(settings)), now=now,
            next_window=_next_window(settings, source), in_doubt=source.in_doubt(), explain=len(journeys) < FEW)

    @app.get("/queue.json")
    def show_queue() -> Response:
        return jsonify(to_json(queue(source.journeys(), order=_order(source.settings)), now=source.now()))

    @app.get("/version")
    def version() -> Response:
        return jsonify(version=_version(source))

    app.jinja_env.globals["version"] = lambda: g.version


def _add_deployment(app: Flask, source: Source) -> None:
    @app.get("/deployment")
    def show_deployment() -> str | tuple[str, int]:
        patch_id, user = request.args.get("patch", ""), request.args.get("user", "").strip()
        journey = source.journeys().get(patch_id)
        if journey is None:
            return render_template("missing.html", patch_id=patch_id), 404
        ended = [each for each in journey.attempts if each.ended is not None][-ATTEMPTS_SHOWN:]
        of_several = bool(source.settings.environments.production.fleet.databases)
        outages = {each.request_id: source.outage(each.ended.build_id) for each in ended if each.ended is not None}
        fleets = {each.request_id: source.fleet(build_id) for each in journey.attempts[-ATTEMPTS_SHOWN:]
                  if (build_id := _spread_by(each, of_several=of_several)) is not None}
        return render_template(
            "deployment.html", fleets=fleets, journey=journey,
            row=board.Row(journey=journey, standing=standing(journey), now=source.now()),
            evidence=source.evidence(journey), diff=source.patch_diff(journey), outages=outages, user=user,
            timelines={request_id: timeline.of(document) for request_id, document in outages.items()},
            of_user=timeline.of_user, most=KICKED_SHOWN, attempts=journey.attempts[-ATTEMPTS_SHOWN:],
            history=[(event, told(event)) for event in source.events() if event.patch_id == patch_id])


def _add_decisions(app: Flask, source: Source) -> None:
    @app.get("/decisions")
    def show_decisions() -> str:
        asked, mistakes = filters.read(request.args)
        return render_template("decisions.html", record=decisions.record(source.events(), page=asked.page),
                               mistakes=mistakes)


def _spread_by(attempt: Attempt, *, of_several: bool) -> int | None:
    """The build that knows what became of each database; None where there is one, or nothing was begun.

    Where the canary has failed or took too long it has not spread to the others, which it names as not reached.
    """
    if attempt.spreading is None and not (of_several and attempt.closed is not None and attempt.ended is not None):
        return None
    build = attempt.ended or attempt.asked
    return build.build_id if build is not None else None


def _look(source: Source) -> None:
    """Before anything else is read: what happens while a page is made is shown with the next look."""
    g.version = _version(source)


def _order(settings: Settings) -> Order:
    return partial(patches.number_of, counting=settings.patches.number)


def _next_window(settings: Settings, source: Source) -> Any:
    """When a downtime may begin next, and in how many seconds; None where it may at any time."""
    production, now = settings.environments.production.windows, source.now()
    if production is None:
        return None
    begins_at = windows.next_opening(production, now)
    return {"at": begins_at, "seconds": (begins_at - now).total_seconds()}


def _version(source: Source) -> str:
    """Another one after every event, and when a doubt comes or goes: the script of the pages looks at it."""
    return f"{len(source.events())}{'?' if source.in_doubt() else ''}"


def _not_found(error: Exception) -> tuple[str, int]:
    return render_template("missing.html", patch_id=None), 404


def _guarded(response: Response) -> Response:
    """With what keeps a hostile name from doing anything, should it ever get past the escaping."""
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cache-Control", "no-cache")
    return response
