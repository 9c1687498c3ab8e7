"""Several coroutines side by side, each to its own end: one that fails leaves no other half done."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

from downtime import errors

T = TypeVar("T")


async def in_parallel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T | errors.DowntimeError]:
    """What each has returned, or how it has failed, in their order, when all have ended.

    Raises what is no error of ours, when all have ended.
    """
    outcomes: Any = await DeferredList([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)
    found: list[Any] = [value if succeeded else value.value for succeeded, value in outcomes]
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, errors.DowntimeError):
            raise each
    return found


def failures(outcomes: Sequence[T | errors.DowntimeError]) -> list[errors.DowntimeError]:
    """Those of `in_parallel` that failed."""
    return [each for each in outcomes if isinstance(each, errors.DowntimeError)]


def results(outcomes: Sequence[T | errors.DowntimeError]) -> list[T]:
    """Those that did not."""
    return [each for each in outcomes if not isinstance(each, errors.DowntimeError)]
