"""Evidence as text for people: what each statement cost and did, the verdict, the lane, and what else to know. Pure.

Reads in a terminal and in a log viewer: at most 110 columns, but for names and sentences of the patch's own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from textwrap import wrap
from typing import TypeVar

from downtime.evidence import Evidence, StatementEvidence
from downtime.footprints import Change, Lock, Scan, TableSize
from downtime.lane_safety import makes_wait
from downtime.printable import printable

T = TypeVar("T")

COLUMNS = 110
HEAD = f"{'line':>7} {'seconds':>9} {'share':>6} {'WAL':>9} {'rows':>13}  statement"
INDENT = " " * 12  # below the figures; the mark of a lock stands two columns before it
MOST_LINES = 8        # of locks, scans, changes, sizes of one statement, each; the document has some more
COSTLIEST = 3         # statements named
CLEARLY_FEWER = 0.9   # of the rows that a table is thought to have: more may be an old estimate
COSTLY_SHARE = 0.1    # of the whole; what costs less than that is not named beside one that costs more
UNITS = ("B", "kB", "MB", "GB", "TB")

LEGEND = ("  ! a lock that makes clients wait   + the patch itself made what is locked   "
          "rows: as the server counts them")


def text(evidence: Evidence) -> str:
    """All that an approver should read, the most important first."""
    parts = ["\n".join(_wrapped(evidence.sentence)), statements(evidence), _costs(evidence), _lane(evidence),
             _runs(evidence), _where(evidence), _lint(evidence), _staging(evidence),
             _list("Besides:", evidence.remarks)]
    return "\n\n".join(part for part in parts if part)


def statements(evidence: Evidence) -> str:
    """A line per statement, and what it did below it."""
    lines = [HEAD]
    for each in evidence.statements:
        lines += [_line(each, evidence.seconds), *_did(each)]
    if evidence.left_out:
        lines.append(f"{'':>7} {evidence.left_out_seconds:>9.3f} {'':>6} {'':>9} {'':>13}  "
                     f"{evidence.left_out:,} faster statements, not shown")
    if not evidence.statements:
        lines.append(f"{'':>7} what each statement took is not known")
    lines.append(f"{'total':>7} {evidence.seconds:>9.3f} {'':>6} {'':>9} {'':>13}  {evidence.verdict}")
    if any(each.footprint is not None and each.footprint.locks for each in evidence.statements):
        lines.append(LEGEND)
    return "\n".join(lines)


def size(count: int) -> str:
    """A number of bytes as people read it: `12 MB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {UNITS[unit]}" if unit == 0 or amount >= 10 else f"{amount:.1f} {UNITS[unit]}"


def _line(each: StatementEvidence, total: float) -> str:
    share = f"{100 * each.seconds / total:.0f} %" if total else ""
    wal = size(each.footprint.wal_bytes) if each.footprint is not None and each.footprint.statements else ""
    rows = f"{each.rows:,}" if each.rows is not None else ""
    return f"{each.line:>7} {each.seconds:>9.3f} {share:>6} {wal:>9} {rows:>13}  {each.kind}"


def _did(each: StatementEvidence) -> Iterator[str]:
    footprint = each.footprint
    if footprint is None:
        return
    if footprint.statements != 1:
        yield f"{INDENT}{_group(footprint.statements)}"
    existing = sorted((lock for lock in footprint.locks if lock.existing), key=lambda lock: -lock.mode.strength)
    yield from _some(existing, _lock, marked=2)
    yield from _some([lock for lock in footprint.locks if not lock.existing], _lock, marked=2)
    if footprint.documented and footprint.locks:
        yield f"{INDENT}(as PostgreSQL documents them: it ran in transactions of its own)"
    yield from _some(footprint.rewritten, lambda name: f"writes {name} anew")
    yield from _some(footprint.rebuilt, lambda name: f"builds index {name} anew")
    rows = {one.relation: one.rows for one in footprint.sizes}
    yield from _some([scan for scan in footprint.scans if scan.rows],
                     lambda scan: _scan(scan, of=rows.get(scan.relation, 0)))
    yield from _some([change for change in footprint.changes if _changed(change)], _changed)
    yield from _some([one for one in footprint.sizes if one.table_bytes], _size)
    if each.left_out:
        yield f"{INDENT}… and {each.left_out:,} lesser locks, scans, changes and sizes, which the document lacks too"


def _some(parts: Sequence[T], said: Callable[[T], str], *, marked: int = 0) -> Iterator[str]:
    """A line for each of the first ones, and one that counts the rest; `marked` columns further left."""
    indent = INDENT[marked:]
    yield from (f"{indent}{_in_one_line(said(part))}" for part in parts[:MOST_LINES])
    if (more := len(parts) - MOST_LINES) > 0:
        yield f"{INDENT}… and {more:,} more like these"


def _in_one_line(said: str) -> str:
    """A relation's name may have a line end in it, behind which it could pass for another line of the table."""
    return printable(said).replace("\n", "\\n").replace("\t", "\\t")


def _group(count: int) -> str:
    return f"(measured together with the {count - 1:,} before it)" if count else "(measured with a later one)"


def _lock(lock: Lock) -> str:
    mark = "!" if makes_wait(lock) else " " if lock.existing else "+"
    table = f" of {lock.table}" if lock.table else ""
    return f"{mark} {lock.mode} on {lock.kind} {lock.relation}{table}"


def _scan(scan: Scan, *, of: int) -> str:
    fewer = scan.whole and scan.rows < CLEARLY_FEWER * of
    return (f"reads {'all' if scan.whole else 'a part'} of {scan.relation} ({scan.rows:,} rows"
            f"{', without those that parallel workers have read' if fewer else ''})")


def _changed(change: Change) -> str:
    """The rows that were written into a table; empty where there were none."""
    counts = ((change.inserted, "inserted"), (change.updated, "updated"), (change.deleted, "deleted"))
    said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    return f"rows of {change.relation}: {said}" if said else ""


def _size(one: TableSize) -> str:
    rows = f"about {one.rows:,} rows" if one.rows >= 0 else "never analysed"
    return f"{one.relation} has {size(one.table_bytes)}, its indexes {size(one.index_bytes)}, {rows}"


def _costs(evidence: Evidence) -> str:
    """The statements that cost most, each with the usual remedy where one is known."""
    slowest = heapq.nlargest(COSTLIEST, evidence.statements, key=lambda each: each.seconds)
    named = [each for place, each in enumerate(slowest)
             if place == 0 or each.seconds >= COSTLY_SHARE * evidence.seconds]
    return _list("What costs most:", (_cost(each, evidence.seconds) for each in named))


def _cost(each: StatementEvidence, total: float) -> str:
    share = f", {100 * each.seconds / total:.0f} % of the whole" if total else ""
    advice = f"; {each.remedy}" if each.remedy else ""
    return f"line {each.line}, {each.kind}: {each.seconds:.3f} s{share}{advice}."


def _lane(evidence: Evidence) -> str:
    return "\n".join([*_wrapped(f"Lane: {evidence.lane_advice}"), *_items(evidence.lane_obstacles)])


def _runs(evidence: Evidence) -> str:
    if not evidence.measured:
        return ""
    head = "It was run once:" if len(evidence.runs) == 1 else "Its runs, the slowest of which counts:"
    learnt = _wrapped(_learnt(evidence)) if evidence.environment else ()  # any other database has no production
    return "\n".join([*_list(head, _each_run(evidence)).splitlines(), *learnt])


def _learnt(evidence: Evidence) -> str:
    if evidence.factor_patches:
        patches = "1 patch" if evidence.factor_patches == 1 else f"{evidence.factor_patches} patches"
        return (f"Production has needed {evidence.factor:.2f} times as long as staging (median of {patches}, not "
                f"below 1): {evidence.expected_seconds:.3f} s are expected there.")
    return ("How long production needs beside staging is not known yet: no cold patch of 50 ms or more has been through"
            " both.")


def _each_run(evidence: Evidence) -> Iterator[str]:
    for number, run in enumerate(evidence.runs, start=1):
        name = f"run {number}: " if len(evidence.runs) > 1 else ""
        outage = f", outage {run.outage_seconds:.3f} s" if run.outage_seconds else ""
        phases = ", ".join(f"{each.phase} {each.seconds * 1000:.1f} ms" for each in run.phases)
        caches = "; its caches were perhaps cold" if run.cold else ""
        yield (f"{name}patch {run.seconds:.3f} s{outage}{f' ({phases})' if phases else ''}"
               f"{'' if run.kept else '; rolled back'}{caches}")


def _where(evidence: Evidence) -> str:
    """Which server has judged which commit, and when."""
    major, minor = divmod(evidence.server_version, 10_000)
    version = f", PostgreSQL {major}.{minor}" if evidence.server_version else ""
    commit = f", commit {evidence.commit[:12]}" if evidence.commit else ""
    at = evidence.rehearsed_at.astimezone(UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    return "\n".join(_wrapped(f"Rehearsed on {evidence.server}{version}, {at}{commit}."))


def _lint(evidence: Evidence) -> str:
    found = [finding for finding in evidence.findings if not finding.waived]
    waived = [finding for finding in evidence.findings if finding.waived]
    where = evidence.path
    return "\n".join(part for part in (
        _list("The linter's findings:", (
            f"{where}:{each.line}: {each.rule}{' (refuses the patch)' if each.refuses else ''}: {each.said}"
            for each in found)),
        _list("Waived in the patch:", (
            f"{where}:{each.line}: {each.rule}: {each.message} Waived: {each.waived}" for each in waived))) if part)


def _staging(evidence: Evidence) -> str:
    likeness = evidence.likeness
    if likeness is None:
        return ""
    fair = "\n".join(_wrapped("Staging is a fair judge of this patch: nothing was found that makes it faster than "
                              "production, as far as the tables that the patch touches go."))
    return "\n".join(part for part in (
        _list("Staging is no fair judge of this patch:", likeness.differences) or fair,
        _list("Of staging there is to know:", likeness.notes)) if part)


def _list(head: str, items: Iterable[str]) -> str:
    lines = _items(items)
    return "\n".join([head, *lines]) if lines else ""


def _items(items: Iterable[str]) -> list[str]:
    return [line for item in items for line in _wrapped(item, first="  - ", later="    ")]


def _wrapped(sentence: str, *, first: str = "", later: str = "  ") -> Sequence[str]:
    whole = sentence.replace("-- ", "--\0")  # a lane line stays in one piece
    lines = wrap(whole, COLUMNS, initial_indent=first, subsequent_indent=later, break_long_words=False,
                 break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
