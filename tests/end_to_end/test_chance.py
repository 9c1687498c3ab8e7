"""Faults at random against real servers and a real buildmaster, and that the looking at them can fail."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from demo.faults import chance
from demo.faults.draws import Fault
from demo.faults.rounds import Ended
from demo.faults.strikes import Reached
from demo.installations import ServerError, installations

ROUNDS = 20  # with each gate; `make faults-nightly` plays many more
SEED = 3     # one whose draws fall before, into and behind the outage


@pytest.mark.parametrize("gate", ["hold", "refuse"])
def test_what_is_promised_holds_whenever_something_dies(tmp_path: Path, gate: str) -> None:
    """The database opens, the patch is in or not, nothing is deployed unasked, the history agrees, no write is lost."""
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    rounds = chance.play(tmp_path / "demo", gate=gate, seed=SEED, rounds=ROUNDS, tell=print)
    print(chance.spread(rounds))
    ended = Counter(each.ended for each in rounds)
    reached = Counter(each.reached for each in rounds)

    assert [(SEED, each.draw.number, each.broken) for each in rounds if each.broken] == []
    assert len(rounds) == ROUNDS
    assert {each.draw.fault for each in rounds} == set(Fault)
    # rounds that all end alike, or whose faults all fall outside the outage, would prove nothing
    assert ended[Ended.APPLIED] > 0
    assert ended[Ended.APPLIED] < ROUNDS - 4
    assert reached[Reached.CLOSED] + reached[Reached.PATCHING] + reached[Reached.COMMITTING] >= 3
