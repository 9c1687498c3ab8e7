"""The SQL a DBA runs once, so that a role without superuser rights can do fast downtimes."""

from __future__ import annotations

from importlib import resources
from typing import Literal


def script(database: str, role: str, gate: Literal["hold", "refuse"] = "hold") -> str:
    """The SQL for one database, ready for `psql -f`. Safe to run again; `refuse` needs no superuser."""
    names = {"database": quote_identifier(database), "role": quote_identifier(role),
             "role_literal": quote_literal(role), "gate": gate}
    section = _read("install_hold.sql").format(**names) if gate == "hold" else ""
    return _read("install.sql").format(**names, gate_section=section)


def quote_identifier(name: str) -> str:
    """For SQL that is printed, where no connection is at hand to ask; what is sent goes through `psycopg2.sql`."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _read(name: str) -> str:
    return resources.files("downtime").joinpath(name).read_text(encoding="utf-8")
