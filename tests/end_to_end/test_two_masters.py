"""Two buildmasters on one state database: either takes orders, one works, and the other takes over. A real router."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from demo import web
from demo.stage import DEPLOYED_SECONDS, WAITING, WAITING_SECONDS, Stage
from demo.web import Build
from steps.shared.names import FORCED_BY, BuilderName, Property
from tests.end_to_end.catching_up import HARMLESS, next_patch
from tests.end_to_end.two_masters import TwoMasters, has_kicked, is_at, started

UNHURRIED = """-- apply: cold
DO $$ BEGIN IF EXISTS (SELECT FROM account WHERE name = 'slow') THEN PERFORM pg_sleep(30); END IF; END $$;
COMMENT ON TABLE account IS 'who has money with us, looked at once more';
"""
FOR_ITS_WINDOW = "waiting for the window"
LEASE = "SELECT {} FROM pg_locks WHERE locktype = 'advisory' AND objid = 20 AND granted"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoMasters]:
    with started(tmp_path_factory.mktemp("two") / "demo") as found:
        yield found


def waits_for_its_window(at: Stage, build: Build) -> None:
    web.wait(lambda: is_at(at, build, FOR_ITS_WINDOW) or None, WAITING_SECONDS, "the window to be waited for")


def begin_now(at: Stage, build: Build) -> Build:
    """An operator's word in one web UI; the deployment, ended."""
    at.as_("operator").force(FORCED_BY[BuilderName.BEGIN_NOW], build=str(build.id), reason="the window is years away")
    return at.as_("operator").ended(build, DEPLOYED_SECONDS)


def test_what_people_decide_counts_in_either_web_ui(both: TwoMasters) -> None:
    """Stop, asking again, an approval and a word to begin now, each given where the deployment does not run; and it
    runs once, and is told of once."""
    patch = next_patch(both.first)
    both.first.rehearse(patch, text=HARMLESS)
    unwanted = both.second.waiting(patch)
    both.second.as_("operator").stop(unwanted, "not this morning")
    stopped = both.second.as_("operator").ended(unwanted, WAITING_SECONDS)
    both.second.force(patch)
    build = both.second.waiting(patch)
    both.second.approve(build)
    waits_for_its_window(both.second, build)
    in_between = both.first.ledger("production", patch)
    ended = begin_now(both.second, build)
    request = both.request_of(both.first, build)
    page = web.wait(lambda: both.page(both.second, patch, "deployed"), WAITING_SECONDS, "the page to say so")
    builds = both.state.rows(f"SELECT masterid FROM builds WHERE buildrequestid = {request}")

    assert stopped.outcome == "cancelled"
    assert in_between is None
    assert ended.good, both.second.as_("operator").story_of(ended)
    assert ended.properties[Property.APPROVED_BY] == "approver"
    assert ended.properties[Property.HURRIED] == "operator"
    assert "COMMENT ON TABLE account" in page  # read out of the second one's own copy of the repository
    assert len(builds) == 1
    assert both.noticed().count(patch) == 1


def test_a_leader_that_loses_its_session_goes_on_leading(both: TwoMasters) -> None:
    """A restart of the state database, or a firewall that forgets a connection, is no reason to hand over."""
    leader = both.leader()
    process = leader.master.process
    terminated = both.state.rows(LEASE.format("pg_terminate_backend(pid)"))
    web.wait(lambda: both.state.rows(LEASE.format("pid")) or None, WAITING_SECONDS, "the lease to be held again")
    said = web.wait(lambda: "the lease is ours again" in leader.master.log.read_text() or None, WAITING_SECONDS,
                    "the leader to say so")

    assert terminated == [(True,)]
    assert said
    assert both.leader() is leader
    assert leader.master.process == process


def test_the_other_takes_over(both: TwoMasters) -> None:
    """What the first one was killed over goes on at the second: nobody has to repeat a word, new landings are seen,
    and the first one, started again, follows and takes orders."""
    leader = both.leader()
    other = both.second if leader is both.first else both.first
    patch = next_patch(leader)
    leader.rehearse(patch, text=HARMLESS)
    first = leader.waiting(patch)
    leader.approve(first)
    waits_for_its_window(leader, first)
    began = time.monotonic()
    leader.master.kill()
    both.leads(other)
    again = both.later_build(other, first, FOR_ITS_WINDOW)
    print(f"taken over in {time.monotonic() - began:.1f} s")
    in_between = other.ledger("production", patch)
    leader.master.start()
    ended = begin_now(leader, again)
    later = next_patch(other)
    other.rehearse(later, text=HARMLESS)
    waiting = other.waiting(later)
    leader.approve(waiting)
    deployed = begin_now(leader, waiting)
    notices = both.noticed()

    assert in_between is None
    assert ended.good, other.as_("operator").story_of(ended)
    assert ended.properties[Property.APPROVED_BY] == "approver"
    assert deployed.good, other.as_("operator").story_of(deployed)
    assert both.leader() is other
    assert sorted(notices.count(each) for each in (patch, later)) == [1, 1]


def test_what_a_leader_dies_over_is_put_right_by_the_other(both: TwoMasters) -> None:
    """Killed in the middle of a patch: the database opens by itself, and the new leader resumes the background tasks,
    says what came of the patch, and deploys it to nobody unasked."""
    leader = both.leader()
    other = both.second if leader is both.first else both.first
    patch = next_patch(leader)
    leader.rehearse(patch, text=UNHURRIED)
    build = leader.waiting(patch)
    leader.approve(build)
    waits_for_its_window(leader, build)
    both.put_to_sleep()
    leader.as_("operator").force(FORCED_BY[BuilderName.BEGIN_NOW], build=str(build.id), reason="it may not wait")
    web.wait(lambda: has_kicked(other, build) or None, WAITING_SECONDS, "the patch to be under way")
    resting = both.tasks_rest()
    leader.master.kill()
    both.leads(other)
    later = web.wait(lambda: both.last_build(other, build), WAITING_SECONDS, "the new leader to say what came of it")
    web.wait(lambda: not both.tasks_rest() or None, WAITING_SECONDS, "the background tasks to be resumed")
    leader.master.start()
    other.expect_open()
    both.wake()
    in_between = other.ledger("production", patch)
    other.force(patch)
    again = other.waiting(patch)
    other.approve(again)
    waits_for_its_window(other, again)
    ended = begin_now(other, again)

    assert resting
    assert later.outcome == "failure"
    assert "has begun to deploy already" in later.state
    assert "it was rolled back" in later.state
    assert in_between is None
    assert ended.good, other.as_("operator").story_of(ended)


def test_without_the_router_both_end(both: TwoMasters) -> None:
    """Buildbot cannot go on without its message queue, nor come back to it: both end themselves, what waits waits in
    the state database, and when the router is back and they are started they go on."""
    patch = next_patch(both.first)
    leader = both.leader()
    leader.rehearse(patch, text=HARMLESS)
    build = leader.waiting(patch)
    both.router.stop()
    for stage in (both.first, both.second):
        both.has_ended(stage)
    both.router.start()
    both.second.master.start()
    both.first.master.start()
    again = both.later_build(both.first, build, WAITING)
    both.first.approve(again)
    ended = begin_now(both.first, again)

    assert ended.good, both.first.as_("operator").story_of(ended)
