"""Apply a live patch: outside any gate, while clients work, one statement at a time.

A statement that can runs in a transaction of its own together with its row in the journal, and waits for its locks as
`downtime.lock_waiting` does: never long in front of a client. One that cannot (CREATE INDEX CONCURRENTLY) runs by
itself, may take long, and is journalled before and behind: see `downtime.standalone`; those of them that would lock
clients out while they wait or work (VACUUM FULL) are refused by `downtime.statements`. A second run goes on at the
first statement that is not in the journal. Invalid indexes are looked for before a run and behind it.

The row in the journal is written as in a cold patch: with our timeouts, role and search_path put back first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downtime import deployment_lock, errors, indexes, ledger, live_journal, preflight, standalone
from downtime.apply import Deployment
from downtime.live_abort import LiveAbort
from downtime.live_course import Course, Ways
from downtime.live_course import LivePatchFailed as LivePatchFailed  # what a run raises
from downtime.live_course import Report as Report  # what a run gives
from downtime.live_journal import EditedHalfWay as EditedHalfWay
from downtime.live_journal import Journal
from downtime.measured_lane import Measured
from downtime.measured_lane import MeasuredCold as MeasuredCold
from downtime.node import Node, connect
from downtime.ready import Objections
from downtime.settings.sections import Live
from downtime.target import Target

SETTINGS = {
    "lock_timeout": "0",
    "default_transaction_read_only": "off",  # what is CONCURRENT runs in transactions of the server's own
    "default_transaction_isolation": r"read\ committed",
}


class InvalidIndex(errors.Refused):
    """An index that no query uses and every write pays for: an earlier CONCURRENTLY failed."""

    happened = "invalid index left behind: {listing}"
    next_step = "{commands}; then run the deployment again"


class LiveApplication:
    """One live patch on one database: `await run()`, and `abort(reason)` to end it between or in statements."""

    def __init__(self, target: Target, deployment: Deployment, *, progress: Callable[[str], None], rules: Live,
                 summary: Callable[[str], None] = lambda line: None, measure: bool = False, reactor: Any = None
                 ) -> None:
        """`summary` is told every second how far an index is, `progress` when it has come a step further.

        `measure`, for rehearsals: refuse what keeps clients waiting, before it counts.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._target = target
        self._deployment = deployment
        self._progress = progress
        self._rules = rules
        self._reactor = reactor
        self._abort = LiveAbort(reactor)
        self._measured = Measured(deployment, rules=rules) if measure else None
        self._ways = Ways(deployment=deployment, rules=rules, progress=progress, summary=summary, abort=self._abort,
                          measured=self._measured)

    def abort(self, reason: str) -> None:
        """End it: the statement under way is cancelled and rolled back; finished ones stay."""
        self._abort.begin(reason)

    async def run(self, objections: Objections) -> Report:
        """Apply it. Raises Refused (MeasuredCold, too), LivePatchFailed, Aborted or NodeError."""
        opened: list[Node] = []
        try:
            control = await self._connect("control")
            opened.append(control)
            worker = await self._connect(self._deployment.patch.id)
            opened.append(worker)
            self._abort.applies_to(worker, control)
            await deployment_lock.take(worker)
            journal = await self._preflight(control, objections)
            if self._measured is not None:
                self._progress("trying out what fits one transaction, to be rolled back")
                await self._measured.try_out(self._target, without=journal.finished, go_on=self._abort.go_on,
                                             reactor=self._reactor)
            return await Course(self._ways, worker, control, journal).run()
        finally:
            for node in opened:
                node.close()
            await self._abort.over()

    async def _connect(self, name: str) -> Node:
        return await connect(
            self._target, application_name=f"fastdowntime live {name}", reactor=self._reactor,
            settings=SETTINGS, statement_timeout_seconds=self._rules.concurrently_hours * 3600)

    async def _preflight(self, node: Node, objections: Objections) -> Journal:
        reasons = preflight.judge_server(await preflight.observe(node), gate="")
        if not reasons:
            reasons = list(objections(await ledger.read(node)))
        if reasons:
            raise preflight.PreflightRefused(reasons)
        journal = await live_journal.read(node, self._deployment.patch)
        foreign = [each for each in await indexes.invalid(node) if each.qualified not in journal.builds
                   and not any(standalone.is_about(statement, each) for statement in self._deployment.statements)]
        if foreign:
            raise InvalidIndex(listing=", ".join(map(str, foreign)),
                               commands="; ".join(each.cure for each in foreign))
        return journal
