"""Staging beside production."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from downtime import errors, likeness, speed_settings, traits
from downtime.likeness import Likeness, TablePair
from downtime.target import Target
from downtime.traits import Setting, Table, Traits
from tests.builders import a_node
from tests.databases import Database, MakeDatabase
from tests.downtime.ledgers import START, an_entry, written

MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Rules:
    least_size: float = 0.5
    copy_days: int = 30


def a_table(*, megabytes: float = 100, rows: int = 1_000_000, index_megabytes: float = 20, indexes: int = 2) -> Table:
    return Table(rows=rows, table_bytes=int(megabytes * MEGABYTE), index_bytes=int(index_megabytes * MEGABYTE),
                 indexes=indexes)


def some_traits(**given: Any) -> Traits:
    harmless: dict[str, Any] = {
        "read_at": START + timedelta(days=10), "server_version": 150020,
        "settings": {"fsync": Setting(value="on", amount=None)}, "extensions": {"plpgsql": "1.0"},
        "tables": {"public.account": a_table()}, "unread": (),
        "entries": (an_entry("a", day=1), an_entry("b", day=9))}
    return Traits(**{**harmless, **given})


def judged(staging: Traits, production: Traits, *, rules: Rules | None = None,
           tables: tuple[str, ...] = ("public.account",)) -> Likeness:
    return likeness.judge(staging, production, tables, rules=rules or Rules())


def test_a_fresh_copy_on_a_like_server_is_a_fair_judge() -> None:
    """Nothing speaks against it; from when it is, is told."""
    found = judged(some_traits(), some_traits())

    assert found.differences == ()
    assert found.notes == ("Staging was copied from production after 2024-01-10 00:00+00:00 (b), and has all that "
                           "production's ledger has.",)
    assert (found.copied_after, found.copied_before) == (START + timedelta(days=9), None)


@pytest.mark.parametrize(("staging", "production", "counts", "words"), [
    pytest.param(a_table(megabytes=49), a_table(), True,
                 "Table public.account is smaller on staging: 49.0 MB, about 1,000,000 rows on staging, 100.0 MB, "
                 "about 1,000,000 rows on production; rehearsal.least_size is 0.5.", id="fewer bytes"),
    pytest.param(a_table(megabytes=51), a_table(), None, "", id="enough bytes"),
    pytest.param(a_table(rows=499_999), a_table(), True, "is smaller on staging", id="fewer rows, bloated"),
    pytest.param(a_table(rows=-1), a_table(), None, "", id="rows unknown on staging: its bytes are known"),
    pytest.param(a_table(), a_table(rows=-1), False, "on production is not known: it was never analysed",
                 id="rows unknown on production"),
    pytest.param(a_table(indexes=1), a_table(), True, "has 2 indexes on production and 1 on staging", id="indexes"),
    pytest.param(a_table(indexes=3), a_table(), None, "", id="more indexes make staging slower"),
    pytest.param(a_table(), a_table(megabytes=49), False, "is larger on staging", id="staging is larger"),
    pytest.param(a_table(megabytes=0, rows=0, index_megabytes=0, indexes=0),
                 a_table(megabytes=0.5, rows=9000, index_megabytes=0.2), None, "", id="too small to matter"),
    pytest.param(a_table(megabytes=0, rows=0, index_megabytes=0), a_table(), True, "is smaller", id="empty"),
    pytest.param(None, a_table(), True, "Table public.account is on production and not on staging.", id="gone"),
    pytest.param(a_table(), None, True, "is on staging and not on production: it differs in schema", id="new"),
])
def test_a_table_that_is_less_work_on_staging_is_a_difference(staging: Table | None, production: Table | None,
                                                              counts: bool | None, words: str) -> None:
    """More work is told, and where nothing is to be said nothing is."""
    sides = [some_traits(tables={"public.account": each} if each else {}) for each in (staging, production)]
    found = judged(*sides)
    said = {True: found.differences, False: found.notes[1:], None: (*found.differences, *found.notes[1:])}[counts]

    assert len(found.differences) + len(found.notes) == 1 + (counts is not None)
    assert (words in said[0]) if counts is not None else said == ()
    assert found.tables == (TablePair(relation="public.account", staging=staging, production=production),)


def test_a_table_that_an_earlier_patch_has_made_is_not_held_against_staging() -> None:
    """Production has that patch still before it."""
    found = judged(some_traits(entries=(an_entry("a", day=1), an_entry("b", day=9), an_entry("c", day=10))),
                   some_traits(tables={}))

    assert found.differences == ()
    assert "a patch that production has not got yet may have made it" in found.notes[1]


@pytest.mark.parametrize("least_size", [0.0, 1.0])
def test_the_extremes_of_the_rule_mean_what_they_say(least_size: float) -> None:
    """0: any size will do; 1: nothing smaller than production's."""
    empty, almost = a_table(megabytes=0, rows=0), a_table(megabytes=99.9)
    found = judged(some_traits(tables={"public.account": empty if least_size == 0 else almost}), some_traits(),
                   rules=Rules(least_size=least_size))

    assert len(found.differences) == least_size


