"""Text of unknown origin made harmless."""

from __future__ import annotations

import pytest

from downtime.printable import printable


@pytest.mark.parametrize(("text", "shown"), [
    ("a\tb\nc", "a\tb\nc"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("x\u202ey", "x\\u202ey"),
    ("\x9b", "\\x9b"),
    ("Größe…", "Größe…"),
    ("a\rb", "a\\rb"),
])
def test_what_a_viewer_would_obey_is_shown_as_a_code(text: str, shown: str) -> None:
    """Escape sequences, carriage returns and bidirectional marks; letters of all languages stay."""

    assert printable(text) == shown
