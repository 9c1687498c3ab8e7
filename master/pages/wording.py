"""How values are written on the pages: filters of the templates. What they return is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from markupsafe import Markup

from downtime.errors import Left
from downtime.history.durations import in_words
from downtime.printable import cut, printable

LEFT: dict[str, str] = {
    Left.UNTOUCHED: "the database was not touched", Left.OPEN: "the database stayed open",
    Left.REOPENED: "rolled back, open again", Left.APPLIED: "the patch is in, open again",
    Left.CLOSED: "left the database closed", Left.UNKNOWN: "not known how it left the database"}

SHORT = 300  # characters of a text of others in a row; the page of the deployment has all of it


def at(instant: datetime) -> Markup:
    """`2026-03-04 08:30`, in UTC; the page says that it is."""
    utc = instant.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M}")


def clock(instant: datetime) -> Markup:
    """`2026-03-04 08:30:05`: where seconds matter."""
    utc = instant.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S}")


def until(seconds: float) -> str:
    """`in 2 h 10 min`, `now`, or how long ago it should have been."""
    if abs(seconds) < 1:
        return "now"
    return f"in {in_words(seconds)}" if seconds > 0 else f"{in_words(-seconds)} ago"


def short(text: str) -> str:
    return cut(printable(text), SHORT)


def inside(url: str) -> str:
    """The part of one of Buildbot's addresses behind its root: links stay where the visitor is.

    Empty for anything else, so that nothing that came from outside becomes a link.
    """
    _, mark, fragment = url.partition("#/")
    return f"#/{fragment}" if mark else ""


def diff_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line of a diff with its CSS class."""
    for line in printable(text).splitlines():
        if line.startswith(("+++", "---", "diff ", "index ", "new file", "deleted file", "@@", "similarity", "rename")):
            yield "meta", line
        else:
            yield {"+": "added", "-": "removed"}.get(line[:1], "same"), line


def left(value: str) -> str:
    """How an attempt left the database, in words that say whether somebody has to look."""
    return LEFT.get(value, printable(value))


def alarming(value: str) -> bool:
    return value in (Left.CLOSED, Left.UNKNOWN)


FILTERS = {"at": at, "clock": clock, "until": until, "short": short, "inside": inside, "in_words": in_words,
           "printable": printable, "diff_lines": diff_lines, "left": left, "alarming": alarming}
