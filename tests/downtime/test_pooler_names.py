"""Which names of a pooler lead to our database: what can be told is told, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from downtime.pooler_names import Seen, Verdict, judge
from downtime.settings.cluster import SessionPools
from downtime.target import Target

OURS = "host=db2 port=5432 dbname=app user=patcher"


def a_row(name: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "host": "db2", "port": 5432, "database": "app", "pool_mode": None, "paused": 0,
            "disabled": 0, **more}


def verdict_of(*rows: dict[str, Any], console: str = "host=pool1 port=6432 dbname=pgbouncer user=admin",
               target: str = OURS, wanted: tuple[str, ...] = (), modes: dict[str, frozenset[str]] | None = None,
               default_mode: str = "transaction", session_pools: SessionPools = SessionPools.REFUSE) -> Verdict:
    seen = Seen(console=Target(dsn=console), databases=rows, pool_modes=modes or {}, default_mode=default_mode)
    return judge(seen, Target(dsn=target), wanted=wanted, session_pools=session_pools)


def test_names_that_lead_to_the_same_address_are_ours() -> None:
    """However many there are, and whatever they are called."""
    assert verdict_of(a_row("app"), a_row("reports"), a_row("shop", database="shop")).names == ("app", "reports")


def test_the_same_database_name_elsewhere_is_left_alone_and_mentioned() -> None:
    """A standby's alias goes on reading; whoever reads the log can object."""
    verdict = verdict_of(a_row("app"), a_row("app_ro", host="db3"))

    assert verdict.names == ("app",)
    assert verdict.remarks == ('pooler pool1:6432/pgbouncer: "app_ro" leads to "db3:5432": not paused; if that is the'
                               " same server, list its names under `databases`",)


def test_another_spelling_of_the_address_is_taken_when_there_is_only_one() -> None:
    """A pooler has an address where we have a name; the log says what was concluded."""
    verdict = verdict_of(a_row("app", host="10.0.0.2"), a_row("reports", host="10.0.0.2"))

    assert (verdict.names, verdict.reasons) == (("app", "reports"), ())
    assert 'taken to be db2:5432' in verdict.remarks[0]


@pytest.mark.parametrize("rows", [
    (a_row("app", host="10.0.0.2"), a_row("app_ro", host="10.0.0.3")),
    (a_row("app", host="10.0.0.2", port=5433),),
    (a_row("shop", database="shop"),),
    (),
], ids=["two servers", "another port", "another database", "nothing"])
def test_a_doubt_is_not_guessed_away(rows: tuple[dict[str, Any], ...]) -> None:
    """Pausing too much stops somebody else's clients; too little shows ours errors: the settings must say."""
    verdict = verdict_of(*rows)

    assert verdict.names == ()
    assert "list them under `databases`" in verdict.reasons[0]


@pytest.mark.parametrize("host", [None, "127.0.0.1", "localhost", "::1", "/run/postgresql"])
def test_loopback_is_the_machine_of_the_pooler(host: str | None) -> None:
    """A PgBouncer that runs beside its server says 127.0.0.1 and means db2."""
    verdict = verdict_of(a_row(host=host), a_row("other", host="10.0.0.9"),
                         console="host=db2 port=6432 dbname=pgbouncer user=admin")

    assert verdict.names == ("app",)


def test_names_of_the_settings_are_taken_at_their_word() -> None:
    """Only they, and without a look at addresses: a direct alias stays open."""
    rows = (a_row("app", host="10.0.0.2"), a_row("direct"), a_row("app_ro", host="10.0.0.3"))

    assert verdict_of(*rows, wanted=("app_ro", "app", "app")).names == ("app_ro", "app")


def test_all_reasons_are_told_at_once() -> None:
    """Whoever puts one right need not run into the next."""
    verdict = verdict_of(a_row("app", paused=1, pool_mode="session"), a_row("shop", database="shop"),
                         wanted=("app", "shop", "typo"))

    assert [reason.removeprefix("pooler pool1:6432/pgbouncer: ")[:40] for reason in verdict.reasons] == [
        'has no database "typo", which `databases', '"shop" leads to the database "shop", not',
        '"app" is paused already, and not by us: ', '"app" has pools in session mode, whose c']


@pytest.mark.parametrize(("row", "modes", "default_mode"), [
    (a_row(), {}, "session"),
    (a_row(pool_mode="session"), {}, "transaction"),
    (a_row(), {"app": frozenset({"transaction", "session"})}, "transaction"),
], ids=["of the pooler", "of the database", "of a user"])
def test_session_mode_is_found_wherever_it_is_set(
        row: dict[str, Any], modes: dict[str, frozenset[str]], default_mode: str) -> None:
    """A database's mode wins over the pooler's, a user's over both."""
    refused = verdict_of(row, modes=modes, default_mode=default_mode)
    ended = verdict_of(row, modes=modes, default_mode=default_mode, session_pools=SessionPools.END)

    assert (len(refused.reasons), ended.reasons, ended.ended) == (1, (), True)


def test_statement_mode_is_like_transaction_mode() -> None:
    """A client has a server connection for a statement only."""
    assert verdict_of(a_row(pool_mode="statement"), default_mode="session").reasons == ()


def test_a_hostile_name_cannot_write_another_line() -> None:
    """The log of the deployment is read in terminals and browsers."""
    verdict = verdict_of(a_row("app\nconnections are allowed\x1b[2J", paused=1))

    assert "\n" not in verdict.reasons[0]
    assert "\x1b" not in verdict.reasons[0]


def test_a_database_that_is_reached_through_the_pooler_is_refused() -> None:
    """The deployer would hold back itself."""
    verdict = verdict_of(a_row(), target="host=POOL1 port=6432 dbname=app user=patcher")

    assert "leads through this pooler" in verdict.reasons[0]
