"""Is staging a fair judge of this patch? Staging beside production: server, settings, extensions, tables, age.

What makes staging faster than production, or what cannot be judged at all, is a difference: it speaks against the
figures of a rehearsal. What makes it slower is told and not held against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from downtime import copy_age, speed_settings, traits
from downtime.copy_age import CopyAge
from downtime.target import Target
from downtime.traits import Table, Traits

SMALL_BYTES = 1 << 20  # on production, with indexes: what a statement does to so little takes a moment on any copy
MOST_TOLD = 10         # tables with a sentence of their own; the rest are counted


class Rules(Protocol):
    """What the settings allow, section `rehearsal`."""

    @property
    def least_size(self) -> float: ...

    @property
    def copy_days(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePair:
    """A table that the patch touches, on both sides; None: it is not there."""

    relation: str
    staging: Table | None
    production: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like production staging is. Sentences are complete; where `differences` is empty it is a fair judge."""

    differences: tuple[str, ...]     # speak against the figures of staging
    notes: tuple[str, ...]           # worth knowing, and not held against it
    tables: tuple[TablePair, ...]    # that were compared, largest on production first
    copied_after: datetime | None    # when staging was made from production, as far as the ledgers show it;
    copied_before: datetime | None   # None: no bound is known


async def look_at_staging(staging: Target, *, reactor: Any = None) -> Traits:
    """Staging before the patch is run there: afterwards its tables are another size, or gone. Raises NodeError."""
    return await traits.observe(staging, None, tuple(speed_settings.WHY), reactor=reactor)


async def compare(staging: Target, production: Target, tables: Sequence[str], *, rules: Rules,
                  before: Traits | None = None, reactor: Any = None) -> Likeness:
    """Compare the two for a patch that touches these tables, named as footprints name them.

    `before` is what `look_at_staging` saw; without it staging is looked at now. Costs production some reads of
    catalogs. Raises NodeError.
    """
    names, settings = tuple(dict.fromkeys(tables)), tuple(speed_settings.WHY)
    there = before or await traits.observe(staging, names, settings, reactor=reactor)
    here = await traits.observe(production, names, settings, reactor=reactor)
    return judge(there, here, names, rules=rules)


def judge(staging: Traits, production: Traits, tables: Sequence[str], *, rules: Rules) -> Likeness:
    """The same over values."""
    age = copy_age.of(staging.entries, production.entries)
    pairs = _pairs(staging, production, tables[:traits.MOST_TABLES])
    waiting = {entry.id for entry in staging.entries} - {entry.id for entry in production.entries}
    found = [*_of_copy(age, production.read_at, rules.copy_days),
             *_of_tables(pairs, rules.least_size, some_are_waiting=bool(waiting)),
             *_of_reading(staging, production, tables),
             *_of_version(staging.server_version, production.server_version),
             *speed_settings.compare(staging.settings, production.settings),
             *_of_extensions(staging, production)]
    return Likeness(
        differences=tuple(sentence for counts, sentence in found if counts),
        notes=tuple(sentence for counts, sentence in found if not counts), tables=pairs,
        copied_after=age.after.finished_at if age.after else None,
        copied_before=age.before.finished_at if age.before else None)


# What follows yields pairs: whether it counts against staging, and the sentence.
_Found = Iterator[tuple[bool, str]]


def _of_copy(age: CopyAge, now: datetime, days: int) -> _Found:
    if age.after is None:
        yield False, "The age of staging's copy is not known: the two ledgers have no row in common."
        return
    made = f"Staging was copied from production after {_instant(age.after.finished_at)} ({age.after.id})"
    if age.before is None:
        yield False, f"{made}, and has all that production's ledger has."
        return
    made += f" and before {_instant(age.before.finished_at)} ({age.before.id})"
    if age.certainly_older_than(days, now):
        yield True, (f"{made}: that is {(now - age.before.finished_at).days} days ago at the least, and "
                     f"rehearsal.copy_days is {days}.")
    else:
        yield False, f"{made}."


