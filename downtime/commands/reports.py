"""An outage's report for the command line: as the text an operator reads, and as keys of the JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from downtime import excerpt, phases, probing, sessions
from downtime.apply import AppliedStatement


def outage_text(report: phases.Report) -> str:
    """Timeline, statements and kick report."""
    kicked = (*report.kicked, *report.drained)
    return "\n".join([
        phases.timeline(report.phases), "",
        *statement_lines(report.statements),
        *(report.caught.lines if report.caught is not None else ()),
        f"kicked {len(report.kicked)} sessions, drained {len(report.drained)} idle ones after the outage:",
        *(f"  {line}" for line in sessions.report(kicked).splitlines())])


def outage_facts(report: phases.Report) -> dict[str, Any]:
    """The same for JSON; seconds, and instants with their offset."""
    return {
        "applied": report.applied, "started_at": report.started_at,
        "patch_seconds": report.patch_seconds, "outage_seconds": report.outage_seconds,
        "phases": [{"phase": each.phase, "state": each.state, "seconds": each.seconds, "summary": each.summary,
                    "log": each.log} for each in report.phases],
        "statements": statement_facts(report.statements), "kicked": report.kicked, "drained": report.drained,
        "standbys": None if report.caught is None else {
            "seconds": report.caught.seconds, "behind": report.caught.behind, "lines": report.caught.lines}}


def statement_lines(statements: Sequence[AppliedStatement]) -> list[str]:
    """A line per statement, and its notices below; of very many statements some."""
    lines = []
    for each in excerpt.of(statements):
        if isinstance(each, excerpt.Gap):
            lines.append(str(each))
            continue
        lines.append(f"line {each.statement.line}: {each.statement.kind}: {each.status} in {each.seconds:.3f} s")
        lines += [f"    {notice}" for notice in each.notices]
    return lines


def statement_facts(statements: Sequence[AppliedStatement]) -> list[dict[str, Any]]:
    return [{"line": each.statement.line, "kind": each.statement.kind, "seconds": each.seconds,
             "status": each.status, "notices": each.notices} for each in statements]


def client_line(seen: probing.Report) -> str:
    """What a client saw, in one sentence."""
    errors = ", ".join(f"{count} × {state}" for state, count in sorted(seen.errors.items())) or "none"
    return (f"no new connection for {seen.outage_seconds:.3f} s at the longest (usually {seen.resolution_seconds:.3f} "
            f"s); {seen.persistent_gap_seconds:.3f} s on a connection that is kept; "
            f"{seen.successes} of {seen.attempts} attempts succeeded; errors: {errors}")