@pytest.mark.parametrize(("given", "counts", "words"), [
    ({"server_version": 160014}, True, "Staging runs PostgreSQL 16.14, production 15.20."),
    ({"server_version": 150019}, False, "Staging runs PostgreSQL 15.19, production 15.20."),
    ({"settings": {"fsync": Setting(value="off", amount=None)}}, True, "which makes staging the faster one"),
    ({"extensions": {}}, True, "Extension plpgsql 1.0 is on production and not on staging"),
    ({"extensions": {"plpgsql": "1.0", "ltree": "1.2"}}, False, "Extension ltree 1.2 is on staging and not"),
    ({"extensions": {"plpgsql": "1.1"}}, False, "Extension plpgsql is 1.1 on staging and 1.0 on production."),
    ({"unread": ("public.account",), "tables": {}}, True, "could not be read on staging, because they were locked"),
])
def test_server_settings_and_extensions_are_compared(given: dict[str, Any], counts: bool, words: str) -> None:
    """One sentence for each, in the list it belongs to."""
    found = judged(some_traits(**given), some_traits())
    said = found.differences if counts else found.notes[1:]

    assert len(found.differences) == counts
    assert [sentence for sentence in said if words in sentence]


@pytest.mark.parametrize(("days", "counts"), [(4, True), (5, False)])
def test_a_copy_that_is_too_old_for_sure_is_a_difference(days: int, counts: bool) -> None:
    """Between which rows of production's ledger it was made is said in any case."""
    production = some_traits(entries=(an_entry("a", day=1), an_entry("b", day=5.5)))
    found = judged(some_traits(entries=(an_entry("a", day=1),)), production, rules=Rules(copy_days=days))
    (sentence,) = found.differences if counts else found.notes

    assert "copied from production after 2024-01-02 00:00+00:00 (a) and before 2024-01-06 12:00+00:00 (b)" in sentence
    assert ("that is 4 days ago at the least" in sentence) is counts
    assert (found.copied_after, found.copied_before) == (START + timedelta(days=1), START + timedelta(days=5.5))


def test_an_unknown_age_is_told_and_not_held_against_staging() -> None:
    """A staging that was never copied, or without a ledger."""
    found = judged(some_traits(entries=()), some_traits())

    assert (found.differences, found.notes) == (
        (), ("The age of staging's copy is not known: the two ledgers have no row in common.",))


def test_very_many_tables_are_counted() -> None:
    """Evidence is bounded whatever a patch touches."""
    names = tuple(f"public.t{number}" for number in range(150))
    found = judged(some_traits(tables={}), some_traits(tables=dict.fromkeys(names, a_table())), tables=names)

    assert len(found.differences) == likeness.MOST_TOLD + 1
    assert found.differences[-1] == "The like holds for 90 more tables."
    assert (len(found.tables), found.notes[-1]) == (100, "Of 150 tables the first 100 were compared.")


def test_it_travels_as_json() -> None:
    """The evidence is one document."""
    adapter = TypeAdapter(Likeness)
    found = judged(some_traits(tables={}), some_traits(server_version=160014))

    assert adapter.validate_json(adapter.dump_json(found)) == found


# -- on real servers ---------------------------------------------------------------------------------------------------


def fill(database: Database, *, rows: int) -> None:
    database.admin_sql(f"INSERT INTO account (name) SELECT repeat('x', 100) FROM generate_series(1, {rows});"
                       " ANALYZE account")


