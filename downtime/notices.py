"""The NOTICEs of one session, bounded: a patch may raise a million. Pure."""

from __future__ import annotations

from downtime.printable import cut

KEPT_NOTICES = 1000    # the first ones explain, the number tells the rest
LONGEST_NOTICE = 1000  # characters; the rest of one explains nothing more


class Notices:
    """What psycopg2 appends a session's NOTICEs to: keeps the first ones and counts the rest."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.dropped = 0

    def append(self, line: str) -> None:
        if len(self.lines) < KEPT_NOTICES:
            self.lines.append(cut(line.rstrip("\n"), LONGEST_NOTICE))
        else:
            self.dropped += 1

    def take(self) -> list[str]:
        """The lines since the last call, with one that counts those left out."""
        lines, self.lines = self.lines, []
        if self.dropped:
            lines.append(f"… and {self.dropped} more")
        self.dropped = 0
        return lines
