"""The linter's rules in the settings are squawk's, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from downtime.settings import Settings

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]


def test_rules_that_refuse_and_rules_that_are_off(load_with: LoadWith) -> None:
    """Without the section nothing refuses."""

    given = load_with({"lint": {"block": ["ban-drop-column"], "off": ["renaming-table"]}}).lint
    assert (given.block, given.off) == (("ban-drop-column",), ("renaming-table",))
    assert (load_with().lint.block, load_with().lint.off) == ((), ())


@pytest.mark.parametrize(("lint", "problem"), [
    ({"block": ["ban-drop-colum"]}, "lint.block: ban-drop-colum is no rule of squawk; did you mean `ban-drop-column`?"),
    ({"off": ["xyz", "ban-drop-table"]}, "lint.off: xyz is no rule of squawk."),
    ({"block": ["ban-drop-table"], "off": ["ban-drop-table"]},
     "lint.off: ban-drop-table cannot be in lint.block too; decide for one of the two lists."),
])
def test_a_rule_that_squawk_does_not_have_is_a_mistake(lint: dict[str, Any], problem: str,
                                                       problems_with: ProblemsWith) -> None:
    """A typing mistake would let pass what it was to refuse."""

    assert problems_with({"lint": lint}) == (problem,)
