"""The report: each part in Markdown, the goals in one table, and docs/benchmarks.md with its charts."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import charts
from bench.figures import Curve, Section, number, table, verdicts
from demo import pgbouncer
from demo.companions import ROOT
from demo.installations import ServerError, installations

REPORT = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "images"
LIBRARIES = ("buildbot", "Twisted", "psycopg2-binary")

INTRODUCTION = """\
# How long is the outage, beside what others would do?

`make bench` has written this page; it takes about a quarter of an hour, and every figure is of that one run.
Absolute figures are this machine's; ratios, which compare things that ran in turns beside each other, are what carries.
A missed goal stands here as it was measured.
"""


def section(part: Section, *, judged: bool = True) -> str:
    """One part, with its curves as a table and its goals."""
    pieces = [f"## {part.title}", part.text]
    if part.curves:
        pieces.append(_curves(part.curves))
    if part.verdicts:
        pieces.append(_goals(verdicts(part), judged=judged))
    return "\n\n".join(pieces) + "\n"


def goals(sections: Sequence[Section], *, judged: bool = True) -> str:
    """All goals of all parts, those that were missed first; where nothing is judged, figures beside goals alone."""
    rows = [row for part in sections for row in verdicts(part)]
    if not judged:
        return f"## Goals\n\n{_goals(rows, judged=False)}"
    missed = sum(row[-1] != "met" for row in rows)
    return (f"## Goals\n\n{len(rows) - missed} of {len(rows)} met.\n\n"
            f"{_goals(sorted(rows, key=lambda row: row[-1] == 'met'))}")


def write(sections: Sequence[Section], *, seconds: float) -> Iterator[Path]:
    """Keep the report where the documentation is; the files as they are written."""
    pieces = [INTRODUCTION, goals(sections)]
    for part in sections:
        pieces.append(section(part).rstrip())
        for picture, alternative in _draw(part):
            yield picture
            pieces.append(f"![{alternative}](images/{picture.name})")
    pieces.append(f"## Machine, versions, date\n\n{_machine(seconds)}")
    REPORT.write_text("\n\n".join(piece.strip() for piece in pieces) + "\n")
    yield REPORT


def _draw(part: Section) -> Iterator[tuple[Path, str]]:
    name = re.sub(r"[^a-z0-9]+", "-", part.title.lower()).strip("-")
    for place, chart in enumerate(part.charts, 1):
        path = PICTURES / f"benchmark-{name}{f'-{place}' if len(part.charts) > 1 else ''}.svg"
        charts.draw_chart(chart, path)
        yield path, f"{chart.title} by load and contender"
    if part.curves:
        path = PICTURES / f"benchmark-{name}-growth.svg"
        charts.draw_curves(part.curves, path)
        yield path, f"{part.title}: cost by size"


def _curves(curves: Sequence[Curve]) -> str:
    rows = [[f"{curve.title}, {curve.unit}", ", ".join(f"{size:,.0f}: {number(cost)}" for size, cost in curve.points),
             f"{curve.exponent:.2f}", f"{curve.last_exponent:.2f}"] for curve in curves]
    return (table(["cost", "size: cost", "exponent", "of the last two"], rows)
            + "\n\nThe exponent is k of cost ~ size^k: 0 is no growth, 1 is linear.")


def _goals(rows: Sequence[Sequence[str]], *, judged: bool = True) -> str:
    columns = 4 if judged else 3
    return table(["goal", "measured", "limit", "verdict"][:columns], [row[:columns] for row in rows])


def _machine(seconds: float) -> str:
    memory = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) / 1024 ** 2
    facts = [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}, in {seconds / 60:.0f} min"),
        ("processor", f"{os.cpu_count()} cores of {_processor()}"), ("memory", f"{memory:.0f} GiB"),
        ("system", f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"),
        ("PostgreSQL", installations()[0].release), ("PgBouncer", _pgbouncer()),
        *((library, version(library)) for library in LIBRARIES)]
    return table(["", ""], facts)


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def _pgbouncer() -> str:
    try:
        program = pgbouncer.program()
    except ServerError:
        return "not installed"
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
