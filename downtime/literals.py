"""SQL that clients wrote, without what it holds in literals: those may be passwords, and logs are read by many.

Pure. The text may be cut anywhere, so a literal may have no end; then the rest of the text is its contents. Where it
cannot be told whether a quote ends a literal (a backslash before it means one or the other by a setting of the
client's session) the rest counts as its contents too.
"""

from __future__ import annotations

import re

BLANK = "..."

# What a text is made of, as far as it matters which quotes open a literal. Comments are passed over because they
# may hold an apostrophe; that they may be nested does not matter, `_nested_comment` finds their end.
_PIECE = re.compile(r"""
    (?P<plain> (?: [^\W\d][\w$]*+ (?=[^\w"'$/-]) | \d++ | [^\w"'$/-]++ )++ )  # at once: many are read in an outage
  | (?P<line_comment> --[^\n]* )
  | (?P<comment> /\* )
  | (?P<identifier> "(?:[^"]|"")*(?:"|$) )
  | (?P<word> [^\W\d][\w$]* )                                    # a dollar inside a word opens nothing
  | (?P<dollar> \$(?:[^\W\d]\w*)?\$ )
  | (?P<quote> ' )
  | (?P<other> . )
""", re.VERBOSE | re.DOTALL)
_OPENING = re.compile(r"'|\$(?:[^\W\d]\w*)?\$")                     # without one there is no literal

_QUOTED = re.compile(r"(?:[^'\\]|''|\\(?!'))*(?P<end>')?")             # a backslash before a quote: no end is known
_ESCAPED = re.compile(r"(?:[^'\\]|''|\\.)*(?P<end>')?", re.DOTALL)     # E'…'
_COMMENT_MARK = re.compile(r"/\*|\*/")


def without_literals(query: str) -> str:
    """The query with the contents of quoted and dollar-quoted literals blanked: `PASSWORD '...'`."""
    if _OPENING.search(query) is None:
        return query
    shown: list[str] = []
    at = 0
    previous = ""
    while at < len(query):
        piece = _PIECE.match(query, at)
        assert piece is not None, "the last alternative matches everything"
        kind, text, at = piece.lastgroup, piece.group(), piece.end()
        shown.append(text)
        if kind == "comment":
            end = _end_of_comment(query, at)
            shown.append(query[at:end])
            at = end
        elif kind == "dollar":
            found = query.find(text, at)
            shown.append(BLANK + (text if found >= 0 else ""))
            at = found + len(text) if found >= 0 else len(query)
        elif kind == "quote":
            literal = (_ESCAPED if previous in ("e", "E") else _QUOTED).match(query, at)
            ends = literal is not None and literal.group("end") is not None
            shown.append(BLANK + ("'" if ends else ""))
            at = literal.end() if literal is not None and ends else len(query)
        previous = text
    return "".join(shown)


def _end_of_comment(query: str, at: int) -> int:
    """Where a comment ends whose opening lies just before `at`; comments nest."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, at):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(query)
