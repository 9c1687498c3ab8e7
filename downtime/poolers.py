"""All PgBouncers before one database: paused side by side before the outage, resumed side by side after it.

Clients behind a paused pooler wait and see no error, so pausing is the outermost gate. All or none: where one cannot be
paused in time, those that are paused go on at once and the deployment is refused.

A pooler cannot let go by itself when we die: whoever pauses writes down `pauses` first, and has a watchdog stand by.
Letting go never depends on the session that paused: it is tried on the session at hand, then on new ones. A pooler
that was restarted meanwhile is not paused any more, which is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downtime import errors
from downtime.one_pooler import OnePooler
from downtime.parallel import failures, in_parallel, results
from downtime.pooler import Pause
from downtime.printable import quoted
from downtime.settings.cluster import Pooler
from downtime.target import Target

RESUME_SECONDS = 10.0  # a restart takes less; longer: an operator learns late that clients are waiting


class PoolersRefuse(errors.Refused):
    """Reasons in the poolers why the outage must not begin; nothing was paused."""

    happened = "not now:\n{listing}"
    next_step = "run the deployment again when that is put right"

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(listing="\n".join(f"  {reason}" for reason in self.reasons))


class CannotResume(errors.NeedsOperator):
    """A pooler may be paused still: its clients wait."""

    happened = "not resumed within {seconds:g} s, and clients may wait there: {listing}"
    next_step = "on the console of each: {commands}"
    left = errors.Left.CLOSED


class _GivenUp(errors.DowntimeError):
    """Another pooler failed, or nobody wants it any more."""

    happened = "pausing was given up"
    left = errors.Left.REOPENED


class Poolers:
    """Those of one database. `prepare()`, then `pause()` and `resume()`; `close()` in any case."""

    def __init__(self, settings: Sequence[Pooler], database: Target, reactor: Any, *,
                 resume_seconds: float = RESUME_SECONDS) -> None:
        self._poolers = [OnePooler(each, database, reactor) for each in settings]
        self._resume_seconds = resume_seconds
        self._given_up = False
        self._holding = False

    async def prepare(self) -> tuple[str, ...]:
        """Open every session and look for reasons not to begin; lines for a log. Nothing is changed.

        Raises PoolersRefuse with all reasons, or NodeError where a pooler cannot be asked.
        """
        try:
            outcomes = await in_parallel(each.prepare() for each in self._poolers)
            for failure in failures(outcomes):
                raise failure
            verdicts = results(outcomes)
            if reasons := [reason for verdict in verdicts for reason in verdict.reasons] + self._twice():
                raise PoolersRefuse(reasons)
        except BaseException:
            self.close()
            raise
        return (*(f"pooler {each.pause.console.label}: {', '.join(map(quoted, each.pause.databases))} will be paused"
                  for each in self._poolers), *(remark for verdict in verdicts for remark in verdict.remarks))

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """What `pause()` will do, to be written down before; known after `prepare()`."""
        return tuple(each.pause for each in self._poolers)

    async def pause(self) -> tuple[str, ...]:
        """Returns when all hold their clients back, each within its `pause_seconds`; lines for a log.

        If one fails all go on at once, and CannotPause or NodeError is raised; CannotResume where one does not go on.
        """
        self._holding = True
        outcomes = await in_parallel(self._pause_one(each) for each in self._poolers)
        if not (failed := failures(outcomes)):
            return tuple(results(outcomes))
        await self.resume()
        first = next((each for each in failed if not isinstance(each, _GivenUp)), failed[0])
        first.left = errors.Left.REOPENED
        raise first

    def give_up(self) -> None:
        """Have a `pause()` that is under way fail at once."""
        self._given_up = True

    async def resume(self) -> tuple[str, ...]:
        """Let all go on; lines for a log. Safe at any time and again.

        Raises CannotResume, which names those that could not be resumed in time, when all others were.
        """
        if not self._holding:
            return ()  # nothing was paused, or all go on already
        outcomes = await in_parallel(each.resume(within_seconds=self._resume_seconds) for each in self._poolers)
        if stuck := [(each, outcome) for each, outcome in zip(self._poolers, outcomes, strict=True)
                     if isinstance(outcome, errors.DowntimeError)]:
            raise CannotResume(seconds=self._resume_seconds, listing="; ".join(str(outcome) for _, outcome in stuck),
                               commands="; ".join(each.by_hand for each, _ in stuck))
        self._holding = False
        return tuple(line for lines in results(outcomes) for line in lines)

    def close(self) -> None:
        """End all sessions; what is paused stays paused."""
        for each in self._poolers:
            each.close()

    async def _pause_one(self, one: OnePooler) -> str:
        try:
            return await one.hold_back(self._go_on)
        except BaseException:
            self._given_up = True
            raise

    def _go_on(self) -> None:
        if self._given_up:
            raise _GivenUp

    def _twice(self) -> list[str]:
        servers = [each.pause.console.server for each in self._poolers]
        return [f"the pooler {server} is named more than once in `poolers`"
                for server in dict.fromkeys(servers) if servers.count(server) > 1]

