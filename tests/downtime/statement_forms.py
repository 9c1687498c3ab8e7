"""Forms of DDL and DML on a table of a million rows, and the locks and rewrites that PostgreSQL documents for them.

`13.3` is the chapter "Explicit Locking" of PostgreSQL's documentation; others are the pages of commands. A form names
the strongest mode on every table, view and sequence that was there before, and on indexes where they are the point.
"""

from __future__ import annotations

from dataclasses import dataclass

from downtime.footprints import LockMode

READS, ROW_SHARE, WRITES = LockMode.ACCESS_SHARE, LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE
SUE, SHARE, SRE = LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.SHARE, LockMode.SHARE_ROW_EXCLUSIVE
EXCLUSIVE, AE = LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE

ROWS = 1_000_000

# `big` is what the forms are about; the rest is what they need beside it. As the owner of the database.
TABLES = f"""
SET ROLE patcher;
CREATE TABLE kind (id int PRIMARY KEY);
INSERT INTO kind SELECT generate_series(0, 9);
CREATE TABLE big (id int PRIMARY KEY, n int, code varchar(8), at timestamptz NOT NULL, tags int[], place point)
    WITH (autovacuum_enabled = off);
INSERT INTO big SELECT i, i % 10, 'c' || i % 1000, '2024-02-29'::timestamptz + i * interval '1 s', ARRAY[i % 7],
                       point(i % 1000, i / 1000) FROM generate_series(1, {ROWS}) AS i;
ALTER TABLE big ADD CONSTRAINT big_checked CHECK (n >= 0) NOT VALID;
ALTER TABLE big ADD CONSTRAINT big_kind FOREIGN KEY (n) REFERENCES kind NOT VALID;
CREATE INDEX big_at ON big (at);
CREATE UNIQUE INDEX big_unique ON big (id, n);
CREATE VIEW big_view AS SELECT at FROM big;
CREATE MATERIALIZED VIEW sums AS SELECT date_trunc('day', at) AS day, count(*) AS many FROM big GROUP BY 1;
CREATE UNIQUE INDEX sums_day ON sums (day);
CREATE SEQUENCE counter;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER big_old BEFORE INSERT ON big FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE SCHEMA other;
CREATE TABLE whole (LIKE big) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (2000000) TO (3000000);
CREATE TABLE parted PARTITION OF whole FOR VALUES FROM (3000000) TO (4000000);
INSERT INTO part SELECT i, 1, 'c', now() FROM generate_series(2000000, 2000999) AS i;
ANALYZE;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One statement and what is documented for it. Names are those of the schema public."""

    sql: str
    locks: dict[str, LockMode]
    source: str                        # chapter or page of PostgreSQL's documentation
    rewritten: tuple[str, ...] = ()    # tables that get new storage
    rebuilt: tuple[str, ...] = ()      # indexes among those, as far as they are the point
    scanned: tuple[str, ...] = ()      # tables that are read from end to end
    changed: int = 0                   # rows
    alone: bool = False                # it cannot run inside a transaction: its locks are as documented
    afterwards: str = ""               # takes back what such a statement has left
    since: int = 15                    # the first version of which this is true
    until: int = 18                    # the last one


def ddl(sql: str, mode: LockMode | None, source: str = "13.3", *, table: str = "big", **more: object) -> Form:
    """A form that locks `big` alone."""
    return Form(sql=sql, locks={table: mode} if mode else {}, source=source, **more)  # type: ignore[arg-type]


def altered(action: str, mode: LockMode = AE, source: str = "ALTER TABLE", **more: object) -> Form:
    return ddl(f"ALTER TABLE big {action}", mode, source, **more)


REWRITES, READS_ALL = {"rewritten": ("big",), "scanned": ("big",)}, {"scanned": ("big",)}

