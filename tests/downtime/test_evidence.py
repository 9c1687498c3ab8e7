"""What an approver reads, and what an approval is bound to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from downtime.evidence import Evidence, StatementTiming, Verdict, signoff_reasons

EVIDENCE = Evidence(
    patch_id="patch-1", path="db/patch-1.sql", sha256="a" * 64, lane="cold", commit="c" * 40, server="db1:5432/app",
    rehearsed_at=datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC), seconds=3.0, outage_seconds=3.1,
    statements=(StatementTiming(line=1, kind="CREATE TABLE", seconds=1.0, status="CREATE TABLE"),
                StatementTiming(line=2, kind="UPDATE", seconds=2.0, status="UPDATE 3")),
    target_seconds=10, limit_seconds=15, signoff_reasons=("ä reason",))

CHANGED: dict[str, Any] = {
    "rehearsed_at": EVIDENCE.rehearsed_at + timedelta(microseconds=1), "statements": EVIDENCE.statements[:1],
    "signoff_reasons": ()}


@dataclass(frozen=True)
class Budget:
    target_seconds: float = 10
    limit_seconds: float = 15


@pytest.mark.parametrize("name", [field.name for field in fields(Evidence)])
def test_the_digest_changes_with_every_field(name: str) -> None:
    """An approval of one thing is never an approval of another."""
    value = getattr(EVIDENCE, name)
    other = CHANGED.get(name, value + 1 if isinstance(value, float | int) else f"{value}x")

    assert replace(EVIDENCE, **{name: other}).digest != EVIDENCE.digest


def test_it_survives_the_way_through_json() -> None:
    """The same document, the same digest."""
    back = Evidence.from_json(EVIDENCE.to_json())

    assert (back, back.digest) == (EVIDENCE, EVIDENCE.digest)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rehearsed_at": 5}', "null"])
def test_what_is_no_evidence_is_refused(text: str) -> None:
    """With the errors it promises."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Evidence.from_json(text)


@pytest.mark.parametrize(("seconds", "verdict"), [
    (10.0, Verdict.WITHIN_TARGET), (10.1, Verdict.WITHIN_LIMIT), (15.0, Verdict.WITHIN_LIMIT),
    (15.1, Verdict.OVER_LIMIT)])
def test_the_time_is_judged_against_the_budget(seconds: float, verdict: Verdict) -> None:
    """Exactly on a border is still within it, and needs a sign-off only beyond the limit."""

    assert replace(EVIDENCE, seconds=seconds).verdict is verdict
    assert bool(signoff_reasons(seconds, Budget())) is (verdict is Verdict.OVER_LIMIT)


def test_the_slowest_statement_is_marked() -> None:
    """Where to look first."""
    marked = [line for line in EVIDENCE.table.splitlines() if "slowest" in line]

    assert len(marked) == 1
    assert "UPDATE 3" in marked[0]


def test_evidence_of_many_statements_says_what_is_not_shown() -> None:
    """Nobody may take three hundred lines for the whole."""
    table = replace(EVIDENCE, left_out=49_700, left_out_seconds=3.5).table

    assert "          3.500  49,700 faster statements, not shown" in table
