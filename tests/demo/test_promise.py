"""What is promised whatever dies: that a broken promise is noticed."""

from __future__ import annotations

import pytest

from demo.faults import promise
from demo.faults.draws import Fault
from demo.faults.sample import State
from demo.faults.writers import Tally
from demo.web import CANCELLED, FAILURE, SUCCESS, WARNINGS, Build

IN = State(column=True, recorded=True, journalled=False)
OUT = State(column=False, recorded=False, journalled=False)
WITHOUT_ROW = State(column=True, recorded=False, journalled=False)
WITHOUT_COLUMN = State(column=False, recorded=True, journalled=False)
ADDRESS = "http://localhost:8010/#/builders/2/builds/7"


def _build(*, results: int | None = SUCCESS, state: str = "patch-1 deployed") -> Build:
    return Build(id=70, number=7, builder="production", state=state, results=results, complete=results is not None,
                 properties={})


def _waiting() -> Build:
    return _build(results=None, state="waiting for approval")


@pytest.mark.parametrize(("seen", "broken"), [
    ({}, 0),
    ({"open_seconds": 20.0}, 1),
    ({"at_the_end_seconds": 20.0}, 1),
    ({"shut_seconds": 20.0}, 1),
    ({"shut_seconds": 20.0, "dead_seconds": 10.0}, 0)])
def test_a_door_that_stays_shut_is_noticed(seen: dict[str, float], broken: int) -> None:
    """By whoever comes after the fault, at the end, or all the time; not while there is nobody who could open."""
    usual = {"open_seconds": 0.1, "at_the_end_seconds": 0.1, "shut_seconds": 0.1, "dead_seconds": 0.0}

    assert len(list(promise.is_open(**{**usual, **seen}))) == broken


@pytest.mark.parametrize(("state", "left", "broken"), [
    (IN, None, 0), (OUT, None, 0), (IN, IN, 0),
    (WITHOUT_ROW, None, 1), (WITHOUT_COLUMN, None, 1),
    (IN, OUT, 1), (OUT, IN, 1)])
def test_half_a_patch_is_noticed(state: State, left: State | None, broken: int) -> None:
    """A patch without its ledger row or the other way round, and one that a restarted master has deployed unasked."""
    assert len(list(promise.is_whole(state, left=left))) == broken


@pytest.mark.parametrize(("fault", "broken"), [(Fault.STOP, 1), (Fault.KILL_SERVER, 0), (Fault.KILL_BOTH, 0)])
def test_harm_done_to_fragile_users_is_noticed(fault: Fault, broken: int) -> None:
    """Unless the server itself was killed."""
    before, now = Tally(harmed=1), Tally(harmed=2)

    assert len(list(promise.spares_the_fragile(before, now, fault))) == broken
    assert list(promise.spares_the_fragile(now, now, fault)) == []


@pytest.mark.parametrize(("seen", "broken"), [
    ({}, 0), ({"approved": False}, 1), ({"approved_by": ""}, 1), ({"build_url": ADDRESS[:-1] + "17"}, 1)])
def test_a_deployment_without_a_word_is_noticed(seen: dict[str, object], broken: int) -> None:
    """Nobody had approved it, or the ledger names somebody or some build else."""
    usual = {"approved": True, "approved_by": "approver", "build_url": ADDRESS, "build": _build()}

    assert len(list(promise.has_a_word(**{**usual, **seen}))) == broken  # type: ignore[arg-type]


@pytest.mark.parametrize(("last", "state", "broken"), [
    (_build(), IN, 0), (_build(results=WARNINGS), IN, 0), (_build(results=FAILURE), OUT, 0), (_waiting(), OUT, 0),
    (_build(results=FAILURE), IN, 1), (_build(results=CANCELLED), IN, 1), (_build(), OUT, 1), (_waiting(), IN, 1),
    (_build(results=CANCELLED, state="not reached"), OUT, 1), (_build(results=FAILURE, state=""), OUT, 1)])
def test_a_history_that_misleads_is_noticed(last: Build, state: State, broken: int) -> None:
    """A result that does not agree with the ledger, a build that says nothing, one that asks for what is done."""
    assert len(list(promise.can_be_read(last, state))) == broken
