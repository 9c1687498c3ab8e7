"""Texts of unknown origin, made fit for one line of a mail and without what may be a password. Pure."""

from __future__ import annotations

import re

from downtime.printable import cut, printable

LONGEST = 500      # characters of a reason; a mail's line may have 998, and a sentence longer than that is not read
LONGEST_ID = 120   # characters of a patch's name: longer ones fill a subject
LOOKED_AT = 4      # times as many characters are looked at: the search for passwords takes the square of them

# user and password of a URL; a value after the word in a connection string, a statement or a mapping
_CREDENTIALS = re.compile(r"//[^/\s]*@|//\S*:\S*@")
_PASSWORD = re.compile(r"""
    (?P<word> \b (?:\w*passw(?:or)?d|passfile|secret) \b ["']? \s?[=:]?\s? )
    (?: (?:[eEuU]&?)? '(?:[^'\\]|''|\\.)*(?:'|$)
      | "(?:[^"\\]|\\.)*(?:"|$)
      | (?<=[=:])\S+ | (?<=[=:]\s)\S+ )""", re.VERBOSE | re.IGNORECASE)


def tidy(text: str, longest: int = LONGEST) -> str:
    """One printable line, cut, with what may be a password blanked."""
    line = printable(" ".join(text[:LOOKED_AT * longest].split()))
    return cut(_PASSWORD.sub(r"\g<word>...", _CREDENTIALS.sub("//", line)), longest)
