"""Buildbot's results with a type: its own module has none, and what a step returns should be checked."""

from __future__ import annotations

from typing import Final

from buildbot.process import results

SUCCESS: Final[int] = results.SUCCESS
WARNINGS: Final[int] = results.WARNINGS    # done, and somebody should look
FAILURE: Final[int] = results.FAILURE
SKIPPED: Final[int] = results.SKIPPED
RETRY: Final[int] = results.RETRY          # Buildbot builds the request again
CANCELLED: Final[int] = results.CANCELLED  # by somebody's Stop


def worst(first: int | None, second: int | None) -> int:
    """Of two results the one that a build of both has."""
    return int(results.worst_status(first, second))