FORMS = (
    # reading and writing
    ddl("SELECT count(*) FROM big", READS, scanned=("big",)),
    ddl("SELECT * FROM big WHERE id = 1 FOR UPDATE", ROW_SHARE),
    ddl("INSERT INTO big (id, at) VALUES (0, now())", WRITES, changed=1),
    Form(sql="INSERT INTO big SELECT -id, at_n, 'x', now() FROM (SELECT id, n AS at_n FROM part) AS p",
         locks={"big": WRITES, "part": READS, "kind": ROW_SHARE}, source="13.3", scanned=("part",), changed=1000),
    ddl("UPDATE big SET code = 'new' WHERE id <= 100000", WRITES, changed=100_000),
    ddl("DELETE FROM big WHERE id <= 50000", WRITES, changed=50_000),
    ddl("MERGE INTO big USING (VALUES (1), (2)) AS v(id) ON big.id = v.id WHEN MATCHED THEN DELETE", WRITES,
        changed=2),
    ddl("TRUNCATE big", AE, rewritten=("big",)),
    ddl("LOCK TABLE big IN EXCLUSIVE MODE", EXCLUSIVE, "LOCK"),
    # columns
    altered("ADD COLUMN added int"),
    altered("ADD COLUMN added int NOT NULL DEFAULT 7"),
    altered("ADD COLUMN added timestamptz DEFAULT clock_timestamp()", **REWRITES),
    altered("ADD COLUMN added int GENERATED ALWAYS AS (id + 1) STORED", **REWRITES),
    altered("ADD COLUMN added int GENERATED ALWAYS AS (id + 1) VIRTUAL", since=18),
    altered("ADD COLUMN added int GENERATED ALWAYS AS IDENTITY", **REWRITES),
    altered("DROP COLUMN place"),
    altered("RENAME COLUMN place TO spot"),
    altered("ALTER COLUMN n SET DEFAULT 3"),
    altered("ALTER COLUMN n SET NOT NULL", **READS_ALL),
    altered("ALTER COLUMN n SET STATISTICS 200", SUE),
    altered("ALTER COLUMN code TYPE varchar(16)"),
    altered("ALTER COLUMN code TYPE text"),
    altered("ALTER COLUMN code TYPE varchar(4)", **REWRITES),
    altered("ALTER COLUMN id TYPE bigint", rewritten=("big",), rebuilt=("big_pkey", "big_unique"), scanned=("big",)),
    # constraints
    altered("ADD CHECK (id > 0)", **READS_ALL),
    altered("ADD CHECK (id > 0) NOT VALID"),
    altered("VALIDATE CONSTRAINT big_checked", SUE, **READS_ALL),
    altered("ADD CONSTRAINT filled NOT NULL n NOT VALID", since=18),
    altered("ADD UNIQUE (id, at)", scanned=("big",)),
    altered("ADD UNIQUE USING INDEX big_unique"),
    altered("DROP CONSTRAINT big_checked"),
    Form(sql="ALTER TABLE big ADD FOREIGN KEY (n) REFERENCES kind", locks={"big": SRE, "kind": SRE},
         source="ALTER TABLE", scanned=("big", "kind")),
    Form(sql="ALTER TABLE big ADD FOREIGN KEY (n) REFERENCES kind NOT VALID", locks={"big": SRE, "kind": SRE},
         source="ALTER TABLE"),
    Form(sql="ALTER TABLE big VALIDATE CONSTRAINT big_kind", locks={"big": SUE, "kind": ROW_SHARE},
         source="ALTER TABLE", scanned=("big", "kind")),
    ddl("CREATE TABLE refers (id int REFERENCES big)", SRE, "CREATE TABLE"),
    # indexes
    ddl("CREATE INDEX ON big (n)", SHARE, **READS_ALL),
    ddl("CREATE UNIQUE INDEX ON big (at, id)", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big USING hash (n)", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big USING gin (tags)", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big USING gist (place)", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big USING brin (at)", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big (id) WHERE n = 3", SHARE, **READS_ALL),
    ddl("CREATE INDEX ON big (lower(code))", SHARE, **READS_ALL),
    ddl("CREATE INDEX CONCURRENTLY made ON big (n)", SUE, alone=True, afterwards="DROP INDEX made"),
    Form(sql="DROP INDEX CONCURRENTLY big_at", locks={"big": SUE, "big_at": SUE}, source="DROP INDEX", alone=True,
         afterwards="CREATE INDEX big_at ON big (at)"),
    Form(sql="DROP INDEX big_at", locks={"big": AE, "big_at": AE}, source="DROP INDEX"),
    ddl("ALTER INDEX big_at RENAME TO big_when", SUE, "ALTER INDEX", table="big_at"),
    Form(sql="REINDEX INDEX big_at", locks={"big": SHARE, "big_at": AE}, source="REINDEX", rebuilt=("big_at",),
         scanned=("big",)),
    Form(sql="REINDEX INDEX CONCURRENTLY big_at", locks={"big": SUE, "big_at": SUE}, source="REINDEX", alone=True),
    # partitions
    Form(sql="ALTER TABLE whole ATTACH PARTITION big FOR VALUES FROM (0) TO (2000000)",
         locks={"whole": SUE, "big": AE}, source="ALTER TABLE", scanned=("big",)),
    Form(sql="ALTER TABLE whole DETACH PARTITION part", locks={"whole": AE, "part": AE}, source="ALTER TABLE"),
    Form(sql="ALTER TABLE whole DETACH PARTITION parted CONCURRENTLY", locks={"whole": SUE, "parted": AE},
         source="ALTER TABLE", alone=True, afterwards="DROP TABLE parted; CREATE TABLE parted PARTITION OF whole "
                                                      "FOR VALUES FROM (3000000) TO (4000000)"),
    ddl("CREATE TABLE fresh PARTITION OF whole FOR VALUES FROM (5000000) TO (6000000)", AE, "CREATE TABLE",
        table="whole"),
    # triggers, functions, views, rights and the like
    ddl("CREATE TRIGGER big_new BEFORE UPDATE ON big FOR EACH ROW EXECUTE FUNCTION nothing()", SRE),
    altered("DISABLE TRIGGER big_old", SRE),
    ddl("DROP TRIGGER big_old ON big", AE),
    ddl("CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'", None),
    ddl("CREATE VIEW other_view AS SELECT id FROM big", READS),
    Form(sql="CREATE OR REPLACE VIEW big_view AS SELECT at, place FROM big", locks={"big": READS, "big_view": AE},
         source="CREATE VIEW"),
    ddl("DROP VIEW big_view", AE, table="big_view"),
    ddl("GRANT SELECT ON big TO app", None, until=16),
    ddl("GRANT SELECT ON big TO app", READS, since=18),
    altered("ENABLE ROW LEVEL SECURITY"),
    ddl("CREATE POLICY few ON big USING (n = 1)", AE),
    ddl("COMMENT ON TABLE big IS 'large'", SUE),
    ddl("CREATE STATISTICS pair (dependencies) ON n, code FROM big", SUE),
    ddl("ALTER TYPE mood ADD VALUE 'fair'", None),
    ddl("ALTER SEQUENCE counter INCREMENT 10", SRE, "13.3", table="counter"),
    altered("SET (fillfactor = 70)", SUE),
    # moves
    altered("RENAME TO huge"),
    altered("SET SCHEMA other"),
    altered("SET TABLESPACE elsewhere", rewritten=("big",)),
    altered("SET UNLOGGED", **REWRITES),
    altered("CLUSTER ON big_pkey", SUE),
    Form(sql="DROP TABLE big CASCADE", locks={"big": AE, "big_view": AE, "sums": AE, "kind": AE}, source="13.3"),
    # upkeep
    ddl("ANALYZE big", SUE),
    ddl("VACUUM big", SUE, alone=True),
    ddl("VACUUM FULL big", AE, alone=True, rewritten=("big",)),
    ddl("CLUSTER big USING big_pkey", AE, **REWRITES),
    Form(sql="REFRESH MATERIALIZED VIEW sums", locks={"sums": AE, "big": READS}, source="13.3", rewritten=("sums",),
         scanned=("big", "sums"), changed=12),
    Form(sql="REFRESH MATERIALIZED VIEW CONCURRENTLY sums", locks={"sums": EXCLUSIVE, "big": READS}, source="13.3",
         scanned=("big", "sums")),
    # what no parser sees through
    ddl("DO $$ BEGIN UPDATE big SET n = 1 WHERE id = 1; ALTER TABLE big ADD COLUMN deep int; END $$", AE, "13.3",
        changed=1),
    # a constraint on the column is made again, on both of its tables
    Form(sql="DO $$ BEGIN EXECUTE 'ALTER TABLE big ALTER COLUMN n TYPE bigint'; END $$", locks={"big": AE, "kind": AE},
         source="ALTER TABLE", rewritten=("big",), scanned=("big",)),
)
