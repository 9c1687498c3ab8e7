"""How values are written on the pages: filters of the templates. What they return is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from markupsafe import Markup

from downtime.history.durations import in_words
from downtime.printable import cut, printable

SHORT = 300  # characters of a text of others in a row; the page of the deployment has all of it


def at(instant: datetime) -> Markup:
    """`2026-03-04 08:30`, in UTC; the page says that it is."""
    utc = instant.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M}")


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


FILTERS = {"at": at, "until": until, "short": short, "inside": inside, "in_words": in_words, "printable": printable,
           "diff_lines": diff_lines}
