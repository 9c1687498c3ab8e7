"""`python -m downtime require`."""

from __future__ import annotations

import signal

from tests.downtime.commands.conftest import Project, ended


def test_it_exits_with_0_only_where_these_bytes_are_applied(project: Project) -> None:
    """Not applied, applied, and applied with other content are told apart."""
    project.land(patch_1="SELECT 1;")
    before = project.run("require", "patch-1", "--json")
    project.run("baseline", "patch-1", "--yes")
    after = project.run("require", "patch-1", "--json")
    project.land(patch_1="SELECT 'edited';")
    edited = project.run("require", "patch-1", "--json")

    assert (before.status, before.document["error"]["kind"]) == (1, "NotApplied")
    assert (after.status, after.document["applied"]) == (0, True)
    assert (edited.status, edited.document["error"]["kind"]) == (1, "OtherBytesApplied")


def test_it_waits_for_the_patch(project: Project) -> None:
    """A deploy of code may be started before the patch is in."""
    project.land(patch_1="SELECT 1;")
    waiting = project.start("require", "patch-1", "--wait", "30")
    assert waiting.stderr is not None
    while "looking again" not in waiting.stderr.readline():
        assert waiting.poll() is None
    project.run("baseline", "patch-1", "--yes")

    assert ended(waiting).status == 0


def test_an_interrupted_wait_is_no_success(project: Project) -> None:
    """Whoever stops the wait must not thereby let the code be deployed."""
    project.land(patch_1="SELECT 1;")
    waiting = project.start("require", "patch-1", "--wait", "30")
    assert waiting.stderr is not None
    while "looking again" not in waiting.stderr.readline():
        assert waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    answer = ended(waiting)

    assert answer.status == 3
    assert "interrupted" in answer.err