async def test_two_databases_of_one_server_differ_by_their_tables_alone(each_database: Database,
                                                                        make_database: MakeDatabase) -> None:
    """On every version; what is no table is passed over, and names are read as footprints write them."""
    production = make_database(each_database.server)
    for database in (each_database, production):
        database.admin_sql('CREATE SCHEMA "Odd one"; CREATE TABLE "Odd one"."T" (a int); CREATE VIEW v AS SELECT 1;'
                           ' CREATE TABLE parted (a int) PARTITION BY LIST (a)')
    fill(each_database, rows=1000)
    fill(production, rows=20_000)

    found = await likeness.compare(
        each_database.target, production.target,
        ["public.account", '"Odd one"."T"', "public.v", "public.parted", "public.nothing"], rules=Rules())

    (difference,) = found.differences
    assert difference.startswith("Table public.account is smaller on staging: 0.2 MB, about 1,010 rows on staging, ")
    assert {pair.relation for pair in found.tables} == {"public.account", '"Odd one"."T"', "public.parted"}
    account = found.tables[0].production
    assert account is not None
    assert (account.rows, account.indexes) == (20_010, 1)
    assert account.table_bytes > account.index_bytes > 0


async def test_every_setting_that_matters_is_read(each_database: Database) -> None:
    """On every version all of them, so that none is compared in vain; and the server's clock."""
    seen = await likeness.look_at_staging(each_database.target)

    assert set(seen.settings) == set(speed_settings.WHY)
    assert seen.settings["shared_buffers"] == Setting(value="32MB", amount=4096)
    assert seen.settings["collation"].value == "libc C"
    assert seen.settings["encoding"].value == "UTF8"
    assert abs((datetime.now(UTC) - seen.read_at).total_seconds()) < 60
    assert {"public.account", "public.upload"} == set(seen.tables)


async def test_a_table_that_is_locked_just_now_is_left_unread_and_others_are_read(
        database: Database, make_database: MakeDatabase) -> None:
    """Production is not kept waiting, and neither are we."""
    production = make_database(database.server)
    holder = production.connect("patcher")
    holder.cursor().execute("LOCK TABLE account")
    names = ["public.account", "public.upload"]

    found = await likeness.compare(database.target, production.target, names, rules=Rules())
    holder.rollback()

    assert [pair.relation for pair in found.tables] == ["public.upload"]
    assert found.differences == (
        "Tables that could not be read on production, because they were locked: public.account.",)


async def test_looking_takes_nothing_but_a_reading_lock_and_leaves_none(database: Database) -> None:
    """The session cannot write, and waits for a lock no longer than a moment."""
    node = await a_node(database.target, settings=traits.ON_PRODUCTION)
    try:
        with pytest.raises(errors.StatementFailed, match="read-only transaction"):
            await node.execute("CREATE TABLE nothing (a int)")
        waits = (await node.execute("SHOW lock_timeout")).scalar
    finally:
        node.close()

    assert waits == "100ms"


async def test_staging_is_compared_as_it_was_before_the_patch(database: Database, make_database: MakeDatabase
                                                             ) -> None:
    """A patch that empties or drops a table would else make staging look unlike production."""
    production = make_database(database.server)
    for each in (database, production):
        fill(each, rows=20_000)
    before = await likeness.look_at_staging(database.target)
    database.admin_sql("DROP TABLE account")

    names = ["public.account"]
    fair = await likeness.compare(database.target, production.target, names, rules=Rules(), before=before)
    late = await likeness.compare(database.target, production.target, names, rules=Rules())

    assert fair.differences == ()
    assert late.differences == ("Table public.account is on production and not on staging.",)


async def test_a_copied_ledger_tells_the_age_of_the_copy(database: Database, make_database: MakeDatabase) -> None:
    """To the microsecond, through the real ledger; what came later on production bounds it."""
    staging = make_database(database.server)
    await written(database, "patch-1", seconds=1.0)
    columns = "id, sha256, lane, commit, started_at, finished_at, seconds"
    ((row,),) = database.admin_sql(f"SELECT row_to_json(l)::text FROM (SELECT {columns} FROM fastdowntime.ledger) l")
    staging.admin_sql(f"INSERT INTO fastdowntime.ledger ({columns}) SELECT {columns}"
                      " FROM json_populate_record(NULL::fastdowntime.ledger, %s)", (row,))
    await written(staging, "patch-2", seconds=1.0)
    await written(database, "patch-2", seconds=1.0)

    found = await likeness.compare(staging.target, database.target, [], rules=Rules())

    ((first,), (second,)) = database.admin_sql("SELECT finished_at FROM fastdowntime.ledger ORDER BY id")
    assert (found.copied_after, found.copied_before) == (first, second)
    assert found.differences == ()


async def test_a_server_that_is_not_there_is_no_difference_but_an_error(database: Database) -> None:
    """Nobody may take silence for likeness."""
    with pytest.raises(errors.NodeError):
        await likeness.compare(database.target, Target(dsn="postgresql://patcher@127.0.0.1:1/app"), [], rules=Rules())
