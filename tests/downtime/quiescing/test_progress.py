"""What people read of a deployment that quiesces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from downtime.quiescing import progress
from downtime.quiescing.progress import Standing
from downtime.quiescing.tasks import Owed, tasks_of
from tests.downtime.quiescing.tasks import a_quiesce, a_task

NOW = datetime(2026, 3, 4, 8, 0, tzinfo=UTC)
COMMAND = {"stop": "true", "resume": "true"}


def a_standing(*, name: str = "import", ago: float | None = None, quiet_ago: float | None = None,
               stopped: str | None = "false", why_not: str = "") -> Standing:
    """Instants are seconds before now."""
    def instant(seconds: float | None) -> datetime | None:
        return None if seconds is None else NOW - timedelta(seconds=seconds)
    return Standing(task=a_task(name=name, stopped=stopped), stopped_at=instant(ago), quiet_at=instant(quiet_ago),
                    why_not=why_not)


def test_the_sentence_names_what_still_has_work_and_since_when() -> None:
    """It is the summary of the step, on every page."""

    standings = [a_standing(name="import", ago=720), a_standing(name="mail", ago=30), a_standing(name="cron"),
                 a_standing(name="jobs", ago=720, quiet_ago=10), a_standing(name="web", ago=9, stopped=None)]
    assert progress.sentence(standings, NOW) == (
        "4 of 5 background tasks are stopped; import still has work (12 min); mail still has work (30 s)")
    assert progress.sentence([standings[3]] * 2, NOW) == "all 2 background tasks are stopped"
    assert progress.sentence([standings[3]], NOW) == "the background task is stopped"
    assert progress.sentence([standings[2]], NOW) == "the background task is being stopped"


def test_the_table_says_of_each_task_how_far_it_is() -> None:
    """It is the log of the step; what nothing can be asked of is not called quiet."""

    assert progress.table([
        a_standing(name="a"), a_standing(name="b", ago=60, stopped=None), a_standing(name="c", ago=60, quiet_ago=5),
        a_standing(name="d", ago=60, why_not='"importer" has 2 sessions')]).splitlines() == [
        "a: not stopped yet",
        "b: stopped at 07:59:00 UTC; nothing in the settings tells whether it is quiet",
        "c: stopped at 07:59:00 UTC, quiet since 07:59:55 UTC",
        'd: stopped at 07:59:00 UTC, still has work: "importer" has 2 sessions']


def test_tasks_are_stopped_by_their_lead_and_then_as_they_are_listed() -> None:
    """What is resumed first is what was stopped last."""

    found = tasks_of(a_quiesce(*(
        {"name": name, "command": COMMAND, "lead_minutes": lead}
        for name, lead in (("patroni", 0), ("import", 60), ("mail", 60), ("reports", 90)))))
    assert [task.name for task in found] == ["reports", "import", "mail", "patroni"]
    assert [task.lead_seconds for task in found] == [5400, 3600, 3600, 0]


def test_what_is_owed_survives_json() -> None:
    """It is kept in the buildmaster's database."""

    owed = Owed(task="import", command="systemctl start 'a b'", seconds=1.5)
    assert Owed.from_json(owed.to_json()) == owed
