"""One notice: a subject and a text for people, a document for programs. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

from downtime.announcements.kinds import Kind
from downtime.history.durations import in_words
from downtime.lanes import Lane

VERSION = 1  # of the document; raised when a key goes or means something else, not when one is added
LONGEST_IN_SUBJECT = 80  # characters of the reason: a telephone shows no more
PAGES = "plugins/wsgi_dashboards/deployments/"  # below the buildmaster's own address


class Database(StrEnum):
    """Whether clients get into production, as far as the notice tells."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"  # an operator has to look


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is told. All texts are tidy: one printable line each."""

    kind: Kind
    at: datetime                 # of what is told
    patch_id: str
    happened: str                # half a sentence for the subject: "is waiting for an approval"
    explained: str               # complete sentences
    page_url: str
    request_id: int | None = None
    build_url: str = ""
    lane: Lane | None = None
    database: Database | None = None
    begins_at: datetime | None = None        # of the downtime
    minutes: int | None = None               # until then, where it is near
    expected_seconds: float | None = None    # of the patch in production
    patch_seconds: float | None = None
    outage_seconds: float | None = None
    outcome: str = ""                        # a `downtime.history.events.Outcome`, once it has ended
    reason: str = ""
    by: str = ""                             # whoever did what is told
    requested_by: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()            # e-mail addresses as git has them: hostile

    @property
    def id(self) -> str:
        """The same for the same notice, whoever is told and however often it is sent."""
        parts = (self.kind, self.at.isoformat(), self.patch_id, self.request_id, self.minutes)
        return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:32]

    @property
    def subject(self) -> str:
        short = self.reason if len(self.reason) <= LONGEST_IN_SUBJECT else f"{self.reason[:LONGEST_IN_SUBJECT]}…"
        return f"{self.patch_id} {self.happened}{': ' if short else ''}{short}"

    @property
    def text(self) -> str:
        """For people: what, when, how long, who, and where to look."""
        lines = [("When", in_utc(self.at)), ("Downtime", in_utc(self.begins_at) if self.begins_at else ""),
                 ("Expected", _about(self.expected_seconds)), ("Patch took", _seconds(self.patch_seconds)),
                 ("Outage", _seconds(self.outage_seconds)), ("Reason", self.reason), ("By", self.by),
                 ("Asked by", ", ".join(self.requested_by)), ("Approved by", ", ".join(self.approved_by)),
                 ("Page", self.page_url), ("Build", self.build_url)]
        listed = "\n".join(f"{name + ':':<13}{value}" for name, value in lines if value)
        return f"{self.explained}\n\n{listed}\n"


def to_json(notice: Notice) -> dict[str, object]:
    """The notice as programs get it. Instants are ISO 8601 in UTC; what is not known is null."""
    return {
        "version": VERSION, "id": notice.id, "kind": notice.kind.value, "at": _instant(notice.at),
        "patch": notice.patch_id, "request": notice.request_id,
        "lane": notice.lane.value if notice.lane else None,
        "subject": notice.subject, "text": notice.text,
        "database": notice.database.value if notice.database else None,
        "begins_at": _instant(notice.begins_at), "minutes": notice.minutes,
        "expected_seconds": notice.expected_seconds, "patch_seconds": notice.patch_seconds,
        "outage_seconds": notice.outage_seconds, "outcome": notice.outcome or None,
        "reason": notice.reason or None, "by": notice.by or None, "requested_by": list(notice.requested_by),
        "approved_by": list(notice.approved_by), "page_url": notice.page_url, "build_url": notice.build_url or None}


def page_of(patch_id: str, buildmaster_url: str) -> str:
    """The address of the page of one patch; whatever is in its name."""
    return f"{buildmaster_url}{PAGES}deployment?patch={quote(patch_id, safe='', errors='replace')}"


def in_utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _instant(at: datetime | None) -> str | None:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z" if at is not None else None


def _seconds(seconds: float | None) -> str:
    return in_words(seconds) if seconds is not None else ""


def _about(seconds: float | None) -> str:
    return f"about {in_words(seconds)} for the patch" if seconds is not None else ""
