#!/bin/sh
# A fast downtime as a careful shell script does it: one psql per phase. The benchmark measures us against it.
#
#   runbook.sh DATABASE PATCH FRAGILE_USER       with PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD set, psql in PATH
#
# It is not what you should use: nothing reopens the database if the machine that runs it dies, clients are refused
# instead of held, and a fragile user may begin a transaction between the check and the kick.
set -eu
database=$1 patch=$2 fragile=$3

ask() {
    psql --no-psqlrc --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --dbname "$database" "$@"
}

# whatever happens from here on, as long as this shell lives
trap 'ask --command "ALTER DATABASE $database CONNECTION LIMIT -1"' EXIT

# prevent new connections (a superuser still gets in)
ask --command "ALTER DATABASE $database CONNECTION LIMIT 0"

# abort if a fragile user is in the middle of a transaction
busy=$(ask --command "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = '$database' AND usename = '$fragile' AND xact_start IS NOT NULL")
if [ "$busy" -ne 0 ]; then
    echo "$fragile is in the middle of a transaction" >&2
    exit 1
fi

# kick everybody, until nobody is left
while [ "$(ask --command "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE datname = '$database' AND pid <> pg_backend_pid()
                             AND backend_type = 'client backend'")" -ne 0 ]; do
    :
done

# apply the patch; the trap allows new connections again
ask --single-transaction --file "$patch"
