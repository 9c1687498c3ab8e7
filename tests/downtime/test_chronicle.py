"""What watchers are told of a running outage, and when."""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.task import Clock

from downtime import errors, phases
from downtime.chronicle import REPORT_SECONDS, Chronicle
from downtime.phases import Phase, PhaseReport, PhaseState


def test_watchers_are_told_a_moment_later() -> None:
    """What they do about it costs no outage."""
    clock, told = Clock(), list[PhaseReport]()
    chronicle = Chronicle(clock)
    chronicle.watch(Phase.PREVENT).addCallback(told.append)
    chronicle.note("closed")
    chronicle.done(Phase.PREVENT, "new connections wait")
    before = list(told)
    clock.advance(REPORT_SECONDS)

    assert before == []
    assert [(each.phase, each.state, each.summary) for each in told] == [
        (Phase.PREVENT, PhaseState.DONE, "new connections wait")]
    assert told[0].log.endswith("closed")


def test_who_comes_late_is_told_at_once() -> None:
    """A step that starts after the phase is over waits for nothing."""
    clock, told = Clock(), list[PhaseReport]()
    chronicle = Chronicle(clock)
    chronicle.done(Phase.PREVENT, "done")
    chronicle.watch(Phase.PREVENT).addCallback(told.append)

    assert [each.phase for each in told] == [Phase.PREVENT]


def test_phases_behind_a_failure_are_not_reached_but_the_last() -> None:
    """Allowing connections is always reached."""
    chronicle = Chronicle(Clock())
    chronicle.failed(Phase.PREVENT, errors.Refused(reason="no"))
    chronicle.skip_to_the_end()

    assert [report.state for report in chronicle.reports] == [PhaseState.FAILED, *[PhaseState.NOT_REACHED] * 3]
    assert (chronicle.has_failed, chronicle.is_over(Phase.ALLOW)) == (True, False)


def test_a_phase_begins_when_the_one_before_ended() -> None:
    """The instant of a report is that of its beginning."""
    chronicle = Chronicle(Clock())
    chronicle.done(Phase.PREVENT, "")
    first = chronicle.reports[0]

    assert first.started_at is not None
    assert abs(first.started_at - chronicle.started_at) < timedelta(seconds=0.5)
    assert first.seconds <= chronicle.seconds


def test_the_timeline_has_a_line_for_every_phase_and_its_notes() -> None:
    """Also of those that were not reached."""
    chronicle = Chronicle(Clock())
    chronicle.note("a note")
    chronicle.failed(Phase.PREVENT, errors.Refused(reason="no"))
    chronicle.skip_to_the_end()
    lines = phases.timeline(chronicle.reports).splitlines()

    assert len(lines) == 5
    assert "a note" in lines[1]
    assert "not reached" in lines[4]
