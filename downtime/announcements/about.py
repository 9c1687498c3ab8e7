"""What every notice about an attempt has: what is known of patch, people and time, made tidy. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice, page_of
from downtime.announcements.tidy import LONGEST_ID, tidy
from downtime.history.journey import Attempt, Journey
from downtime.lanes import Lane

MOST_NAMES = 20  # of people in one notice: git and a settings file can name any number


def about(journey: Journey, kind: Kind, at: datetime, *, happened: str, explained: str, url: str,
          attempt: Attempt | None = None) -> Notice:
    """A notice with all that is known of the attempt; `url` is the buildmaster's.

    `happened` and `explained` are our own words; what comes from elsewhere is a reason or a name.
    """
    rehearsed = journey.rehearsed
    notice = Notice(
        kind=kind, at=at, patch_id=tidy(journey.patch_id, LONGEST_ID), happened=happened,
        explained=explained, page_url=page_of(journey.patch_id, url),
        lane=lane_of(journey, attempt),
        expected_seconds=rehearsed.expected_seconds if rehearsed is not None else None,
        authors=journey.authors[:MOST_NAMES])
    if attempt is None:
        return notice
    return replace(
        notice, request_id=attempt.request_id, build_url=tidy(attempt.build_url), begins_at=begins_at(attempt),
        requested_by=_names(attempt.requested_by),
        approved_by=_names(attempt.approved.by if attempt.approved is not None else ()))


def lane_of(journey: Journey, attempt: Attempt | None) -> Lane | None:
    """As the attempt has it; the newest rehearsal may be of another file."""
    if attempt is not None and attempt.ended is not None and attempt.ended.lane is not None:
        return attempt.ended.lane
    return attempt.asked.lane if attempt is not None and attempt.asked is not None else journey.lane


def begins_at(attempt: Attempt) -> datetime | None:
    """When the downtime is going to begin, by what is known last; None where it has begun or nobody knows."""
    if attempt.closed is not None or attempt.ended is not None or attempt.approved is None:
        return None
    if attempt.quiescing is not None:
        return attempt.quiescing.begins_at
    planned, hurried = attempt.planned, attempt.hurried
    if planned is None or (hurried is not None and hurried.at >= planned.at):
        return None
    return planned.begins_at


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(tidy(name, LONGEST_ID) for name in names[:MOST_NAMES])
