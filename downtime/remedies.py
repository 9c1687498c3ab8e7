"""What usually makes a costly statement cheap, in one sentence for its author. Pure.

Decided by what the statement is and did, not by what it looks like alone: ADD COLUMN with a default is cheap until it
has rewritten the table. The advice is PostgreSQL's own: its documentation of ALTER TABLE ("Notes"), CREATE INDEX
("Building Indexes Concurrently") and REFRESH MATERIALIZED VIEW.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from downtime.apply import AppliedStatement
from downtime.footprints import Footprint

MANY_ROWS = 10_000  # fewer in one statement are no burden, and batches of them no relief

NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)  # nested comments and E'' are rare in DDL

ALTER, LIVE = "ALTER TABLE", "in a patch of its own with `-- apply: live`"
CONSTRAINT = r"ADD (CONSTRAINT \S+ )?"
BATCHES = f"change the rows in batches of some thousand, a statement each, {LIVE}: each locks its rows only briefly"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    kind: str                                    # the statement's, or how it begins
    text: str = ""                               # a pattern that its SQL, in capitals and without noise, contains
    did: Callable[[Footprint], bool] = lambda footprint: True
    advice: str


def _rewrote(footprint: Footprint) -> bool:
    return bool(footprint.rewritten)


def _read_all(footprint: Footprint) -> bool:
    return not footprint.rewritten and any(scan.whole for scan in footprint.scans)


def _changed_many(footprint: Footprint) -> bool:
    return footprint.rows_changed >= MANY_ROWS


def _on_existing(footprint: Footprint) -> bool:
    return footprint.strongest is not None


RULES = (
    _Rule(kind="CREATE INDEX CONCURRENTLY", advice=""),
    _Rule(kind="CREATE INDEX", did=_on_existing,
          advice=f"CREATE INDEX CONCURRENTLY {LIVE} builds it while clients work"),
    _Rule(kind=ALTER, text=r"\bADD COLUMN\b.*\bGENERATED ALWAYS AS\b.*\bSTORED\b", did=_rewrote,
          advice="a stored generated column always rewrites the table; a plain column, filled by a trigger and in "
                 "batches, does not"),
    _Rule(kind=ALTER, text=r"\bADD\b.*\b(BIG|SMALL)?SERIAL\b|\bADD\b.*\bGENERATED\b.*\bAS IDENTITY\b", did=_rewrote,
          advice="a serial or identity column fills every row at once; add a plain column, SET DEFAULT for new rows, "
                 "and fill the old ones in batches"),
    _Rule(kind=ALTER, text=r"\bADD\b.*\bDEFAULT\b", did=_rewrote,
          advice="only a constant default leaves the rows alone; add the column without one, SET DEFAULT for new rows, "
                 "and fill the old ones in batches"),
    _Rule(kind=ALTER, text=r"\bTYPE\b", did=_rewrote,
          advice="add a column of the new type, keep it up to date by a trigger, fill it in batches, and swap "
                 "the names in a short cold patch"),
    _Rule(kind=ALTER, text=r"\bSET (TABLESPACE|(UN)?LOGGED|ACCESS METHOD)\b", did=_rewrote,
          advice="this copies the whole table, and there is no cheaper way; give it a downtime of its own"),
    _Rule(kind=ALTER, text=r"\bVALIDATE CONSTRAINT\b",
          advice=f"VALIDATE CONSTRAINT lets clients read and write: put it {LIVE}"),
    _Rule(kind=ALTER, text=rf"\b{CONSTRAINT}(PRIMARY KEY|UNIQUE)\b(?! USING INDEX)",
          advice=f"CREATE UNIQUE INDEX CONCURRENTLY {LIVE}, then ADD CONSTRAINT … USING INDEX takes a moment"),
    _Rule(kind=ALTER, text=r"\bFOREIGN KEY\b|\bREFERENCES\b|\bCHECK\b", did=_read_all,
          advice=f"ADD CONSTRAINT … NOT VALID takes a moment; then VALIDATE CONSTRAINT {LIVE} lets clients read and "
                 "write"),
    _Rule(kind=ALTER, text=r"\bSET NOT NULL\b", did=_read_all,
          advice=f"ADD CHECK (… IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT {LIVE}: SET NOT NULL then finds it "
                 "proved and reads nothing"),
    _Rule(kind=ALTER, text=r"\bATTACH PARTITION\b", did=_read_all,
          advice=f"give the table a CHECK constraint that implies its bounds, NOT VALID and then validated {LIVE}: "
                 "ATTACH PARTITION then reads nothing"),
    _Rule(kind=ALTER, text=r"\bDETACH PARTITION\b(?!.*\bCONCURRENTLY\b)",
          advice=f"DETACH PARTITION … CONCURRENTLY {LIVE} lets clients read and write"),
    _Rule(kind="REFRESH MATERIALIZED VIEW CONCURRENTLY", advice=""),
    _Rule(kind="REFRESH MATERIALIZED VIEW", did=_on_existing,
          advice="REFRESH MATERIALIZED VIEW CONCURRENTLY lets clients read it meanwhile; it needs a unique index"),
    _Rule(kind="REINDEX", text=r"^(?!.*\bCONCURRENTLY\b)",
          advice=f"REINDEX … CONCURRENTLY {LIVE} lets clients read and write"),
    _Rule(kind="DROP INDEX", text=r"^(?!.*\bCONCURRENTLY\b)",
          advice=f"DROP INDEX CONCURRENTLY {LIVE} waits for clients without keeping others waiting"),
    _Rule(kind="CLUSTER", did=_rewrote,
          advice="this copies the whole table, and no way of PostgreSQL's own lets clients work meanwhile; leave it "
                 "out if the order of the rows can wait"),
    _Rule(kind="DELETE", text=r"^(?!.*\bWHERE\b)", did=_changed_many,
          advice="TRUNCATE empties a table at once, if nothing needs the triggers of each row"),
    *(_Rule(kind=kind, did=_changed_many, advice=BATCHES) for kind in
      ("UPDATE", "DELETE", "INSERT", "MERGE", "DO", "CALL", "SELECT")),
    _Rule(kind=ALTER, did=_rewrote,
          advice="it writes the table anew; see whether one of its parts can do without, and give the rest a "
                 "downtime of its own"),
    _Rule(kind=ALTER, did=_read_all,
          advice="it reads the whole table under its lock; see whether that part can be added NOT VALID and validated "
                 "later"),
)


def remedy(applied: AppliedStatement) -> str:
    """The usual remedy for a statement that costs too much, without a full stop; empty where none is known."""
    footprint = applied.footprint
    if footprint is None:
        return ""
    kind, sql = applied.statement.kind, _bare(applied.statement.text)
    found = next((rule for rule in RULES if _is_of(kind, rule.kind) and rule.did(footprint)
                  and (not rule.text or re.search(rule.text, sql, re.DOTALL))), None)
    return found.advice if found is not None else ""


def _is_of(kind: str, wanted: str) -> bool:
    return kind == wanted or kind.startswith(f"{wanted} ")


def _bare(sql: str) -> str:
    """In capitals, with single blanks, without comments and literals: a word in them asks for nothing."""
    return " ".join(NOISE.sub(" ", sql).upper().split())
