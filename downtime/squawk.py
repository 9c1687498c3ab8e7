"""Ask squawk, the linter, about texts of SQL: one process for all of them, with a deadline, off the reactor.

squawk is a program, not a library. Its exit status says only that it has found something, so its JSON counts. It
looks for a `.squawk.toml` in every folder above and reads variables of its environment: it gets an empty file and an
empty environment, so that the settings alone decide.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool

from downtime import errors
from downtime.printable import cut, printable
from downtime.squawk_rules import Choice

DEADLINE_SECONDS = 20.0  # of one call; 500 patches take 0.5 s, 50,000 statements 1.3 s on a busy machine
LONGEST_TEXT = 300       # characters of a message or an advice; some quote the patch

SYNTAX_ERROR = "syntax-error"  # its own parser's, and then the only rule it reports for the file


class SquawkMissing(errors.DowntimeError):
    """The program is not there, or is none for this machine."""

    happened = "the linter cannot be run: {reason}"
    next_step = "{python} -m pip install -r requirements.txt"


class SquawkFailed(errors.DowntimeError):
    """It ended without an answer, or had none in time."""

    happened = "squawk gave no answer: {reason}"
    next_step = "see whether the squawk of requirements.txt is installed, and run it on the patch by hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One finding in squawk's words, made printable."""

    line: int     # from 1
    rule: str
    message: str
    advice: str   # may be empty


async def ask(texts: Sequence[str], choice: Choice, *, server_version: int | None, in_transaction: bool, reactor: Any,
              deadline_seconds: float = DEADLINE_SECONDS) -> list[list[Remark]]:
    """squawk's remarks on each of the texts, by line. Raises SquawkMissing or SquawkFailed.

    `server_version` as libpq gives it; None: squawk's own default. Who gives up waiting ends the process.
    """
    options = ["--reporter", "json", "--config", _Call.CONFIG, f"--exclude={','.join(sorted(choice.exclude))}"]
    if choice.include:
        options.append(f"--include={','.join(sorted(choice.include))}")
    if server_version is not None:
        options.append(f"--pg-version={server_version // 10_000}.{server_version % 10_000}")
    if in_transaction:
        options.append("--assume-in-transaction")
    call = _Call(texts, options, deadline_seconds)
    try:
        return await deferToThreadPool(reactor, reactor.getThreadPool(), call.run)
    finally:
        call.give_up()


class _Call:
    """One run of the program: `run()` in a thread, `give_up()` from any other."""

    CONFIG = "squawk.toml"

    def __init__(self, texts: Sequence[str], options: Sequence[str], deadline_seconds: float) -> None:
        self._texts = texts
        self._options = options
        self._deadline_seconds = deadline_seconds
        self._given_up = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> list[list[Remark]]:
        with tempfile.TemporaryDirectory(prefix="fastdowntime-lint-") as folder:
            (Path(folder) / self.CONFIG).touch()
            for number, text in enumerate(self._texts):
                (Path(folder) / f"{number}.sql").write_bytes(text.encode())
            output = self._output(folder)
        return _remarks(output, len(self._texts))

    def give_up(self) -> None:
        self._given_up = True
        if self._process is not None:
            self._process.kill()

    def _output(self, folder: str) -> bytes:
        program = Path(sys.executable).with_name("squawk")
        try:
            self._process = subprocess.Popen(
                [program, *self._options, "*.sql"], cwd=folder, env={}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise SquawkMissing(reason=f"{program}: {error.strerror}", python=sys.executable) from error
        with self._process as process:
            if self._given_up:
                process.kill()
            try:
                output, complaint = process.communicate(timeout=self._deadline_seconds)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise SquawkFailed(reason=f"it was not done within {self._deadline_seconds:g} s") from error
        if not output.lstrip().startswith(b"["):
            said = _one_line(complaint.decode("utf-8", "replace"))
            raise SquawkFailed(reason=f"exit status {process.returncode}{f': {said}' if said else ''}")
        return output


def _remarks(output: bytes, count: int) -> list[list[Remark]]:
    """The remarks on each text, without repetitions: squawk reports some things once for each of two parts."""
    found: list[dict[Remark, None]] = [{} for _ in range(count)]
    try:
        for each in json.loads(output):
            found[int(each["file"].removesuffix(".sql"))][_remark(each)] = None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise SquawkFailed(reason=f"its answer is not what squawk 2.70 writes ({type(error).__name__})") from error
    return [sorted(remarks, key=lambda remark: remark.line) for remarks in found]


def _remark(found: Mapping[str, Any]) -> Remark:
    return Remark(line=int(found["line"]) + 1, rule=_one_line(found["rule_name"]), message=_one_line(found["message"]),
                  advice=_one_line(found["help"] or ""))


def _one_line(text: str) -> str:
    return cut(printable(" ".join(text.split())), LONGEST_TEXT)
