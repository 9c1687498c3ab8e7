"""Text of unknown origin made harmless for whoever reads it in a terminal or a log viewer. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every control and formatting character but line ends and tabs as a backslash code.

    A viewer obeys escape sequences, and a bidirectional mark can make SQL read as what it is not.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, longest: int) -> str:
    """The text, or its beginning with a word on how long it was; both counted in characters."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters in all)"


def escaped(text: str) -> str:
    """The text as part of one printable ASCII line: control characters, escapes and quotes as backslash codes."""
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def quoted(text: str) -> str:
    """The same between quotes."""
    return f'"{escaped(text)}"'
