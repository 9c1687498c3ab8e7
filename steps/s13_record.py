"""Record: what came of it, as a timeline, in figures, and as production's own ledger has it."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

from downtime import errors, forecast, ledger, live, phases
from steps.shared import wording
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import SKIPPED, SUCCESS


class Record(RunbookStep):
    """Says in one line what the build was: its headline."""

    name = "record"
    alwaysRun = True
    haltOnFailure = False
    reports_its_own_end = True
    hideStepIf = staticmethod(lambda result, step: result == SKIPPED)

    async def act(self) -> int:
        outcome = self.outages.outcome(self.build_id)
        if outcome is None:
            return SKIPPED  # nothing was begun: the step that said no has said why
        try:
            report = await outcome
        except errors.DowntimeError as error:  # a live application: the step that ran it has shown all of it
            report = None
            sentence = not_deployed(self._patch, error)
            self.say(sentence, headline=sentence)
        self.setProperty(Property.APPLIED, report is not None and is_applied(report), self.name)
        await self.outages.release(self.build_id)
        if report is not None:
            await self._keep(report)
        return SUCCESS

    async def _keep(self, report: phases.Report | live.Report) -> None:
        sentence = headline(self._patch, report)
        self.say(sentence, headline=sentence)  # first of all: reading the ledger may take its time
        entry, row = await self._row()
        if comparison := against_forecast(report, entry):
            self.say(f"{sentence}; {comparison}", headline=sentence)
        if isinstance(report, phases.Report):
            await self.write("timeline", phases.timeline(report.phases))
            self.setProperty(Property.OUTAGE_SECONDS, report.outage_seconds, self.name)
        figures = figures_of(self._patch, report, entry)
        await self.setBuildData("outage", json.dumps(figures, sort_keys=True).encode(), "fastdowntime")
        await self.write("ledger", f"{row}\n\n{comparison}" if comparison else row)

    async def _row(self) -> tuple[ledger.Entry | None, str]:
        """What production's ledger has of the patch, and the same as text."""
        try:
            entries = await self.read_ledger(self.environment)
        except errors.DowntimeError as error:  # a server that is gone must not hide what came of the deployment
            return None, error.explain()
        entry = next((entry for entry in entries if entry.id == self._patch), None)
        return entry, _text(entry)

    @property
    def _patch(self) -> str:
        return str(self.getProperty(Property.PATCH))


async def last_word(patch: str, outcome: Awaitable[phases.Report | live.Report]) -> tuple[str, bool]:
    """The deployment in one line, and whether the patch is in: for a build that this step was not reached in."""
    try:
        report = await outcome
    except errors.DowntimeError as error:
        return not_deployed(patch, error), False
    return headline(patch, report), is_applied(report)


def is_applied(report: phases.Report | live.Report) -> bool:
    """Whether the patch is in: a live application that was not applied has raised."""
    return isinstance(report, live.Report) or report.applied


def figures_of(patch: str, report: phases.Report | live.Report, entry: ledger.Entry | None) -> dict[str, Any]:
    """What other programs may want to know of a deployment; durations in seconds, None for what nobody knew."""
    known = {"rehearsed_seconds": entry.rehearsed_seconds if entry else None,
             "forecast_seconds": entry.forecast_seconds if entry else None}
    if isinstance(report, live.Report):
        return {**known, "patch": patch, "lane": "live", "applied": True, "outage_seconds": 0.0,
                "patch_seconds": report.seconds, "retries": report.retries,
                "started_at": report.started_at.isoformat()}
    return {**known, "patch": patch, "lane": "cold", "applied": report.applied, "outage_seconds": report.outage_seconds,
            "patch_seconds": report.patch_seconds, "kicked": len(report.kicked), "drained": len(report.drained),
            "started_at": report.started_at.isoformat(), "error": str(report.error) if report.error else None,
            "phases": {each.phase: each.seconds for each in report.phases}}


def against_forecast(report: phases.Report | live.Report, entry: ledger.Entry | None) -> str:
    """What was foretold beside what came true; empty where nothing was, or where it is of another run.

    A live patch that was resumed has only the time of its rest.
    """
    if entry is None or entry.forecast_seconds is None or not is_applied(report):
        return ""
    if isinstance(report, live.Report) and report.resumed:
        return ""
    return forecast.beside(entry.forecast_seconds, entry.seconds)


def headline(patch: str, report: phases.Report | live.Report) -> str:
    """The deployment in one line."""
    if isinstance(report, live.Report):
        return f"{patch} deployed live in {report.seconds:.3f} s, without an outage"
    outage = f"outage {report.outage_seconds:.3f} s, {wording.count(len(report.kicked), 'session')} kicked"
    done = f"{patch} {'deployed' if report.applied else 'not deployed'}"
    if report.error is None:
        return f"{done}: {outage}"
    return f"{done}: {wording.headline(report.error)}; {outage}; the database was left {report.error.left}"


def not_deployed(patch: str, error: errors.DowntimeError) -> str:
    return f"{patch} not deployed: {wording.headline(error)}"


def _text(entry: ledger.Entry | None) -> str:
    if entry is None:
        return "production's ledger does not have the patch"
    values = {name: getattr(entry, name) for name in ledger.Entry.__slots__}
    return "\n".join(f"{name:<17} {value}" for name, value in values.items() if value is not None)
