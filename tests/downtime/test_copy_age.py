"""When staging was made from production, told by two ledgers."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from downtime import copy_age
from downtime.ledger import Entry
from tests.downtime.ledgers import START, an_entry


def bounds(age: copy_age.CopyAge) -> tuple[str | None, str | None]:
    return (age.after.id if age.after else None, age.before.id if age.before else None)


A, B, C = an_entry("a", day=1), an_entry("b", day=2), an_entry("c", day=3)


@pytest.mark.parametrize(("staging", "production", "expected"), [
    pytest.param([A, B], [A, B, C], ("b", "c"), id="production went on"),
    pytest.param([A, B, C], [A, B, C], ("c", None), id="production has nothing newer"),
    pytest.param([A, an_entry("b", day=9)], [A, B, C], ("a", "b"), id="rehearsed on staging and deployed later"),
    pytest.param([A, an_entry("b", day=2, microseconds=1)], [A, B], ("a", "b"), id="a microsecond is a difference"),
    pytest.param([A, an_entry("b", day=2, sha256="b")], [A, B], ("a", "b"), id="other bytes are a difference"),
    pytest.param([A, an_entry("x", day=9)], [A], ("a", None), id="pending on production only"),
    pytest.param([B], [A, B, C], ("b", "c"), id="a row that somebody has removed on staging"),
    pytest.param([], [A, B], (None, None), id="an empty ledger on staging"),
    pytest.param([A], [], (None, None), id="an empty ledger on production"),
    pytest.param([], [], (None, None), id="no ledgers"),
    pytest.param([an_entry("a", day=5)], [A], (None, None), id="baselines made apart"),
])
def test_the_copy_lies_between_the_newest_row_in_common_and_the_first_that_is_missing(
        staging: list[Entry], production: list[Entry], expected: tuple[str | None, str | None]) -> None:
    """What staging has rehearsed by itself is none of production's rows, and nothing in common is no answer."""

    assert bounds(copy_age.of(staging, production)) == expected


def test_the_order_of_the_rows_does_not_matter() -> None:
    """They are put in order by production's clock."""
    shuffled = [A, B, C]
    random.Random(7).shuffle(shuffled)

    assert bounds(copy_age.of([B, A], shuffled)) == ("b", "c")


@pytest.mark.parametrize("day", [1.5, 2.5, 10.5])
def test_the_true_instant_of_any_copy_is_within_the_bounds(day: float) -> None:
    """Whatever staging does with its copy afterwards: it rehearses what is pending, and production follows."""
    production = [an_entry(str(number), day=number) for number in range(1, 13)]
    copied = [entry for entry in production if entry.finished_at <= START + timedelta(days=day)]
    rehearsed = [an_entry(entry.id, day=day + 0.1 * number) for number, entry in enumerate(production, start=1)
                 if entry not in copied]

    age = copy_age.of([*copied, *rehearsed], production)

    assert age.after is not None
    assert age.before is not None
    assert age.after.finished_at <= START + timedelta(days=day) < age.before.finished_at


@pytest.mark.parametrize(("days", "older"), [(3.9, True), (4.1, False)])
def test_it_is_too_old_only_where_there_is_no_doubt(days: float, older: bool) -> None:
    """The upper bound decides: on the seventh day, of a copy that lacks a row of the third, it is four days."""

    assert copy_age.of([A], [A, C]).certainly_older_than(days, START + timedelta(days=7)) is older


def test_a_copy_without_an_upper_bound_is_never_too_old_for_sure() -> None:
    """Production has done nothing since, or nothing is in common: nobody can say."""
    late = START + timedelta(days=1000)

    assert not copy_age.of([A], [A]).certainly_older_than(1, late)
    assert not copy_age.of([], [A]).certainly_older_than(1, late)
