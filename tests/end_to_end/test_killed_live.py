"""A live patch killed with -9 in the middle of CREATE INDEX CONCURRENTLY resumes to a valid index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from demo.gitrepo import Repository
from demo.servers import Server
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import DEADLINE_SECONDS, Project, ended, write_settings

PATCH = """\
-- apply: live
CREATE TABLE note (id int);
CREATE INDEX CONCURRENTLY account_name ON account (name);
INSERT INTO account (name) VALUES ('once');
"""
PHASE = "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE phase = %s)"
IS_JOURNALLING = ("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                  " AND query LIKE '%live_journal%')")
OUR_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'fastdowntime live%'"
SLOW_JOURNAL = """
CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF NEW.statement = 2 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END$$;
CREATE TRIGGER hold_up BEFORE INSERT ON fastdowntime.live_journal FOR EACH ROW EXECUTE FUNCTION hold_up();
"""
WHAT_CAME_OF_IT = """
SELECT (SELECT array_agg(indexrelid::regclass::text || ' ' || indisvalid ORDER BY 1) FROM pg_index
         WHERE indrelid = 'account'::regclass AND NOT indisprimary),
       (SELECT count(*) FROM account WHERE name = 'once'), (SELECT array_agg(id) FROM fastdowntime.ledger),
       (SELECT array_agg(statement ORDER BY statement) FROM fastdowntime.live_journal)
"""
ALL_IS_WELL = [(["account_name true"], 1, ["patch-1"], [1, 2, 3])]


@pytest.fixture
def each_project(tmp_path: Path, each_server: Server, make_database: MakeDatabase) -> Project:
    staging, production = make_database(each_server), make_database(each_server)
    repository = Repository.create(tmp_path / "git")
    write_settings(tmp_path, repository_url=repository.url, staging=staging.target.dsn,
                   production=production.target.dsn)
    project = Project(folder=tmp_path, repository=repository, staging=staging, production=production)
    project.land(patch_1=PATCH)
    return project


def killed_when(project: Project, happened: Callable[[Database], bool], what: str) -> None:
    """Start the deployment, and end its process without a chance to clean up as soon as that is so."""
    process = project.start("apply", "patch-1", "--yes")
    deadline = monotonic() + DEADLINE_SECONDS
    try:
        while not happened(project.production):
            assert process.poll() is None, ended(process).err
            assert monotonic() < deadline, f"{what}: it has not come about"
            sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    while project.production.admin_sql(OUR_SESSIONS) != [(0,)]:
        assert monotonic() < deadline, "the server has not missed its client"
        sleep(0.02)


@pytest.mark.parametrize("phase", ["waiting for writers before build", "waiting for old snapshots"])
def test_killed_in_the_middle_it_resumes_to_a_valid_index(each_project: Project, phase: str) -> None:
    """On every server, before the index is built and behind: nothing is done twice, nothing is left to be done."""
    production = each_project.production
    old = production.connect("app")
    with old.cursor() as cursor:
        if phase.endswith("snapshots"):
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM upload")
        else:
            cursor.execute("LOCK TABLE account IN ROW EXCLUSIVE MODE")
    killed_when(each_project, lambda database: database.admin_sql(PHASE, (phase,)) == [(True,)], phase)
    left = production.admin_sql(WHAT_CAME_OF_IT)
    old.rollback()
    again = each_project.run("apply", "patch-1", "--yes")

    assert left == [(["account_name false"], 0, None, [1])]
    assert again.status == 0, again.err
    assert "1 of 3 statements were done by an earlier run" in again.err
    assert "public.account_name was there and invalid: dropped, to be built again" in again.err
    assert production.admin_sql(WHAT_CAME_OF_IT) == ALL_IS_WELL


def test_killed_behind_the_index_it_is_not_built_twice(each_project: Project) -> None:
    """The index is valid, and the journal does not know it yet."""
    production = each_project.production
    production.admin_sql(SLOW_JOURNAL)
    killed_when(each_project, lambda database: database.admin_sql(IS_JOURNALLING) == [(True,)], "the journal's row")
    left = production.admin_sql(WHAT_CAME_OF_IT)
    production.admin_sql("DROP TRIGGER hold_up ON fastdowntime.live_journal")
    again = each_project.run("apply", "patch-1", "--yes")

    assert left == [(["account_name true"], 0, None, [1])]
    assert again.status == 0, again.err
    assert "public.account_name is there, valid and as wanted: taken as done" in again.err
    assert production.admin_sql(WHAT_CAME_OF_IT) == ALL_IS_WELL
