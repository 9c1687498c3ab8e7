"""What an event says, in one sentence."""

from __future__ import annotations

from typing import get_args

import pytest

from downtime.history import events
from downtime.history.telling import told
from downtime.lanes import Lane
from tests.downtime.history.histories import NOW, some_of_each

OF_ONE: list[events.Event] = [
    *some_of_each(),
    events.Voided(at=NOW, patch_id="patch-1", request_id=1, reason="the evidence is another one"),
    events.WindowMissed(at=NOW, patch_id="patch-1", request_id=1, begins_at=NOW, reason="a tape ran"),
    events.TurnCame(at=NOW, patch_id="patch-1", request_id=1),
    events.Spreading(at=NOW, patch_id="patch-1", request_id=1, databases=49),
    events.Hurried(at=NOW, patch_id="patch-1", request_id=1, by="operator", reason="now"),
]


@pytest.mark.parametrize("kind", get_args(events.Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_sentence(kind: type[events.Event]) -> None:
    """Whoever reads a history misses nothing."""

    sentences = [told(event) for event in OF_ONE if isinstance(event, kind)]
    assert sentences
    assert all(sentences)


def test_a_live_patch_had_no_outage() -> None:
    """Its end says what it took, and of no outage."""

    (live,) = [told(event) for event in OF_ONE if isinstance(event, events.Ended) and event.lane is Lane.LIVE]
    assert "patch 186 ms" in live
    assert "outage" not in live


def test_a_decision_that_did_not_count_says_why() -> None:
    """The sentence of the answer stands behind it."""

    decided = events.Decided(at=NOW, patch_id="patch-1", request_id=1, build_id=1, digest="d", by="developer",
                             answer=events.Answer.NOT_ACCEPTED, reason="", sentence="no approver", signoff=False)
    assert told(decided) == "developer tried to decide about it (not accepted: no approver)"
