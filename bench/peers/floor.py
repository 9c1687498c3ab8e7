"""A fast downtime in one round trip: what ours does with gate `hold` and kick `all`, sent as one string.

    floor.py PATCH_ID PATCH COMMIT FRAGILE_USER SPARED_USER     with DATABASE_URL set

It is not what you should use: once sent nobody can stop it or learn how far it is, a patch that fails is not told from
a session that does not go, a patch may end its transaction, and a client that is half way in is overlooked.
"""

import hashlib
import os
import sys
from pathlib import Path

import psycopg2
from psycopg2 import sql

ROUND_TRIP = """
BEGIN;
SET LOCAL lock_timeout = '200ms';
SELECT fastdowntime.prevent_connections();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = {fragile}
                                              AND xact_start IS NOT NULL) THEN
        RAISE 'a fragile user is in the middle of a transaction';
    END IF;
END $$;

DO $$
DECLARE
    others CONSTANT integer[] := (
        SELECT array_agg(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
           AND usename <> {spared});
BEGIN
    PERFORM pg_terminate_backend(pid) FROM unnest(others) AS pid;
    LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_get_activity(NULL) WHERE pid = ANY (others));
        PERFORM pg_sleep(0.001);
    END LOOP;
END $$;

SET LOCAL lock_timeout = '2s';
{patch}
INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)
VALUES ({id}, {sha256}, 'cold', {commit}, now(), 0);
COMMIT;
"""


def main() -> None:
    patch_id, file, commit, fragile, spared = sys.argv[1:]
    patch = Path(file).read_bytes()
    connection = psycopg2.connect(os.environ["DATABASE_URL"], application_name="floor")
    connection.autocommit = True
    literals = {"id": patch_id, "sha256": hashlib.sha256(patch).hexdigest(), "commit": commit, "fragile": fragile,
                "spared": spared}
    statement = sql.SQL(ROUND_TRIP).format(patch=sql.SQL(patch.decode()),
                                           **{name: sql.Literal(text) for name, text in literals.items()})
    text = statement.as_string(connection)
    print("connected", flush=True)
    sys.stdin.readline()  # the benchmark says when
    connection.cursor().execute(text)


if __name__ == "__main__":
    main()
