"""The story, told only as far as a test needs it."""

from __future__ import annotations

import pytest

from demo import story
from demo.stage import Stage


class Telling:
    """Plays each chapter once, for whichever test asks first; what went wrong in one is told to its own test."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._told = 0
        self._failure: Exception | None = None  # in chapter `_told`, the last one that was played

    def chapter(self, number: int) -> None:
        """Play up to this chapter; raises what went wrong in it, and skips the test if it was not reached."""
        while self._told < number and self._failure is None:
            self._told += 1
            try:
                story.CHAPTERS[self._told - 1].play(self.stage)
            except Exception as error:
                self._failure = error
        if self._failure is not None and self._told == number:
            raise self._failure
        if self._told < number:
            pytest.skip(f"the story ended with chapter {self._told}: {self._failure}")

    def to_the_end(self) -> None:
        """Play all of it; skips the test where something was not as told."""
        for number in range(1, len(story.CHAPTERS) + 1):
            try:
                self.chapter(number)
            except Exception:
                pytest.skip(f"chapter {number} of the story was not as told")
        self.stage.rest()  # what comes after the story needs neither clients nor a prober
