"""Coroutines side by side: each comes to its own end."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from downtime import errors
from downtime.parallel import failures, in_parallel, results


async def test_one_that_fails_leaves_the_others_to_their_end() -> None:
    """Who undoes something on several servers must have tried it on all of them."""
    slow: Deferred[str] = Deferred()

    async def fails() -> str:
        raise errors.ConnectionLost(node="a standby", reason="it died")

    async def takes_time() -> str:
        return await slow

    running = Deferred.fromCoroutine(in_parallel([fails(), takes_time()]))
    assert not running.called
    slow.callback("done")
    outcomes = await running

    assert (results(outcomes), [str(each) for each in failures(outcomes)]) \
        == (["done"], ["connection to a standby was lost: it died"])
    assert isinstance(outcomes[0], errors.ConnectionLost)


async def test_a_bug_is_not_taken_for_an_outcome() -> None:
    """Only errors of ours are values."""
    async def broken() -> None:
        raise KeyError("unexpected")

    with pytest.raises(KeyError):
        await in_parallel([broken()])


async def test_nothing_to_do_is_done_at_once() -> None:
    assert await in_parallel([]) == []
