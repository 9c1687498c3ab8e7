"""A long past for a buildmaster: copies of one deployment that it has really made, row by row and event by event.

Buildbot's tables and our journal are filled alike, so that what reads them finds what so many deployments leave. Each
copy has its own patch, numbers and instants, `BETWEEN_SECONDS` after the one before it. The master must not run.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from buildbot.db.model import Model

from steps.shared.names import ServiceName

BETWEEN_SECONDS = 6 * 3600

# each behind those that it points to; what points to one of them is copied with it
WITH_NUMBERS = {"sourcestamps": "id", "changes": "changeid", "buildsets": "id", "buildrequests": "id", "builds": "id",
                "steps": "id", "logs": "id", "buildset_sourcestamps": "id", "build_data": "id"}
WITHOUT = ("change_files", "change_properties", "change_users", "buildset_properties", "buildrequest_claims",
           "build_properties", "logchunks")
WORDS = {"value", "property_value", "state_string", "comments", "filename"}  # where the patch may be named

Largest = Mapping[str, int]


def largest(state: Path) -> Largest:
    """The largest number in each table: what exists up to here is what `multiply` copies."""
    with closing(sqlite3.connect(state)) as database:
        return {table: _one(database, f"SELECT coalesce(max({number}), 0) FROM {table}")
                for table, number in WITH_NUMBERS.items()}


def multiply(state: Path, model: str, upto: Largest, count: int) -> None:
    """Let there be `count` deployments, where there was one, of the patch `model`. What is newer stays the newest."""
    now = largest(state)
    with closing(sqlite3.connect(state)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TEMP TABLE copies AS WITH RECURSIVE numbers(k) AS (SELECT 1 UNION ALL "
                         "SELECT k + 1 FROM numbers WHERE k < ?) SELECT k FROM numbers WHERE k < ?", (count, count))
        for table in (*WITH_NUMBERS, *WITHOUT):
            _copy(database, table, model, upto, now, count)
        _copy_events(database, model, upto, now, count)
        _copy_evidence(database, model)


def name_of(model: str, number: int) -> str:
    """The patch of a copy; its number is in the middle of the name."""
    head, _, tail = model.partition("-00000-")
    return f"{head}-{number:05}-{tail}"


def _copy(database: sqlite3.Connection, table: str, model: str, upto: Largest, now: Largest, count: int) -> None:
    columns = Model.metadata.tables[table].columns
    numbers = {column.name: target for column in columns if (target := _numbered_by(table, column)) is not None}
    head, _, tail = model.partition("-00000-")
    named = f"'{head}-' || printf('%05d', k) || '-{tail}'"

    def made(name: str) -> str:
        if name in numbers:
            return f"{name} + {now[numbers[name]]} + (k - 1) * {upto[numbers[name]]}"
        if name == "number" and table == "builds":
            return f"number + {now['builds']} + (k - 1) * {upto['builds']}"  # of its builder: gaps do no harm
        if name == "ss_hash":
            return f"substr({name}, 1, 30) || '-' || k"
        if _is_instant(name):
            return f"{name} + (k - {count}) * {BETWEEN_SECONDS}"
        if name in WORDS and table != "build_data":
            return f"replace({name}, '{model}', {named})"
        return name
    own = WITH_NUMBERS.get(table) or next(iter(numbers))
    of_model = f"WHERE {own} <= {upto[numbers[own]]}"
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(made(column.name) for column in columns)
    database.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, copies {of_model}")
    for name in (column.name for column in columns if _is_instant(column.name)):
        database.execute(f"UPDATE {table} SET {name} = {name} - {count} * {BETWEEN_SECONDS} {of_model}")


def _is_instant(name: str) -> bool:
    return name.endswith("_at") or name == "when_timestamp"


def _numbered_by(table: str, column: Any) -> str | None:
    """The table in whose numbers a column counts, where it is one that we copy."""
    if column.name == WITH_NUMBERS.get(table):
        return table
    targets = [key.column.table.name for key in column.foreign_keys]
    return next((target for target in targets if target in WITH_NUMBERS), None)


def _copy_events(database: sqlite3.Connection, model: str, upto: Largest, now: Largest, count: int) -> None:
    journal = _drawer(database, ServiceName.JOURNAL)
    found = [json.loads(value) for (value,) in database.execute(
        "SELECT value_json FROM object_state WHERE objectid = ? ORDER BY name", (journal,))]
    of_model = [event for event in found if event["patch_id"] == model]
    others = [event for event in found if event["patch_id"] != model]
    made = [event for k in range(count) for event in _moved(of_model, model, upto, now, k, count)] + others
    database.execute("DELETE FROM object_state WHERE objectid = ?", (journal,))
    database.executemany("INSERT INTO object_state (objectid, name, value_json) VALUES (?, ?, ?)", (
        (journal, f"{number:09}", json.dumps(event)) for number, event in enumerate(made, start=1)))


def _moved(events: list[dict[str, Any]], model: str, upto: Largest, now: Largest, k: int, count: int
           ) -> Iterator[dict[str, Any]]:
    of_table = {"request_id": "buildrequests", "build_id": "builds"}
    shift = timedelta(seconds=(k - count) * BETWEEN_SECONDS)

    def made(name: str, value: Any) -> Any:
        if name in of_table and k:
            return value + now[of_table[name]] + (k - 1) * upto[of_table[name]]
        if isinstance(value, str) and (name == "at" or name.endswith("_at")):
            return (datetime.fromisoformat(value) + shift).isoformat()
        return value.replace(model, name_of(model, k)) if isinstance(value, str) else value
    for event in events:
        yield {name: made(name, value) for name, value in event.items()}


def _copy_evidence(database: sqlite3.Connection, model: str) -> None:
    head, _, tail = model.partition("-00000-")
    named = f"'{head}-' || printf('%05d', k) || '-{tail}'"
    database.execute(
        f"INSERT INTO object_state (objectid, name, value_json) SELECT objectid, replace(name, ?, {named}),"
        f" replace(value_json, ?, {named}) FROM object_state, copies WHERE objectid = ? AND instr(name, ?)",
        (model, model, _drawer(database, ServiceName.EVIDENCE), model))


def _drawer(database: sqlite3.Connection, service: ServiceName) -> int:
    return _one(database, "SELECT id FROM objects WHERE name = ? AND class_name = 'fastdowntime'", service.value)


def _one(database: sqlite3.Connection, statement: str, *parameters: str) -> int:
    (value,) = database.execute(statement, parameters).fetchone()
    return int(value)