def _of_tables(pairs: Sequence[TablePair], least_size: float, *, some_are_waiting: bool) -> _Found:
    found = [each for pair in pairs if (each := _of_table(pair, least_size, some_are_waiting)) is not None]
    for counts in (True, False):
        sentences = [sentence for same, sentence in found if same is counts]
        yield from ((counts, sentence) for sentence in sentences[:MOST_TOLD])
        if len(sentences) > MOST_TOLD:
            yield counts, f"The like holds for {len(sentences) - MOST_TOLD} more tables."


def _of_table(pair: TablePair, least_size: float, some_are_waiting: bool) -> tuple[bool, str] | None:
    """What is to be said of one table, the worst first."""
    name, there, here = pair.relation, pair.staging, pair.production
    if here is None:
        why = "a patch that production has not got yet may have made it" if some_are_waiting else "it differs in schema"
        return not some_are_waiting, f"Table {name} is on staging and not on production: {why}."
    if there is None:
        return True, f"Table {name} is on production and not on staging."
    sizes = f"{_size(there)} on staging, {_size(here)} on production"
    large = here.table_bytes + here.index_bytes >= SMALL_BYTES
    if large and least_size > 0 and _part(there, here) < least_size:
        return True, f"Table {name} is smaller on staging: {sizes}; rehearsal.least_size is {least_size:g}."
    if large and there.indexes < here.indexes:
        return True, (f"Table {name} has {here.indexes} indexes on production and {there.indexes} on staging, where "
                      "writing to it is cheaper.")
    if large and here.rows < 0:
        return False, f"How many rows table {name} has on production is not known: it was never analysed."
    if there.table_bytes + there.index_bytes >= SMALL_BYTES and _part(here, there) < (least_size or 0.5):
        return False, f"Table {name} is larger on staging: {sizes}."
    return None


def _part(one: Table, other: Table) -> float:
    """How large one table is beside the other: the smaller ratio of bytes and, where both are known, rows."""
    ratios = [one.table_bytes / other.table_bytes] if other.table_bytes else []
    if one.rows >= 0 and other.rows > 0:
        ratios.append(one.rows / other.rows)
    return min(ratios, default=1.0)


def _of_reading(staging: Traits, production: Traits, tables: Sequence[str]) -> _Found:
    for label, seen in (("staging", staging), ("production", production)):
        if unread := [name for name in seen.unread if name in tables]:
            named = ", ".join(unread[:MOST_TOLD]) + (" …" if len(unread) > MOST_TOLD else "")
            yield True, f"Tables that could not be read on {label}, because they were locked: {named}."
    if len(tables) > traits.MOST_TABLES:
        yield False, f"Of {len(tables)} tables the first {traits.MOST_TABLES} were compared."


def _of_version(staging: int, production: int) -> _Found:
    if staging != production:
        major = staging // 10000 != production // 10000
        yield major, f"Staging runs PostgreSQL {_version(staging)}, production {_version(production)}."


def _of_extensions(staging: Traits, production: Traits) -> _Found:
    for name in sorted(production.extensions.keys() | staging.extensions.keys()):
        there, here = staging.extensions.get(name), production.extensions.get(name)
        if there is None:
            yield True, f"Extension {name} {here} is on production and not on staging, where its work is not done."
        elif here is None:
            yield False, f"Extension {name} {there} is on staging and not on production."
        elif there != here:
            yield False, f"Extension {name} is {there} on staging and {here} on production."


def _pairs(staging: Traits, production: Traits, tables: Sequence[str]) -> tuple[TablePair, ...]:
    """Without what is not there on either side (a view, a sequence) and what was locked on one."""
    unread = {*staging.unread, *production.unread}
    found = [TablePair(relation=name, staging=staging.tables.get(name), production=production.tables.get(name))
             for name in tables if name not in unread and (name in staging.tables or name in production.tables)]
    return tuple(sorted(found, key=lambda pair: -(pair.production.table_bytes if pair.production else 0)))


def _size(table: Table) -> str:
    rows = f"about {table.rows:,} rows" if table.rows >= 0 else "rows not counted"
    return f"{table.table_bytes / (1 << 20):,.1f} MB, {rows}"


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"


def _instant(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="minutes")
