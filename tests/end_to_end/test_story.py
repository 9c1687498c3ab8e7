"""The story of the demo, told by the same code: git push, the buttons of the web pages, real servers."""

from __future__ import annotations

import pytest

from demo import programme, story
from demo.programme import Outcome
from demo.stage import Stage
from tests.end_to_end.telling import Telling


@pytest.mark.parametrize("number", range(1, len(story.CHAPTERS) + 1), ids=[
    chapter.play.__name__ for chapter in story.CHAPTERS])
def test_it_is_as_told(telling: Telling, number: int) -> None:
    """Each chapter checks what it tells: see the chapter's own words in `demo.story`."""
    telling.chapter(number)


def test_the_table_at_its_end_has_every_attempt(told: Stage) -> None:
    """A reader finds each attempt with what it cost clients, the failed ones too."""
    text = programme.table(told.attempts)

    assert [text.count(patch) for patch in (story.COLD, story.LIVE, story.CHECKED, story.LISTED)] == [1, 1, 2, 2]
    assert [text.count(outcome) for outcome in (Outcome.REJECTED, Outcome.FAILED_ON_STAGING, Outcome.ROLLED_BACK,
                                                Outcome.REFUSED)] == [1, 1, 1, 1]


def test_the_command_line_sees_what_buildbot_has_deployed(told: Stage) -> None:
    """A terminal and the buildmaster work on the same ledger."""
    required = told.sandbox.downtime("require", story.LISTED, "--environment", "production")
    status = told.sandbox.downtime("status", "--environment", "production")

    assert required.returncode == 0, required.stderr
    assert "accepts connections" in status.stdout, status.stderr
