"""What a command says: progress to standard error, its answer to standard output, as text or as one JSON object.

A reader that has gone away (`| head`, a closed terminal) never ends a deployment: what cannot be written is dropped.
What comes from SQL, git or clients cannot steer a terminal: control characters appear as backslash codes.
"""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TextIO

from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogBeginner

from downtime.errors import DowntimeError
from downtime.printable import printable


class Output:
    """Where one command writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._facts: dict[str, Any] = {}
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # not one that a test has put there
                stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to fail

    def progress(self, line: str) -> None:
        """Something for whoever is watching."""
        _write(sys.stderr, printable(line))

    def answer(self, text: str, **facts: object) -> None:
        """A part of the answer: its text, or its keys of the JSON object, which is written at the end."""
        self._facts |= facts
        if not self.as_json:
            _write(sys.stdout, printable(text))

    def end(self, error: DowntimeError | None = None) -> None:
        """Explain what went wrong, if anything did, and write the JSON object if one is wanted."""
        if error is not None:
            self.progress(error.explain())
            self._facts["error"] = {"kind": type(error).__name__, "message": str(error), "left": error.left,
                                    "next": error.advice, "exit_status": error.exit_status}
        if self.as_json:
            _write(sys.stdout, json.dumps(self._facts, default=_plain, indent=2))

    def show_warnings_of_the_log(self) -> None:
        """What the machinery logs as a warning or worse is progress too."""
        def note(event: LogEvent) -> None:
            if event["log_level"] >= LogLevel.warn:
                self.progress(eventAsText(event, includeTimestamp=False, includeSystem=False))

        observer: Any = note  # zope's interfaces say nothing to type checkers
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as what is in them."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return  # it was closed before we were started
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Send what is still to come, and what Python flushes at its end, nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return  # it has no descriptor any more: nothing will be flushed


def _plain(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
