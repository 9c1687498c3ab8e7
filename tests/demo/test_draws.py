"""What is drawn by lot for faults at random."""

from __future__ import annotations

from itertools import islice

from demo.faults.draws import LONGEST_PACE_SECONDS, Draw, Fault, Since, draws

MANY = 300


def _drawn(seed: int, gate: str = "hold", rounds: int = MANY) -> list[Draw]:
    return list(islice(draws(seed, gate), rounds))


def test_the_same_seed_draws_the_same() -> None:
    """A seed that has failed can be played again."""
    assert _drawn(7) == _drawn(7)


def test_another_seed_or_gate_draws_otherwise() -> None:
    """Nights and gates do not repeat each other."""
    assert _drawn(7) != _drawn(8)
    assert _drawn(7, "hold") != _drawn(7, "refuse")


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    """A round that has failed in a long night is reached by fewer rounds, too."""
    assert _drawn(7)[:20] == _drawn(7, rounds=20)


def test_every_fault_comes_before_one_comes_again() -> None:
    """Twenty rounds have seen everything."""
    assert sorted(each.fault for each in _drawn(7, rounds=len(Fault))) == sorted(Fault)


def test_faults_fall_everywhere_between_approval_and_end() -> None:
    """Half of them are counted from the closing of the gate, where what happens is short."""
    drawn = _drawn(7)
    closing = [each for each in drawn if each.since is Since.CLOSING]
    approval = [each.after_seconds(1.0) for each in drawn if each.since is Since.APPROVAL]

    assert MANY / 3 < len(closing) < MANY * 2 / 3
    assert all(each.after_seconds(1.0) <= each.pace_seconds + 0.1 for each in closing)
    assert min(approval) < 0.1
    assert max(approval) > 1.0 + LONGEST_PACE_SECONDS / 2


def test_now_and_then_nobody_approves() -> None:
    """The fault then comes while somebody is asked."""
    unapproved = [each for each in _drawn(7) if not each.approved]

    assert 5 < len(unapproved) < MANY / 4
    assert {each.since for each in unapproved} == {Since.APPROVAL}
