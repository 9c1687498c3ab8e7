"""The record of what people have decided, newest first, a page at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from downtime.history.events import Decided, Event, Hurried

ENTRIES = 200  # a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One page of it. Nothing is ever taken out of it."""

    entries: tuple[Decided | Hurried, ...]
    total: int
    page: int
    pages: int  # at least 1

    @staticmethod
    def query(page: int) -> str:
        """The query string of another page; empty for the first one."""
        return f"page={page}" if page != 1 else ""


def record(events: Iterable[Event], *, page: int) -> Record:
    """One page; a page behind the last one is the last one."""
    found = [event for event in events if isinstance(event, (Decided, Hurried))][::-1]
    pages = max(1, -(-len(found) // ENTRIES))
    page = min(page, pages)
    return Record(entries=tuple(found[(page - 1) * ENTRIES:page * ENTRIES]), total=len(found), page=page, pages=pages)
