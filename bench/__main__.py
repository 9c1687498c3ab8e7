"""Measures outages beside those of the scripts in `peers/`, and what it costs as the work grows. `make bench`.

    python -m bench                       everything, printed as Markdown (about a quarter of an hour)
    python -m bench outages pooler        these parts alone, with all the time they want
    python -m bench --write               and keeps the report as docs/benchmarks.md, with its charts
    python -m bench --quick               a small form of what has ratios, under two minutes, without a verdict

Exit status 0: measured, whatever came of it (a missed goal is in the report); 1: could not measure; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg2

from bench import evidence, outages, phases, pooler, report, through_buildbot
from bench.contenders import ContestError
from bench.figures import Section
from bench.growth import history, inventory, landing, logs, memory, recovery, sessions
from bench.setup import Setup
from demo.buildmaster import MasterError
from demo.companions import CompanionError
from demo.gitrepo import GitError
from demo.installations import ServerError
from demo.programme import StoryError
from demo.sandbox import SandboxError
from demo.web import WebError
from downtime.errors import DowntimeError

KNOWN = (StoryError, WebError, MasterError, SandboxError, ServerError, GitError, CompanionError, ContestError,
         DowntimeError, psycopg2.Error, sqlite3.Error)

PARTS: Mapping[str, Callable[[Setup], Section]] = {
    "outages": outages.measure, "pooler": pooler.measure, "buildbot": through_buildbot.measure,
    "phases": phases.measure, "evidence": evidence.measure,
    "sessions": sessions.measure, "inventory": inventory.measure, "history": history.measure, "logs": logs.measure,
    "landing": landing.measure, "recovery": recovery.measure, "memory": memory.measure,
}
QUICK = ("outages", "pooler", "buildbot", "phases", "evidence", "sessions")  # what has ratios


class Teller:
    """Progress on standard error, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, text: str) -> None:
        print(f"[{self.seconds:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(names: list[str], *, rounds: int, quick: bool, hurried: bool, write: bool) -> None:
    """Measure part after part and print each as it comes; the goals last. Raises what KNOWN names."""
    tell, sections = Teller(), []
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"fastdowntime-bench-{name}-") as place:
            os.chmod(place, 0o711)  # the servers' user must get through
            tell(name)
            sections.append(PARTS[name](Setup(folder=Path(place), rounds=rounds, quick=quick, hurried=hurried,
                                              tell=tell)))
        print(report.section(sections[-1], judged=not quick), flush=True)
    print(report.goals(sections, judged=not quick))
    print(f"\nMeasured in {tell.seconds:.0f} s.", flush=True)
    if write:
        for path in report.write(sections, seconds=tell.seconds):
            tell(f"written: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, choices=range(2, 101), metavar="ROUNDS", default=5,
                        help="of each contender, 2 to 100: quartiles need two (default: 5)")
    parser.add_argument("--quick", action="store_true",
                        help="a small form of what has ratios, two rounds each, without a verdict")
    parser.add_argument("--write", action="store_true", help="keep the report as docs/benchmarks.md, with its charts")
    return parser


def main() -> int:
    parser = _parser()
    given = parser.parse_args()
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if given.write and (given.parts or given.quick):
        parser.error("--write keeps the whole report: not with --quick, nor with parts of it")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended or interrupted: nothing is left behind
    try:
        run(given.parts or list(QUICK if given.quick else PARTS), rounds=2 if given.quick else given.rounds,
            quick=given.quick, hurried=not given.parts, write=given.write)
    except KNOWN as error:
        print(f"could not measure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
