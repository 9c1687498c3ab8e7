"""Whether what a rehearsal has measured may be applied while clients work. Pure.

Live-safe is a statement that takes nothing stronger than SHARE UPDATE EXCLUSIVE on what was there before, or a
stronger lock for a moment only, and that gives no table new storage: how long that takes grows with the table.
Indexes, sequences and views count like tables; what the patch itself has made keeps nobody waiting. Clients only read
materialized views, so there nothing but ACCESS EXCLUSIVE keeps them waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from downtime.apply import AppliedStatement
from downtime.footprints import Footprint, Lock, LockMode, strongest

# New storage whatever the size: old files are unlinked, none is copied. Its lock is judged like any other.
WITHOUT_COPYING = ("TRUNCATE",)


def obstacle(applied: AppliedStatement, *, moment_seconds: float) -> str:
    """Why a statement, run in a transaction of its own, is not live: a sentence's part that names lock and seconds.

    Empty where it is live. What was not measured is not live either.
    """
    footprint = applied.footprint
    if footprint is None:
        return f"{_named(applied)} was not measured"
    if footprint.rewritten and not (applied.statement.kind in WITHOUT_COPYING and footprint.statements == 1):
        return f"{_named(applied)} gives {_listing(footprint.rewritten)} new storage, {_held(applied, footprint)}"
    if _strongest(footprint) is None or not _holds_all_the_while(applied, footprint):
        return ""
    if applied.seconds <= moment_seconds:
        return ""
    return f"{_named(applied)}, {_held(applied, footprint)}; a moment is {moment_seconds:g} s at the most"


def judge(applied: Sequence[AppliedStatement], *, moment_seconds: float) -> tuple[str, ...]:
    """Why a whole patch, run in one transaction, is not live; empty where it is.

    Careful: a mode that the transaction holds already is not seen again. So behind a lock that blocks clients every
    statement that takes longer than a moment counts as one that may hold it, whatever it is.
    """
    return tuple(_obstacles(applied, moment_seconds))


def makes_wait(lock: Lock) -> bool:
    """Whether clients that read or write have to wait for this lock."""
    if lock.kind == "materialized view":
        return lock.existing and lock.mode is LockMode.ACCESS_EXCLUSIVE
    return lock.existing and lock.mode.blocks_clients


def row_locks(applied: AppliedStatement, *, moment_seconds: float) -> str:
    """That a statement which is live by its table locks keeps many rows locked; else empty.

    Who writes the same rows waits until it ends. No rule forbids that; who decides for the live lane should know.
    """
    footprint = applied.footprint
    if footprint is None or applied.seconds <= moment_seconds:
        return ""
    locked = sum(change.updated + change.deleted for change in footprint.changes)
    return f"{_named(applied)} keeps {locked:,} rows locked for {applied.seconds:.3f} s" if locked else ""


def _obstacles(applied: Sequence[AppliedStatement], moment_seconds: float) -> Iterator[str]:
    held: tuple[Lock, int] | None = None  # the strongest so far, and the line that took it
    for each in _with_their_groups(applied):
        if found := obstacle(each, moment_seconds=moment_seconds):
            yield found
        elif held is not None and each.seconds > moment_seconds:
            lock, line = held
            yield (f"{_named(each)} took {each.seconds:.3f} s while the transaction held {_lock(lock)} since line "
                   f"{line}; whether it needs that lock itself cannot be seen behind it")
        held = _stronger(held, each)


def _with_their_groups(applied: Sequence[AppliedStatement]) -> Iterator[AppliedStatement]:
    """Statements that were measured together as one, the last: whichever took a lock, it is held from there on."""
    seconds = 0.0
    for each in applied:
        seconds += each.seconds
        if each.footprint is None or each.footprint.statements:
            yield replace(each, seconds=seconds)
            seconds = 0.0


def _stronger(held: tuple[Lock, int] | None, applied: AppliedStatement) -> tuple[Lock, int] | None:
    lock = _strongest(applied.footprint) if applied.footprint is not None else None
    if lock is None:
        return held
    if held is not None and held[0].mode.strength >= lock.mode.strength:
        return held
    return lock, applied.statement.line


def _strongest(footprint: Footprint) -> Lock | None:
    """The strongest lock that makes clients wait, if any does."""
    return strongest(lock for lock in footprint.locks if makes_wait(lock))


def _holds_all_the_while(applied: AppliedStatement, footprint: Footprint) -> bool:
    """Statements in transactions of their own take strong locks for their last moment, but for those with a cure."""
    return not footprint.documented or bool(applied.statement.instead)


def _named(applied: AppliedStatement) -> str:
    together = applied.footprint.statements - 1 if applied.footprint is not None else 0
    others = "the statement" if together == 1 else f"the {together:,} statements"
    group = f", with {others} before it" if together > 0 else ""
    return f"line {applied.statement.line}: {applied.statement.kind}{group}"


def _held(applied: AppliedStatement, footprint: Footprint) -> str:
    lock = _strongest(footprint)
    seconds = f"{applied.seconds:.3f} s"
    return f"holding {_lock(lock)} for {seconds}" if lock is not None else f"which took {seconds}"


def _lock(lock: Lock) -> str:
    return f"{lock.mode} on {lock.kind} {lock.relation}"


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
