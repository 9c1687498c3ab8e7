#!/bin/sh
# A fast downtime at PgBouncer's console: DISABLE and KILL, the patch, RESUME and ENABLE.
#
#   pgbouncer_disable.sh DATABASE PATCH CONSOLE    with PGHOST, PGPORT, PGUSER and PGPASSWORD of a role of the server set,
#                                                  psql in PATH; CONSOLE: a libpq URI of the pooler's, passwords in PGPASSFILE
#
# It is not what you should use: clients behind the pooler are cut off and then refused instead of held, whatever they
# were doing, fragile users among them; those that connect to the server itself are not kept out; nothing lets the
# pooler go on if the machine that runs this dies.
set -eu
database=$1 patch=$2 console=$3

at_the_pooler() {
    PGPASSWORD='' psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$console" "$@"
}

# whatever happens from here on, as long as this shell lives; KILL has paused it as well
trap 'at_the_pooler --command "RESUME $database" --command "ENABLE $database"' EXIT

# refuse new clients, drop all clients and all connections to the server
at_the_pooler --command "DISABLE $database" --command "KILL $database"

# apply the patch; the trap lets clients in again
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$database" --single-transaction --file "$patch"
