-- What fast downtimes need in database {database}, for the role {role}, gate "{gate}".
-- Run once by a DBA (psql -v ON_ERROR_STOP=1 -f this file); running it again changes nothing.

-- The patching role: owns the database, sees every session, may end sessions of non-superusers, is no superuser.
DO $fastdowntime$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_literal}) THEN
        CREATE ROLE {role} LOGIN;  -- give it a password: \password {role}
    END IF;
END
$fastdowntime$;
GRANT pg_monitor, pg_signal_backend TO {role};
ALTER DATABASE {database} OWNER TO {role};

-- An autovacuum on the patched table gives way only when somebody has waited for it so long; by default that is 1 s of
-- outage. Needs a superuser, or SET on the parameter; without it patches wait for the server's own deadlock_timeout.
DO $fastdowntime$
BEGIN
    ALTER ROLE {role} IN DATABASE {database} SET deadlock_timeout = '10ms';
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'deadlock_timeout of role % stays as it is: %', {role_literal}, SQLERRM;
END
$fastdowntime$;

-- With serve_reads the hot standbys pause their replay for the outage; they have these rights from here. Needs a
-- superuser; without it serve_reads is refused.
DO $fastdowntime$
BEGIN
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_wal_replay_pause(), pg_catalog.pg_wal_replay_resume() TO {role};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'role % may not pause the replay of standbys: %', {role_literal}, SQLERRM;
END
$fastdowntime$;

BEGIN;

-- The schema and what is in it belong to the one who runs this, so that no patch can drop or rewrite the ledger.
CREATE SCHEMA IF NOT EXISTS fastdowntime;
REVOKE ALL ON SCHEMA fastdowntime FROM PUBLIC;
GRANT USAGE ON SCHEMA fastdowntime TO {role};

-- One row per patch this database has.
CREATE TABLE IF NOT EXISTS fastdowntime.ledger (
    id            text PRIMARY KEY,
    sha256        text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{{64}}$'),
    lane          text NOT NULL CHECK (lane IN ('live', 'cold', 'baseline')),  -- baseline: recorded, never run
    commit        text NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    seconds       double precision NOT NULL,  -- the patch's own statements, without gate and kick
    build_url     text NOT NULL DEFAULT '',
    requested_by  text NOT NULL DEFAULT '',
    approved_by   text NOT NULL DEFAULT '',
    database_role text NOT NULL DEFAULT session_user,
    rehearsed_seconds double precision,       -- what the same statements took on staging; NULL: not known
    forecast_seconds  double precision        -- what was foretold from that
);
-- for a ledger that an older version has made
ALTER TABLE fastdowntime.ledger ADD COLUMN IF NOT EXISTS rehearsed_seconds double precision,
                                ADD COLUMN IF NOT EXISTS forecast_seconds double precision;
GRANT SELECT, INSERT ON fastdowntime.ledger TO {role};

-- One row per finished statement of a live patch: a second run goes on behind the last one.
CREATE TABLE IF NOT EXISTS fastdowntime.live_journal (
    id          text NOT NULL,
    sha256      text NOT NULL,
    statement   integer NOT NULL CHECK (statement > 0),  -- position in the patch, from 1
    finished_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (id, sha256, statement)
);
GRANT SELECT, INSERT ON fastdowntime.live_journal TO {role};

-- One row per statement of a live patch that cannot run in a transaction, written before it runs: where it is not in
-- the journal above, the run was cut off in it.
CREATE TABLE IF NOT EXISTS fastdowntime.live_begun (
    id        text NOT NULL,
    sha256    text NOT NULL,
    statement integer NOT NULL CHECK (statement > 0),  -- position in the patch, from 1
    builds    text NOT NULL DEFAULT '',  -- the index it makes, schema.name, where none of that name was; else empty
    begun_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (id, sha256, statement)
);
GRANT SELECT, INSERT ON fastdowntime.live_begun TO {role};

-- One row per thing outside this database that a deployment holds: a paused pooler, a standby whose replay is paused.
-- Written before it is paused and removed when it goes on; what a dead deployment leaves is undone from here.
CREATE TABLE IF NOT EXISTS fastdowntime.held (
    kind  text NOT NULL CHECK (kind IN ('pooler', 'replay')),
    place text NOT NULL,         -- host:port/database of its console, or of the standby
    undo  jsonb NOT NULL,        -- what has to be known to undo it; no password
    "by"  text NOT NULL,         -- which deployment
    since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (kind, place)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON fastdowntime.held TO {role};
{gate_section}
COMMIT;
