"""Who may stay and who must go while a patch is applied, as the environment's `kick` policy has it.

`all`: every client session is gone before the patch's first statement; those of fragile users are ended last, while
locks keep them from writing. `transactions`: only sessions inside a transaction are; the idle ones are ended after the
outage, a few at a time, when they may reconnect at once, and those of fragile users never.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from downtime import errors, fragile_tables, kicking, sessions
from downtime.kicking import KICK_SECONDS
from downtime.ready import Ready, Rules

LOG = Logger()

LOOK_EVERY_SECONDS = 0.02
FRAGILE_ATTEMPTS = 5    # at ending fragile users' sessions; each finds them all idle, or ends none of them
FRAGILE_PAUSE_SECONDS = 0.02  # between two: lets transactions end; all of it is outage
NAMED = 10              # tables in one line of a log
DRAIN_PACE = (2, 0.02)  # sessions at a time, and seconds between


class Clearing:
    """The sessions of one outage: check, kick, and (after the outage) drain."""

    def __init__(self, ready: Ready, rules: Rules, reactor: Any, *, before_each: Callable[[], None]) -> None:
        """`before_each` is called before every look and may raise to end the wait."""
        self._ready = ready
        self._rules = rules
        self._reactor = reactor
        self._before_each = before_each
        self._kick = kicking.Kick(ready.control, ready.session_rules, reactor, before_each=before_each)
        self._idle: tuple[sessions.Session, ...] = ()
        self.drained: tuple[sessions.Session, ...] = ()
        self.remarks: tuple[str, ...] = ()  # of the kick, for a log

    @property
    def kicked(self) -> tuple[sessions.Session, ...]:
        """Sessions ended so far, without the drained ones."""
        drained = {session.pid for session in self.drained}
        return tuple(session for pid, session in self._kick.kicked.items() if pid not in drained)

    async def check(self) -> sessions.Verdict:
        """Who is connected, once open transactions had `drain_seconds` to end. Raises FragileUsersActive."""
        until = monotonic() + self._rules.drain_seconds
        verdict: sessions.Verdict | None = None
        while True:
            try:
                self._before_each()
            except errors.Aborted as error:
                if verdict is None:
                    raise
                raise error.while_waiting_for(sessions.listing(verdict.in_transaction)) from error
            found = await sessions.list_all(self._ready.control, self._ready.session_rules)
            verdict = sessions.judge(found, self._ready.session_rules)
            if not verdict.in_transaction or monotonic() >= until:
                break
            await deferLater(self._reactor, LOOK_EVERY_SECONDS, lambda: None)
        if verdict.fragile:
            raise sessions.FragileUsersActive(listing=sessions.listing(verdict.fragile),
                                             users=sessions.users(verdict.fragile))
        self._idle = tuple(session for session in verdict.to_kick
                           if not session.in_transaction and session.user not in self._rules.fragile)
        return verdict

    async def kick(self) -> None:
        """End those who must go. Raises FragileUsersActive, UnkickableSessions or SessionsSurvive."""
        deadline = monotonic() + KICK_SECONDS
        if self._rules.kick != "all":
            await self._kick.those_in_a_transaction(deadline=deadline)
            return
        fragile = await self._kick.all_but_fragile(deadline=deadline)
        if fragile:
            await self._kick_fragile({session.user for session in fragile}, deadline=deadline)

    async def _kick_fragile(self, users: Collection[str], *, deadline: float) -> None:
        """A few attempts: their transactions are short where they are many, and the locks hold new ones up."""
        for _ in range(FRAGILE_ATTEMPTS - 1):
            try:
                return await self._kick_under_locks(users, deadline=deadline)
            except sessions.FragileUsersActive:
                await deferLater(self._reactor, FRAGILE_PAUSE_SECONDS, lambda: None)
        await self._kick_under_locks(users, deadline=deadline)

    async def _kick_under_locks(self, users: Collection[str], *, deadline: float) -> None:
        ready = self._ready
        async with fragile_tables.locked(users, ready.patcher, ready.control, ours=ready.session_rules.ours) as others:
            if others:
                more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
                self.remarks = (f"could not be locked (for want of rights, or of max_locks_per_transaction):"
                                f" {', '.join(map(str, others[:NAMED]))}{more}: what {', '.join(sorted(users))} wrote"
                                " there in the moment of the kick may be lost",)
            await self._kick.everybody(deadline=deadline)

    async def drain(self) -> None:
        """Policy `transactions`: end the sessions that were idle. What cannot be drained is noted and stays."""
        if self._rules.kick == "all":
            return  # nobody is left
        before = set(self._kick.kicked)
        try:
            await self._kick.idle_ones(self._idle, pace=DRAIN_PACE)
        except errors.NodeError as error:
            LOG.warn("draining idle sessions of {database}: {error}", database=self._ready.target.label, error=error)
        self.drained = tuple(session for pid, session in self._kick.kicked.items() if pid not in before)
