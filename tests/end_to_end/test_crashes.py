"""A buildmaster that dies, and a build that is stopped: the database opens, and nothing is deployed unasked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from demo import application, web
from demo.stage import DEPLOYED_SECONDS, WAITING_SECONDS, Stage
from demo.web import Build
from steps.shared.names import BuilderName, Property

OPEN_SECONDS = 2.0   # after the death of the deployer
SLEEP_SECONDS = 3    # of the slow patch: over the demo's limit, long enough to be caught in the middle
SLOW = "patch-2298-01-0"
SLOW_SQL = f"""\
-- apply: cold
-- Marks all accounts, slowly.
ALTER TABLE account ADD COLUMN marked boolean;
SELECT pg_sleep({SLEEP_SECONDS});
"""
WAITING = "patch-2297-01-0"
TRIVIAL_SQL = "-- apply: cold\nCOMMENT ON TABLE account IS 'who has money with us';\n"


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for other processes: no Clock reaches them."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds


def _slow_patch_waits(stage: Stage) -> Build:
    """A build that waits for the approval of the slow patch; rehearsed when it is first needed."""
    if stage.ledger("staging", SLOW) is None:
        stage.rehearse(SLOW, text=SLOW_SQL)
    else:
        stage.force(SLOW)
    return stage.waiting(SLOW)


def _in_the_middle_of_it(onlooker: Any) -> bool:
    with onlooker.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active'"
                       " AND query LIKE '%%pg_sleep%%'", (application.PATCHER,))
        return bool(cursor.fetchone()[0])


def _gets_in(stage: Stage) -> bool:
    try:
        psycopg2.connect(stage.sandbox.dsn(application.APPLICATION), connect_timeout=1).close()
    except psycopg2.OperationalError:
        return False
    return True


def _marked_column(stage: Stage) -> list[tuple[Any, ...]]:
    return stage.sandbox.servers["production"].admin_sql(
        "SELECT FROM pg_attribute WHERE attrelid = 'account'::regclass AND attname = 'marked'", database="app")


@pytest.mark.parametrize("death", ["killed", "stopped"])
def test_a_master_that_dies_while_somebody_is_asked_asks_again(told: Stage, death: str) -> None:
    """Nothing is deployed, nothing is lost: after the restart a build waits for the approval of the same patch."""
    patch = f"{WAITING[:-4]}{['killed', 'stopped'].index(death) + 1}-0"
    told.rehearse(patch, text=TRIVIAL_SQL)
    before = told.waiting(patch)
    if death == "killed":
        told.master.kill()
    else:
        told.master.stop()
    told.master.start()
    after = told.waiting(patch)
    ledger = told.ledger("production", patch)
    told.deploys(after)

    assert after.id != before.id
    assert ledger is None


def test_a_master_killed_in_the_middle_of_an_outage_leaves_the_database_open(told: Stage, onlooker: Any) -> None:
    """The patch is rolled back and clients get in at once; the restarted master does not deploy it again by itself."""
    waiting = _slow_patch_waits(told)
    told.approve(waiting, by="architect")
    caught = _comes_true(lambda: _in_the_middle_of_it(onlooker), DEPLOYED_SECONDS)
    told.master.kill()
    opened = _comes_true(lambda: _gets_in(told), OPEN_SECONDS)
    told.master.start()
    request = _request_of(told, waiting)
    again = _the_other_build(told, request, waiting)

    assert caught
    assert opened
    assert again.outcome == "failure"
    assert "has begun to deploy already" in told.as_("operator").story_of(again)
    assert told.ledger("production", SLOW) is None
    assert _marked_column(told) == []


def _request_of(stage: Stage, build: Build) -> int:
    (found,) = stage.as_("operator").get(f"builds/{build.id}")["builds"]
    return int(found["buildrequestid"])


def _the_other_build(stage: Stage, request: int, first: Build) -> Build:
    """The build that the restarted master makes of the same request, ended."""
    operator = stage.as_("operator")

    def look() -> Build | None:
        found = operator.build_of(BuilderName.PRODUCTION, request, WAITING_SECONDS)
        return found if found.id != first.id else None
    return operator.ended(web.wait(look, WAITING_SECONDS, "the request to be built again"), WAITING_SECONDS)


def test_the_stop_button_ends_a_patch_in_the_middle(told: Stage, onlooker: Any) -> None:
    """The statement is cancelled, the patch rolled back, the database open, and the build says so."""
    waiting = _slow_patch_waits(told)
    told.approve(waiting, by="architect")
    caught = _comes_true(lambda: _in_the_middle_of_it(onlooker), DEPLOYED_SECONDS)
    told.as_("operator").stop(waiting, "enough of it")
    opened = _comes_true(lambda: _gets_in(told), OPEN_SECONDS)
    build = told.as_("operator").ended(waiting, DEPLOYED_SECONDS)
    said = told.as_("operator").story_of(build)

    assert caught
    assert opened
    assert not build.good
    assert "enough of it" in said
    assert build.properties[Property.PATCH] == SLOW
    assert told.ledger("production", SLOW) is None
    assert _marked_column(told) == []
