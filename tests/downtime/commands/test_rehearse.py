"""`python -m downtime rehearse`."""

from __future__ import annotations

from tests.downtime.commands.conftest import MakeProject, Project

COLD = "-- apply: cold\nALTER TABLE account ADD COLUMN note text;\nCOMMENT ON COLUMN account.note IS 'a';\n"
LIVE = "-- apply: live\nCREATE INDEX CONCURRENTLY account_name ON account (name);\n"


def _has_column(project: Project) -> bool:
    return bool(project.staging.admin_sql(
        "SELECT 1 FROM pg_attribute WHERE attrelid = 'account'::regclass AND attname = 'note'"))


def test_all_pending_patches_are_rehearsed_in_order(project: Project) -> None:
    """Each with its evidence: seconds per statement, verdict and digest; a second run finds nothing pending."""
    project.land(patch_1=COLD, patch_2=LIVE)

    answer = project.run("rehearse", "--json")
    again = project.run("rehearse")
    first, second = answer.document["rehearsed"]

    assert answer.status == 0
    assert [(each["patch_id"], each["lane"], each["verdict"]) for each in (first, second)] == [
        ("patch-1", "cold", "within target"), ("patch-2", "live", "within target")]
    assert [statement["line"] for statement in first["statements"]] == [2, 3]
    assert len(first["digest"]) == 64
    assert (again.status, again.out) == (0, "Nothing is pending on staging.\n")


def test_a_patch_over_the_limit_needs_sign_off_and_is_no_failure(make_project: MakeProject) -> None:
    """Rolled back as asked it leaves neither column nor ledger row."""
    project = make_project(budget={"target_seconds": 0.000001, "limit_seconds": 0.000001})
    project.land(patch_1=COLD)

    text = project.run("rehearse", "--rollback")
    document = project.run("rehearse", "--rollback", "--json").document

    assert text.status == 0
    assert "needs sign-off" in text.out
    assert (document["rolled_back"], document["rehearsed"][0]["needs_signoff"]) == (True, True)
    assert not _has_column(project)


def test_rolling_back_more_than_one_or_what_no_transaction_takes_is_refused(project: Project) -> None:
    """Neither would show what production will do; nothing is touched."""
    project.land(patch_1=COLD, patch_2=LIVE)

    several, live = project.run("rehearse", "--rollback"), project.run("rehearse", "patch-2", "--rollback")

    assert (several.status, live.status) == (1, 1)
    assert "the second would run without what the first one does" in several.err
    assert "CREATE INDEX CONCURRENTLY cannot run inside a transaction" in live.err
    assert not _has_column(project)


def test_one_patch_that_may_not_run_keeps_all_from_running(project: Project) -> None:
    """A refusal has touched nothing."""
    project.land(patch_1=COLD, patch_2="BEGIN;")

    answer = project.run("rehearse")

    assert answer.status == 1
    assert "patch-2.sql, line 1: BEGIN" in answer.err
    assert not _has_column(project)


def test_rehearsals_run_on_staging_only(project: Project) -> None:
    """Naming production is a mistake, not a wish."""
    answer = project.run("rehearse", "--environment", "production")

    assert answer.status == 2
    assert "rehearsals run on staging" in answer.err


def test_a_patch_is_run_as_often_as_asked(project: Project) -> None:
    """All runs but the last are rolled back; with --rollback that one, too."""
    project.land(patch_1=COLD)

    (tried,) = project.run("rehearse", "--rollback", "--repeat", "2", "--json").document["rehearsed"]
    left_behind = _has_column(project)
    (kept,) = project.run("rehearse", "--repeat", "3", "--json").document["rehearsed"]

    assert [run["kept"] for run in tried["runs"]] == [False, False]
    assert [run["kept"] for run in kept["runs"]] == [False, False, True]
    assert (left_behind, _has_column(project)) == (False, True)


def test_what_cannot_be_rolled_back_cannot_be_repeated(project: Project) -> None:
    """Refused with the line, and before the patches beside it have run."""
    project.land(patch_1=COLD, patch_2=LIVE)

    answer = project.run("rehearse", "--repeat", "2")

    assert answer.status == 1
    assert "patch-2.sql, line 2: CREATE INDEX CONCURRENTLY cannot run inside a transaction" in answer.err
    assert not _has_column(project)


def test_the_text_has_what_an_approver_should_read(project: Project) -> None:
    """A table of the statements with locks below them, the lane, and the downtime phase by phase."""
    project.land(patch_1=COLD)

    text = project.run("rehearse").out

    assert "! ACCESS EXCLUSIVE on table public.account" in text
    assert "Lane: Declared cold, but measured live-safe: `-- apply: live` would save an outage of" in text
    assert "allow connections" in text


def test_figures_of_the_rest_do_not_pass_for_those_of_the_whole(project: Project) -> None:
    """A live rehearsal that went on behind a failure: the slow statements before it escaped the limit."""
    project.land(patch_1="-- apply: live\nALTER TABLE account ADD COLUMN note text;\nALTER TABLE later ADD a int;\n")

    failed = project.run("rehearse")
    project.staging.admin_sql("SET ROLE patcher; CREATE TABLE later (id int)")
    (evidence,) = project.run("rehearse", "--json").document["rehearsed"]

    assert failed.status != 0
    assert len(evidence["statements"]) == 1
    assert evidence["signoff_reasons"] == [
        "1 statement was finished by an earlier run, and its time is not in these figures"]
