"""What has happened in a running outage, phase by phase, and telling it to those who watch.

Phases follow each other without a gap: one begins where the one before ended. Watchers are told a moment later, so
that what they do about it (Buildbot writes to its database) costs no outage: a short section is over by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from downtime import errors
from downtime.phases import Phase, PhaseReport, PhaseState

LOG = Logger()

REPORT_SECONDS = 0.05  # longer: logs lag behind; shorter: watchers work while a trivial patch is applied


class Chronicle:
    """Starts when it is made."""

    def __init__(self, reactor: Any, *, say: Callable[[str], None] | None = None) -> None:
        """`say` is told at once what cannot wait for the end of its phase; by default that goes to the log."""
        self._say = say or _warn
        self._said = ""
        self.started_at = datetime.now(UTC)
        self._reactor = reactor
        self._began = self._last = monotonic()
        self._lines: list[str] = []
        self._reports: dict[Phase, PhaseReport] = {}
        self._watchers: dict[Phase, list[Deferred[PhaseReport]]] = {phase: [] for phase in Phase}

    def start(self) -> None:
        """The section begins now."""
        self.started_at, self._began = datetime.now(UTC), monotonic()
        self._last = self._began

    @property
    def seconds(self) -> float:
        """From the start to the end of the last phase that was reached."""
        return self._last - self._began

    @property
    def reports(self) -> tuple[PhaseReport, ...]:
        """Of the phases that are over, in running order."""
        return tuple(self._reports[phase] for phase in Phase if phase in self._reports)

    def is_over(self, phase: Phase) -> bool:
        return phase in self._reports

    @property
    def has_failed(self) -> bool:
        """Whether a phase ended the section."""
        return any(report.state is PhaseState.FAILED for report in self._reports.values())

    def note(self, line: str) -> None:
        """A line for the log of the phase under way."""
        self._lines.append(f"+{(monotonic() - self._began) * 1000:9.1f} ms  {line}")

    def note_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.note(line)

    def tell(self, line: str) -> None:
        """A line for the log, and for who listens now."""
        self.note(line)
        self._said = line
        self._say(line)

    def listen(self, say: Callable[[str], None]) -> None:
        """Who comes later is told what was said last."""
        self._say = say
        if self._said:
            say(self._said)

    def done(self, phase: Phase, summary: str) -> None:
        self._end(phase, PhaseState.DONE, summary, None)

    def failed(self, phase: Phase, error: errors.DowntimeError) -> None:
        self._end(phase, PhaseState.FAILED, str(error), error)

    def skip_to_the_end(self) -> None:
        """Every phase but the last that is not over will not be reached."""
        for phase in Phase:
            if phase is not Phase.ALLOW and phase not in self._reports:
                self._tell_of(PhaseReport(phase=phase, state=PhaseState.NOT_REACHED, started_at=None, seconds=0.0,
                                          summary="not reached", log="", error=None))

    def watch(self, phase: Phase) -> Deferred[PhaseReport]:
        """Fires when the phase is over or will not be reached."""
        watcher: Deferred[PhaseReport] = Deferred()
        if phase in self._reports:
            watcher.callback(self._reports[phase])
        else:
            self._watchers[phase].append(watcher)
        return watcher

    def _end(self, phase: Phase, state: PhaseState, summary: str, error: errors.DowntimeError | None) -> None:
        now = monotonic()
        seconds = now - self._last
        self._tell_of(PhaseReport(phase=phase, state=state, started_at=datetime.now(UTC) - timedelta(seconds=seconds),
                                  seconds=seconds, summary=summary, log="\n".join(self._lines), error=error))
        self._last = now
        self._lines.clear()

    def _tell_of(self, report: PhaseReport) -> None:
        self._reports[report.phase] = report
        self._reactor.callLater(REPORT_SECONDS, self._tell, report)

    def _tell(self, report: PhaseReport) -> None:
        watchers, self._watchers[report.phase] = self._watchers[report.phase], []
        for watcher in watchers:
            watcher.callback(report)


def _warn(line: str) -> None:
    LOG.warn("{line}", line=line)
