"""What the small programs beside this module have in common: how they run others, and how they end."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from downtime.printable import cut, printable

LONGEST_ANSWER = 2000  # characters of what a program has printed that failed
HOW = ("utf-8", "surrogateescape")  # what is no UTF-8 comes out as it has gone in, and so do line ends


class NotDone(Exception):
    """It was not done, or it is not quiet: why, in a sentence."""


def run(program: str, arguments: Sequence[str], *, given: str | None = None,
        environ: Mapping[str, str] | None = None) -> str:
    """What a program prints; `program` is how a shell would call it, without `arguments`. Raises NotDone."""
    words = [*shlex.split(program), *arguments]
    try:
        finished = subprocess.run(words, input=(given or "").encode(*HOW), env=environ, capture_output=True,
                                  check=False)
    except OSError as error:
        raise NotDone(f"{words[0]}: {error.strerror}") from None
    if finished.returncode:
        said = cut(printable((finished.stderr or finished.stdout).decode(*HOW).strip()), LONGEST_ANSWER)
        raise NotDone(f"{shlex.join(words)} ended with status {finished.returncode}: {said}")
    return finished.stdout.decode(*HOW)


def end(work: Callable[[], str]) -> None:
    """Do the work of a program, print what it says, and end with the exit status that belongs to it."""
    try:
        print(printable(work()))
    except NotDone as why:
        print(printable(str(why)), file=sys.stderr)
        sys.exit(1)
