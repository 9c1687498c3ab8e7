"""Notices with harmless contents, and receivers that do as they are told, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice, page_of

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)


def a_notice(kind: Kind = Kind.CLOSED, *, patch_id: str = "patch-1", **facts: Any) -> Notice:
    return Notice(**{
        "kind": kind, "at": AT, "patch_id": patch_id, "happened": "has closed the database",
        "explained": "No new connections get in.", "page_url": page_of(patch_id, "https://buildbot.example.org/"),
        "request_id": 1, **facts})


class Scripted:
    """A receiver that fails as often as it is told, or hangs."""

    name = "scripted"

    def __init__(self, *failures: Exception | None, hangs: bool = False, kinds: Sequence[Kind] = tuple(Kind)) -> None:
        self.failures = list(failures)
        self.hangs = hangs
        self.kinds = kinds
        self.tried: list[str] = []
        self.taken: list[str] = []
        self.cancelled = 0

    def wants(self, kind: Kind) -> bool:
        return kind in self.kinds

    async def deliver(self, notice: Notice) -> None:
        self.tried.append(notice.patch_id)
        if self.hangs:
            await Deferred(self._cancel)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.taken.append(notice.patch_id)

    def _cancel(self, _: Any) -> None:
        self.cancelled += 1
