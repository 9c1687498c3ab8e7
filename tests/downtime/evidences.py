"""One document of evidence with something in every part of it, and the parts that tests vary."""

from __future__ import annotations

from downtime.evidence import Evidence, PhaseTime, Run, StatementEvidence
from downtime.findings import Finding
from downtime.footprints import Change, Footprint, LockMode, Scan, TableSize
from downtime.lanes import Lane
from downtime.likeness import Likeness, TablePair
from downtime.traits import Table
from tests.downtime.measurements import AT, a_lock

TABLE = Table(rows=1_000_000, table_bytes=65_000_000, index_bytes=21_000_000, indexes=1)
LIKE = Likeness(differences=(), notes=("Staging was copied in May.",), tables=(), copied_after=None, copied_before=None)
UNLIKE = Likeness(differences=("Table public.account is smaller on staging.",), notes=(), copied_after=AT,
                  copied_before=None, tables=(TablePair(relation="public.account", staging=None, production=TABLE),))

CREATE = StatementEvidence(
    line=1, kind="CREATE TABLE", seconds=1.0, status="CREATE TABLE",
    footprint=Footprint(wal_bytes=12_345, locks=(a_lock(relation="public.fresh", existing=False),)))
UPDATE = StatementEvidence(
    line=2, kind="UPDATE", seconds=2.0, status="UPDATE 1000000", remedy="change the rows in batches", left_out=3,
    footprint=Footprint(
        wal_bytes=123_456_789,
        locks=(a_lock(LockMode.ROW_EXCLUSIVE), a_lock(relation="public.account_pkey", kind="index",
                                                      table="public.account")),
        rewritten=("public.account",), rebuilt=("public.account_pkey",),
        scans=(Scan(relation="public.account", rows=1_000_000, whole=True),),
        changes=(Change(relation="public.account", inserted=0, updated=1_000_000, deleted=2),),
        sizes=(TableSize(relation="public.account", table_bytes=65_000_000, index_bytes=999, rows=-1),)))

FOUND = Finding(line=2, rule="adding-field-with-default", message="It rewrites the table.", advice="Add it without.",
                blocks=False)
WAIVED = Finding(line=1, rule="ban-drop-table", message="It drops a table.", advice="", blocks=True,
                 waived="nobody has used it since May")

EVIDENCE = Evidence(
    patch_id="patch-1", path="db/patch-1.sql", sha256="a" * 64, lane=Lane.COLD, declared=True, commit="c" * 40,
    environment="staging", server="db1:5432/app", server_version=150020, rehearsed_at=AT, seconds=3.0, factor=1.5,
    factor_patches=4, outage_seconds=3.1,
    runs=(Run(seconds=3.0, outage_seconds=3.1, phases=(PhaseTime(phase="apply patch", seconds=3.0),), cold=True,
              kept=False),
          Run(seconds=2.5, outage_seconds=2.6, phases=(), cold=False, kept=True)),
    statements=(CREATE, UPDATE), left_out=0, left_out_seconds=0.0, target_seconds=10, limit_seconds=15,
    lane_obstacles=("line 2: UPDATE, holding ACCESS EXCLUSIVE on index public.account_pkey for 2.000 s",),
    lane_advice="Declared cold, and measured cold: it needs the database to itself.", findings=(FOUND, WAIVED),
    likeness=UNLIKE, remarks=("It was run once.",), signoff_reasons=("ä reason",))
