"""Record: what came of it, as a timeline, in figures, and as production's own ledger has it."""

from __future__ import annotations

import json
from collections.abc import Awaitable

from downtime import errors, forecast, ledger, live, phases
from steps.shared import happenings, outage_document, wording
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
            await self._note_ended(error, sentence)
        else:
            await self._note_ended(report, headline(self._patch, report))
        self.setProperty(Property.APPLIED, report is not None and is_applied(report), self.name)
        await self.outages.release(self.build_id)
        if report is not None:
            await self._keep(report)
        return SUCCESS

    async def _note_ended(self, report: phases.Report | live.Report | errors.DowntimeError, sentence: str) -> None:
        known = self.journal.journey(self._patch)
        rehearsed = known.rehearsed if known is not None else None
        self.journal.note(happenings.ended(
            self._patch, report, request_id=self.request_id, build_id=self.build_id, sentence=sentence,
            build_url=await self.build.getUrl(), expected_seconds=rehearsed.expected_seconds if rehearsed else None))

    async def _keep(self, report: phases.Report | live.Report) -> None:
        sentence = headline(self._patch, report)
        self.say(sentence, headline=sentence)  # first of all: reading the ledger may take its time
        entry, row = await self._row()
        if comparison := against_forecast(report, entry):
            self.say(f"{sentence}; {comparison}", headline=sentence)
        if isinstance(report, phases.Report):
            await self.write("timeline", phases.timeline(report.phases))
            self.setProperty(Property.OUTAGE_SECONDS, report.outage_seconds, self.name)
        document = outage_document.document(self._patch, report, entry,
                                            client=await self.probes.finish(self.build_id))
        await self.setBuildData("outage", json.dumps(document, sort_keys=True).encode(), "fastdowntime")
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


async def last_word(patch: str, outcome: Awaitable[phases.Report | live.Report]
                    ) -> tuple[str, phases.Report | live.Report | errors.DowntimeError]:
    """The deployment in one line, and what came of it: for a build that this step was not reached in."""
    try:
        report = await outcome
    except errors.DowntimeError as error:
        return not_deployed(patch, error), error
    return headline(patch, report), report


def is_applied(report: phases.Report | live.Report | errors.DowntimeError) -> bool:
    """Whether the patch is in: a live application that was not applied has raised."""
    return isinstance(report, live.Report) or (isinstance(report, phases.Report) and report.applied)


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
    outage = f"outage {report.outage_seconds:.3f} s, {wording.count(len(report.kicked_clients), 'session')} kicked"
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
