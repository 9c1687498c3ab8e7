"""The figures of deployments as Prometheus reads them: its text format 0.0.4. Pure.

The lines are written here because the usual library's licence, Apache-2.0, does not go with Buildbot's GPLv2.
https://prometheus.io/docs/instrumenting/exposition_formats/ is what they follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from downtime.history import lead_times
from downtime.history.durations import DAY, HOUR, MINUTE
from downtime.history.events import Outcome
from downtime.history.journey import Journey
from downtime.history.selection import Ending, endings, lane_of
from downtime.history.stages import Whose, standing
from downtime.lanes import Lane

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "fastdowntime_"
UNKNOWN = "unknown"  # in place of a lane: refused before anybody knew it
LANES = (*Lane, UNKNOWN)

# upper edges of the histogram of lead times, in seconds: from a patch that nobody kept waiting to a month
LEAD_TIME_EDGES = (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 4 * DAY,
                   7 * DAY, 14 * DAY, 30 * DAY)

Labels = Mapping[str, str]


def metrics(journeys: Iterable[Journey], now: datetime) -> str:
    """All of them, as one page of text. Counters count what the journal has: they never fall."""
    known = tuple(journeys)
    over = endings(known)
    return "".join(f"{line}\n" for part in (
        _counts(over), _last(over), _waits(known, now), _under_way(known), _lead_times(known)) for line in part)


def _counts(over: Sequence[Ending]) -> Iterator[str]:
    counted = Counter((_lane(each.lane), each.ended.outcome) for each in over)
    yield from _head("deployments_total", "counter", "Attempts to deploy that are over, by lane and outcome.")
    for lane in LANES:
        for outcome in Outcome:
            yield _line("deployments_total", {"lane": lane, "outcome": outcome}, counted[lane, outcome])
    yield from _head("outage_seconds_total", "counter", "All outages together, those of given-up attempts too.")
    yield _line("outage_seconds_total", {}, sum(each.ended.outage_seconds for each in over))
    yield from _head("kicked_sessions_total", "counter", "Sessions that deployments have ended.")
    yield _line("kicked_sessions_total", {}, sum(each.ended.kicked for each in over))


def _last(over: Sequence[Ending]) -> Iterator[str]:
    """Of the newest deployment of each lane; nothing of a lane that has none yet."""
    newest = {each.lane: each.ended for each in over
              if each.ended.outcome is Outcome.DEPLOYED and each.lane is not None}
    yield from _head("last_outage_seconds", "gauge", "Outage of the newest deployment of the lane; 0 for live.")
    for lane, ended in newest.items():
        yield _line("last_outage_seconds", {"lane": lane}, ended.outage_seconds)
    yield from _head("last_patch_seconds", "gauge", "What the newest deployed patch of the lane took by itself.")
    for lane, ended in newest.items():
        yield _line("last_patch_seconds", {"lane": lane}, ended.patch_seconds)
    yield from _head("last_deployment_timestamp_seconds", "gauge", "When the newest deployment of the lane was over.")
    for lane, ended in newest.items():
        yield _line("last_deployment_timestamp_seconds", {"lane": lane}, ended.at.timestamp())


def _waits(journeys: Iterable[Journey], now: datetime) -> Iterator[str]:
    """Who keeps patches waiting; those that nobody has to act for are none of it."""
    since: dict[Whose, list[datetime]] = {whose: [] for whose in Whose if whose is not Whose.NOBODY}
    for journey in journeys:
        if (whose := standing(journey).whose) is not Whose.NOBODY:
            since[whose].append(waiting_since(journey))
    yield from _head("waiting_patches", "gauge", "Patches that wait for somebody to act, by who that is.")
    for whose, instants in since.items():
        yield _line("waiting_patches", {"whose": whose}, len(instants))
    yield from _head("oldest_wait_seconds", "gauge", "How long the oldest of them has waited; 0 where nothing waits.")
    for whose, instants in since.items():
        longest = (now - min(instants)).total_seconds() if instants else 0
        yield _line("oldest_wait_seconds", {"whose": whose}, max(longest, 0))


def waiting_since(journey: Journey) -> datetime:
    """Since when its patch waits for somebody to act."""
    attempt = journey.attempt
    if attempt is not None and attempt.ended is None:
        return attempt.asked_first_at or attempt.offered_at
    if journey.problem is not None:
        return journey.problem.at
    return attempt.ended.at if attempt is not None and attempt.ended is not None else journey.last_at


def _under_way(journeys: Iterable[Journey]) -> Iterator[str]:
    lanes = Counter(_lane(lane_of(journey, attempt)) for journey in journeys for attempt in journey.attempts
                    if attempt.closed is not None and attempt.ended is None)
    yield from _head("deploying", "gauge", "Deployments under way now; a cold one keeps the database closed.")
    for lane in Lane:
        yield _line("deploying", {"lane": lane}, lanes[lane])


def _lead_times(journeys: Iterable[Journey]) -> Iterator[str]:
    patches = lead_times.lead_times(journeys).patches
    yield from _head("lead_time_seconds", "histogram", "From landing to production, by lane.")
    for lane in Lane:
        seconds = [each.seconds for each in patches if each.lane == lane]
        for edge in LEAD_TIME_EDGES:
            yield _line("lead_time_seconds_bucket", {"lane": lane, "le": f"{edge:g}"}, sum(s <= edge for s in seconds))
        yield _line("lead_time_seconds_bucket", {"lane": lane, "le": "+Inf"}, len(seconds))
        yield _line("lead_time_seconds_sum", {"lane": lane}, sum(seconds))
        yield _line("lead_time_seconds_count", {"lane": lane}, len(seconds))


def _lane(lane: str | None) -> str:
    return lane or UNKNOWN


def _head(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP {PREFIX}{name} {meaning}", f"# TYPE {PREFIX}{name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    """One sample. Labels come from our own closed sets, and are escaped all the same."""
    inner = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
    return f"{PREFIX}{name}{{{inner}}} {value!r}" if inner else f"{PREFIX}{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r'\"').replace("\n", r"\n")
