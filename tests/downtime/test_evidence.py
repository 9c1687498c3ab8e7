"""What an approver decides about, and what an approval is bound to."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from downtime.evidence import Evidence, Verdict, schema, signoff_reasons
from downtime.lanes import Lane
from tests.downtime.evidences import EVIDENCE, LIKE, UNLIKE

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "evidence.schema.json"

CHANGED: dict[str, Any] = {
    "rehearsed_at": EVIDENCE.rehearsed_at + timedelta(microseconds=1), "statements": EVIDENCE.statements[:1],
    "runs": EVIDENCE.runs[:1], "findings": EVIDENCE.findings[:1], "likeness": LIKE, "lane": Lane.LIVE,
    "declared": False, "lane_obstacles": (), "remarks": (), "signoff_reasons": ()}


class Budget:
    target_seconds = 10.0
    limit_seconds = 15.0


@pytest.mark.parametrize("name", [field.name for field in fields(Evidence)])
def test_the_digest_changes_with_every_field(name: str) -> None:
    """An approval of one thing is never an approval of another."""
    value = getattr(EVIDENCE, name)
    other = CHANGED[name] if name in CHANGED else value + 1 if isinstance(value, float | int) else f"{value}x"

    assert replace(EVIDENCE, **{name: other}).digest != EVIDENCE.digest


def test_it_survives_the_way_through_json() -> None:
    """The same document, the same digest; footprints, findings and staging's likeness among it."""
    back = Evidence.from_json(EVIDENCE.to_json())

    assert (back, back.digest) == (EVIDENCE, EVIDENCE.digest)
    assert EVIDENCE.likeness == UNLIKE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rehearsed_at": 5}', "null"])
def test_what_is_no_evidence_is_refused(text: str) -> None:
    """With the error it promises."""
    with pytest.raises(ValueError, match="validation error"):
        Evidence.from_json(text)


@pytest.mark.parametrize("change", [{"left_out": None}, {"kicked": 3}])
def test_a_document_of_another_version_is_no_evidence(change: dict[str, Any]) -> None:
    """One that lacks a field, or has one more: its digest would not be that of what is shown."""
    document = json.loads(EVIDENCE.to_json()) | change
    text = json.dumps({key: value for key, value in document.items() if value is not None or key == "likeness"})

    with pytest.raises(ValueError, match=next(iter(change))):
        Evidence.from_json(text)


@pytest.mark.parametrize(("seconds", "factor", "verdict"), [
    (10.0, 1.0, Verdict.WITHIN_TARGET), (10.1, 1.0, Verdict.WITHIN_LIMIT), (15.0, 1.0, Verdict.WITHIN_LIMIT),
    (15.1, 1.0, Verdict.OVER_LIMIT), (5.0, 2.0, Verdict.WITHIN_TARGET), (8.0, 2.0, Verdict.OVER_LIMIT)])
def test_what_is_expected_in_production_is_judged_against_the_budget(seconds: float, factor: float, verdict: Verdict
                                                                      ) -> None:
    """Exactly on a border is still within it, and needs a sign-off only beyond the limit."""

    assert replace(EVIDENCE, seconds=seconds, factor=factor).verdict is verdict
    assert bool(signoff_reasons(seconds, Budget(), factor=factor)) is (verdict is Verdict.OVER_LIMIT)


def test_a_reason_for_a_sign_off_has_both_figures() -> None:
    """What staging has measured, and what production made of it so far."""
    assert signoff_reasons(8.0, Budget(), factor=2.0) == (
        "8.000 s on staging, 16.000 s expected in production, is over the limit of 15 s",)
    assert signoff_reasons(16.0, Budget()) == ("16.000 s on staging is over the limit of 15 s",)


@pytest.mark.parametrize(("status", "rows"), [
    ("UPDATE 3", 3), ("INSERT 0 12", 12), ("SELECT 0", 0), ("COPY 5", 5), ("CREATE TABLE", None), ("DO", None)])
def test_rows_are_those_of_the_command_tag(status: str, rows: int | None) -> None:
    """None where the server counts none, which is not the same as 0."""
    assert replace(EVIDENCE.statements[0], status=status).rows == rows


def test_the_schema_in_the_documentation_is_that_of_the_code() -> None:
    """Whoever reads evidence with another program reads what is written."""
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "docs/evidence.md has the command that writes it again"
