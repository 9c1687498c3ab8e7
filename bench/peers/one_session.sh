#!/bin/sh
# A fast downtime in one psql session with one script: what somebody writes who has found a psql per phase too slow.
#
#   one_session.sh DATABASE PATCH FRAGILE_USER   with PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD set, psql in PATH
#
# It is not what you should use: as with runbook.sh nothing reopens the database if its machine dies, clients are
# refused instead of held, and a fragile user may begin a transaction between the check and the kick.
set -eu
database=$1 patch=$2 fragile=$3

run() {
    psql --no-psqlrc --quiet --output /dev/null --set ON_ERROR_STOP=1 --set database="$database" \
         --set fragile="$fragile" --dbname "$database" "$@"
}

# whatever happens to the session, as long as this shell lives
trap 'run --command "ALTER DATABASE $database CONNECTION LIMIT -1"' HUP INT TERM

run --set patch="$patch" <<'SQL' || { run --command "ALTER DATABASE $database CONNECTION LIMIT -1"; exit 1; }
-- prevent new connections (a superuser still gets in)
ALTER DATABASE :"database" CONNECTION LIMIT 0;

-- abort if a fragile user is in the middle of a transaction
SELECT count(*) > 0 AS busy FROM pg_stat_activity
 WHERE datname = :'database' AND usename = :'fragile' AND xact_start IS NOT NULL \gset
\if :busy
    DO $$ BEGIN RAISE 'a fragile user is in the middle of a transaction'; END $$;
\endif

-- kick everybody, until nobody is left
DO $$
BEGIN
    WHILE (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') > 0 LOOP
        PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
    END LOOP;
END $$;

-- apply the patch
BEGIN;
\i :patch
COMMIT;

-- allow new connections again
ALTER DATABASE :"database" CONNECTION LIMIT -1;
SQL
