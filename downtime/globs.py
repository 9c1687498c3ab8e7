"""Which paths of a repository a glob of the settings means.

`*` and `?` stay within one name, `**` crosses folders: `**/*.py` is every Python file, also at the top;
`docs/**` is everything below `docs`. Upper and lower case differ, as they do in git.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

PIECE = re.compile(r"(?P<folders>(?:(?<=/)|^)\*\*/)|(?P<below>\*\*)|(?P<some>\*)|(?P<one>\?)|(?P<set>\[!?\]?[^\]/]*\])")
MEANING = {"folders": "(?:[^/]+/)*", "below": ".+", "some": "[^/]*", "one": "[^/]"}


def matches(path: str, glob: str) -> bool:
    """Whether the whole path is meant by the glob."""
    return _compiled(glob).fullmatch(path) is not None


def matches_any(path: str, globs: Iterable[str]) -> bool:
    """Whether at least one of the globs means the path."""
    return any(matches(path, glob) for glob in globs)


@lru_cache(maxsize=256)
def _compiled(glob: str) -> re.Pattern[str]:
    expression, end = "", 0
    for piece in PIECE.finditer(glob):
        expression += re.escape(glob[end:piece.start()]) + _meaning(piece)
        end = piece.end()
    return re.compile(expression + re.escape(glob[end:]), re.DOTALL)


def _meaning(piece: re.Match[str]) -> str:
    kind = str(piece.lastgroup)
    if kind != "set":
        return MEANING[kind]
    members = piece["set"][1:-1]
    negated = members.startswith("!")
    escaped = members.removeprefix("!").replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    escaped = escaped.replace("^", r"\^").replace("&", r"\&").replace("~", r"\~").replace("|", r"\|")
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
