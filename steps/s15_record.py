"""Record: what came of it, as a timeline, in figures, and as production's own ledger has it."""

from __future__ import annotations

import json
from typing import Any

from downtime import errors, forecast, ledger, live, phases
from downtime.fleet.report import Canary, FleetReport
from steps.shared import happenings, last_words, outage_document
from steps.shared.base import RunbookStep
from steps.shared.last_words import End
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
        end = last_words.of_all(await last_words.end_of(outcome), self._patch, self.settings)
        sentence = last_words.headline(self._patch, end)
        self.say(sentence, headline=sentence)
        self.setProperty(Property.APPLIED, last_words.is_applied(end), self.name)
        await happenings.note_ended(self, self._patch, end)
        await self.outages.release(self.build_id)
        of_canary: End | Canary = end
        if isinstance(end, FleetReport):
            await self._keep_of_several(end)
            of_canary = end.canary
        # of a live application that failed the step that ran it has shown all
        if isinstance(of_canary, phases.Report | live.Report):
            await self._keep(of_canary, sentence)
        return SUCCESS

    async def _keep_of_several(self, report: FleetReport) -> None:
        """What became of each, and each one's own document beside the canary's."""
        matrix = report.matrix
        await self.write("databases", "\n".join([*matrix.lines(), "", matrix.sentence]))
        await self._set_data("fleet", matrix.to_json())
        for name, one in report.reports.items():
            await self._set_data(f"outage-{name}", outage_document.document(self._patch, one, None, client=None))

    async def _set_data(self, name: str, document: dict[str, Any]) -> None:
        await self.setBuildData(name, json.dumps(document, sort_keys=True).encode(), "fastdowntime")

    async def _keep(self, report: phases.Report | live.Report, sentence: str) -> None:
        entry, row = await self._row()
        if comparison := against_forecast(report, entry):
            self.say(f"{sentence}; {comparison}", headline=sentence)
        if isinstance(report, phases.Report):
            await self.write("timeline", phases.timeline(report.phases))
            self.setProperty(Property.OUTAGE_SECONDS, report.outage_seconds, self.name)
            if report.caught is not None:
                await self.write("standbys", "\n".join(report.caught.lines))
        document = outage_document.document(self._patch, report, entry,
                                            client=await self.probes.finish(self.build_id))
        await self._set_data("outage", document)
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


def against_forecast(report: phases.Report | live.Report, entry: ledger.Entry | None) -> str:
    """What was foretold beside what came true; empty where nothing was, or where it is of another run.

    A live patch that was resumed has only the time of its rest.
    """
    if entry is None or entry.forecast_seconds is None or not last_words.is_applied(report):
        return ""
    if isinstance(report, live.Report) and report.resumed:
        return ""
    return forecast.beside(entry.forecast_seconds, entry.seconds)


def _text(entry: ledger.Entry | None) -> str:
    if entry is None:
        return "production's ledger does not have the patch"
    values = {name: getattr(entry, name) for name in ledger.Entry.__slots__}
    return "\n".join(f"{name:<17} {value}" for name, value in values.items() if value is not None)
