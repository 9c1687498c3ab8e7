"""What fails beside an outage, or is set for its role, does not decide how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet import reactor

from downtime import errors, gate
from downtime.outage import Outage
from downtime.phases import Phase
from tests.builders import a_deployment, no_objections, pause
from tests.databases import Database
from tests.downtime.outages import GATES, SLEEPING, assert_nothing_is_left, is_recorded, lets_in, prepared, some_rules


class AFailingGate(gate.Hold):
    """Holds, and then fails as nobody has foreseen."""

    async def allow(self) -> None:
        raise ZeroDivisionError("allow")

    async def disarm(self) -> None:
        raise ZeroDivisionError("disarm")


class WithAFailingGate(Outage):
    async def prepare(self, objections: Any) -> tuple[str, ...]:
        found = await super().prepare(objections)
        self._prepared = replace(self._ready, gate=AFailingGate(reactor))
        await self._ready.gate.arm(self._ready.patcher)
        return found


async def test_an_outage_gives_its_report_whatever_fails(database: Database) -> None:
    """An error nobody has foreseen, in opening and in giving back: told in the report, and nothing is left behind."""
    outage = WithAFailingGate(database.target, a_deployment(sql="SELECT 1;"), some_rules())
    await outage.prepare(no_objections)
    report = await outage.run()
    await outage.close()

    assert isinstance(report.error, errors.NeedsOperator)
    assert "cannot make sure that" in str(report.error)
    assert report.applied
    assert database.server.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE"
                                     " 'fastdowntime%%patch-1%%' AND datname = %s", (database.name,)) == [(0,)]


class AForgetfulReactor:
    """Has no room left for whatever is to be told later."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def callLater(self, seconds: float, what: Any, *arguments: Any, **keywords: Any) -> Any:
        if getattr(what, "__name__", "") == "_tell":
            raise OSError("No space left on device")
        return reactor.callLater(seconds, what, *arguments, **keywords)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", GATES)
async def test_what_cannot_be_written_down_does_not_keep_a_database_closed(kind: str, database: Database) -> None:
    """The record of the phases fails, and so does whoever is told: rolled back, open, and a report all the same."""
    def fail(line: str) -> None:
        raise OSError("No space left on device")

    async with prepared(database, SLEEPING, gate=kind, say=fail, patch_reactor=AForgetfulReactor()) as outage:
        report = await outage.run()

    assert report.error is not None
    assert "No space left on device" in str(report.error)
    assert_nothing_is_left(database)


async def test_a_watcher_that_fails_changes_nothing(database: Database) -> None:
    """A step whose log cannot be written fails by itself."""
    def fail(report: Any) -> None:
        raise OSError("No space left on device")

    async with prepared(database, say=fail) as outage:
        failed: list[Any] = []
        for phase in Phase:
            outage.watch(phase).addCallback(fail).addErrback(failed.append)
        report = await outage.run()

    assert (report.error, report.applied, len(failed)) == (None, True, 5)


@pytest.mark.parametrize("kind", GATES)
async def test_defaults_of_the_role_do_not_end_an_outage(kind: str, each_database: Database) -> None:
    """Timeouts that an administrator has given the patching role ended guard, control or patcher in mid-outage."""
    defaults = ["idle_session_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    if each_database.server.installation.version >= 17:
        defaults.append("transaction_timeout")
    each_database.server.admin_sql("".join(f"ALTER ROLE patcher SET {name} = '400ms';" for name in defaults))
    try:
        sql = "RESET ALL;\nCREATE TABLE added (id int);\nSELECT pg_sleep(1.5);"
        async with prepared(each_database, a_deployment(sql=sql), gate=kind) as outage:
            await pause(0.8)
            report = await outage.run()
    finally:
        each_database.server.admin_sql("".join(f"ALTER ROLE patcher RESET {name};" for name in defaults))

    assert (report.error, report.applied) == (None, True)
    assert is_recorded(each_database)
    assert lets_in(each_database)
