"""Whether a page has to wait: while the database is closed, the master's threads leave the processor to the outage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from downtime.history.journey import Journey
from downtime.lanes import Lane

QUIET = timedelta(seconds=2)  # shorter: pages share the processor with it; longer: nobody sees how a slow patch goes


def closed_just_now(journeys: Iterable[Journey], now: datetime) -> str:
    """The patch for which the database was closed a moment ago and is closed still; empty where there is none.

    An outage of some milliseconds would be lengthened by a page that is made beside it. One that takes seconds
    anyway is not, in any way that could be measured.
    """
    return next((journey.patch_id for journey in journeys
                 if journey.lane is not Lane.LIVE and (attempt := journey.attempt) is not None
                 and attempt.closed is not None and attempt.ended is None and now - attempt.closed.at < QUIET), "")
