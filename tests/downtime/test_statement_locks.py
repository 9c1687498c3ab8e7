"""Do the locks and rewrites that are measured agree with PostgreSQL's documentation?

At the end one table over all forms and versions is printed; to see it:
`python -m pytest tests/downtime/test_statement_locks.py -n 0 -s`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing

import psycopg2
import pytest

from demo.servers import Server
from downtime import ledger
from downtime.apply import AppliedStatement, Deployment, run_statement
from downtime.footprints import Footprint, LockMode
from downtime.measuring import Measuring
from downtime.node import Node
from downtime.patches import Lane
from downtime.statements import split
from tests import databases
from tests.builders import a_deployment, a_node, a_patch
from tests.databases import Database
from tests.downtime.statement_forms import FORMS, TABLES, Form

Seen = dict[str, dict[int, AppliedStatement]]
INDEXES = {form.sql: form.locks for form in FORMS}  # indexes are told where they are the point
SECONDS = 300.0  # for all forms on one version: 25 s on a quiet machine


@pytest.fixture(scope="module")
def big_database(each_server: Server) -> Iterator[Database]:
    """With a million rows, made once per version, and a tablespace to move to."""
    database = databases.create(each_server, gate=None)
    try:
        options = "-c allow_in_place_tablespaces=on"
        with closing(psycopg2.connect(each_server.superuser_dsn(), options=options)) as connection:
            connection.autocommit = True
            connection.cursor().execute("CREATE TABLESPACE elsewhere LOCATION ''")
        each_server.admin_sql("GRANT CREATE ON TABLESPACE elsewhere TO patcher")
        database.admin_sql(TABLES)
        yield database
    finally:
        databases.drop(database)
        each_server.admin_sql("DROP TABLESPACE elsewhere")


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """What was measured, by form and version; told when the last version is done."""
    found: Seen = defaultdict(dict)
    yield found
    print(f"\n{table(found)}")


@pytest.mark.deadline(seconds=SECONDS)
async def test_every_form_is_measured_as_it_is_documented(big_database: Database, seen: Seen) -> None:
    """Locks, rewrites, scans and rows of all of them, on a table of a million rows."""
    version = big_database.server.installation.version
    differing = []
    observer = await a_node(big_database.target)
    patcher = await a_node(big_database.target, statement_timeout_seconds=SECONDS)
    measuring = Measuring(patcher, observer)
    try:
        for form in (each for each in FORMS if each.since <= version <= each.until):
            applied = await (alone if form.alone else in_transaction)(form, patcher, measuring)
            seen[form.sql][version] = applied
            assert applied.footprint is not None
            differing += [f"{form.sql}\n    {what}: documented {documented}, measured {measured}"
                          for what, documented, measured in compared(form, applied.footprint) if documented != measured]
    finally:
        patcher.close()
        observer.close()

    assert not differing, "\n".join(differing)


def test_there_are_forms_enough() -> None:
    """At least forty, whatever was left out for a version."""
    assert len({form.sql for form in FORMS if form.since <= 15}) >= 40


async def in_transaction(form: Form, patcher: Node, measuring: Measuring) -> AppliedStatement:
    deployment = a_deployment(sql=form.sql)
    await patcher.execute("BEGIN")
    try:
        await measuring.begin()
        return await measuring.after(await run_statement(patcher, deployment, deployment.statements[0], room=0))
    finally:
        await patcher.execute("ROLLBACK")


async def alone(form: Form, patcher: Node, measuring: Measuring) -> AppliedStatement:
    patch = a_patch(sql=form.sql, lane=Lane.LIVE)
    (statement,) = statements = split(form.sql)
    deployment = Deployment(patch=patch, statements=statements, origin=ledger.Origin())
    await measuring.begin_alone(statement)
    applied = await measuring.after_alone(await run_statement(patcher, deployment, statement, room=0))
    if form.afterwards:
        await patcher.execute(form.afterwards)
    return applied


def compared(form: Form, footprint: Footprint) -> Iterator[tuple[str, object, object]]:
    """What is documented beside what was measured."""
    locks = strongest_by_relation(footprint, with_indexes=form.locks)
    yield "locks", {f"public.{name}": mode for name, mode in form.locks.items()}, locks
    yield "rewritten", qualified(form.rewritten), footprint.rewritten
    yield "rebuilt", qualified(form.rebuilt), tuple(name for name in footprint.rebuilt
                                                    if name in qualified(form.rebuilt) or not form.rewritten)
    if not form.alone:
        yield "scanned", set(qualified(form.scanned)), {
            scan.relation for scan in footprint.scans if scan.whole and scan.rows}
        yield "rows changed", form.changed, footprint.rows_changed


def strongest_by_relation(footprint: Footprint, with_indexes: Iterable[str]) -> dict[str, LockMode]:
    """Of what was there before; of indexes only those that are the point."""
    wanted = qualified(with_indexes)
    found: dict[str, LockMode] = {}
    for lock in footprint.locks:
        if lock.existing and (not lock.kind.endswith("index") or lock.relation in wanted):
            found[lock.relation] = max(lock.mode, found.get(lock.relation, lock.mode), key=lambda mode: mode.strength)
    return found


def qualified(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"public.{name}" for name in names)


def table(seen: Seen) -> str:
    """All forms, a line each; where versions differ a line for each that does."""
    versions = sorted({version for by_version in seen.values() for version in by_version})
    lines = [f"{'statement':<72}  {'locks on what was there before':<58}  {'new storage':<12}  PostgreSQL"]
    for sql, by_version in seen.items():
        told: dict[tuple[str, str], list[int]] = defaultdict(list)
        for version in versions:
            if version in by_version:
                told[cells(by_version[version])].append(version)
        lines += [f"{sql[:72]:<72}  {locks:<58}  {rewritten:<12}  {', '.join(map(str, those))}"
                  for (locks, rewritten), those in told.items()]
    count = sum(len(by_version) for by_version in seen.values())
    return "\n".join([*lines, f"{len(seen)} forms, {count} measurements on PostgreSQL {', '.join(map(str, versions))}"])


def cells(applied: AppliedStatement) -> tuple[str, str]:
    footprint = applied.footprint
    assert footprint is not None
    tables = strongest_by_relation(footprint, with_indexes=INDEXES.get(applied.statement.text, ()))
    names = [f"{mode} {name.removeprefix('public.')}" for name, mode in sorted(tables.items())]
    documented = " (documented)" if footprint.documented else ""
    return (f"{', '.join(names) or '–'}{documented}",
            ", ".join(name.removeprefix("public.") for name in footprint.rewritten) or "–")
