"""What speaks against an outage in the standbys beside it, judged from values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downtime import sessions, standby_check
from downtime.failover import Lineage
from downtime.replay import NOT_PAUSED
from downtime.replica import Observation
from downtime.standby_check import Follower, Seen

PRIMARY = Lineage(in_recovery=False, system_identifier=7, timeline=2, lsn="0/5000000")
FOLLOWS = Observation(
    lineage=Lineage(in_recovery=True, system_identifier=7, timeline=None, lsn="0/5000000"), timeline=2,
    conninfo="host=db1 application_name=standby1 fallback_application_name=walreceiver", replay_state=NOT_PAUSED,
    may_pause=True, delay="0")
SUPERUSERS = sessions.Session(pid=1, user="postgres", application="psql", client="local socket", state="idle",
                              transaction_seconds=None, last_query="", hidden=False)
NOBODY = sessions.Verdict(fragile=(), unkickable=(), to_kick=())


def reasons(observation: Observation = FOLLOWS, *, verdict: sessions.Verdict = NOBODY, behind: str = "",
            serve_reads: bool = False, kick_all: bool = True) -> list[str]:
    seen = Seen(label="db2:5432/app", observation=observation, verdict=verdict, behind=behind, replayed_seconds=None)
    return standby_check.judge(seen, primary="db1:5432/app", lineage=PRIMARY, serve_reads=serve_reads,
                               kick_all=kick_all)


def a_follower(name: str, *, is_standby: bool = True, awaited: bool = False) -> Follower:
    return Follower(name=name, client="10.0.0.2", is_standby=is_standby, awaited=awaited)


def test_a_standby_that_is_fit_is_no_reason() -> None:
    assert reasons() == []


@pytest.mark.parametrize(("observation", "said"), [
    (replace(FOLLOWS, timeline=None), "the standby db2:5432/app receives nothing"),
    (replace(FOLLOWS, timeline=1), "follows timeline 1 while db1:5432/app is on 2"),
    (replace(FOLLOWS, replay_state="pause requested"), "replay is paused on the standby db2:5432/app"),
    (replace(FOLLOWS, lineage=PRIMARY), "is no standby, it takes writes"),
    (replace(FOLLOWS, lineage=replace(FOLLOWS.lineage, system_identifier=8)), "a standby of another server than db1"),
])
def test_a_server_that_does_not_follow_is_a_reason(observation: Observation, said: str) -> None:
    """One sentence for one cause: what follows from it is not said as well."""
    (reason,) = reasons(observation, behind="it has replayed nothing")
    assert said in reason


def test_the_right_to_pause_is_needed_only_where_replay_is_paused() -> None:
    """Without it a site may still share the outage with its standbys."""
    without = replace(FOLLOWS, may_pause=False)
    assert reasons(without) == []
    assert ["may not pause replay on db2:5432/app" in each for each in reasons(without, serve_reads=True)] == [True]


def test_sessions_of_superusers_are_a_reason_where_all_must_go() -> None:
    """Not with the policy `transactions`, and not where nobody is kicked."""
    verdict = replace(NOBODY, unkickable=(SUPERUSERS,))
    assert ["sessions of superusers on the standby db2:5432/app" in each for each in reasons(verdict=verdict)] == [True]
    assert reasons(verdict=verdict, kick_all=False) == reasons(verdict=verdict, serve_reads=True) == []


def test_standbys_of_one_name_are_counted() -> None:
    """Those that were never given a name are all called walreceiver."""
    unnamed = replace(FOLLOWS, conninfo="host=db1 fallback_application_name=walreceiver")
    found = [a_follower("walreceiver"), a_follower("walreceiver")]
    assert len(standby_check.warnings(found, [unnamed])) == 1
    assert standby_check.warnings(found, [unnamed, unnamed]) == ()


def test_what_a_standby_calls_itself_is_harmless_in_a_log() -> None:
    """A name is text from another machine."""
    (line,) = standby_check.warnings([a_follower("\x1b[2J")], [])
    assert "\\x1b[2J" in line


def test_a_commit_that_waits_for_replay_forbids_only_to_pause_it() -> None:
    found = [a_follower("standby1", awaited=True)]
    assert standby_check.awaited(found, serve_reads=False) == []
    assert ["until standby1 has replayed it" in each for each in standby_check.awaited(found, serve_reads=True)] \
        == [True]
