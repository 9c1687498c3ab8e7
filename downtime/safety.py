"""What makes the patching session safe, and putting it back when a statement of the patch has changed it.

A patch may set what it likes for its own statements: pg_dump writes `SET statement_timeout = 0` at the top of every
file. Before the next statement our timeouts are back, at the values the session began with, be it a shorter
`lock_timeout` that the author wanted. What a patch sets beside them (search_path, role, work_mem) is its own affair
and holds to its end; what it set never reaches the ledger row, because `OWN_AGAIN` comes before it.

Its queries' rows stay in the server (`BEFORE_ROWS`), and its notices are kept within bounds by `downtime.apply`.

Two settings decide how the server reads the text it is sent. Where a patch changes one of them, the server would
split what follows otherwise than the parser that examined it: `'a\\'';COMMIT;--'` is one literal or an end of the
transaction. The server reports both with every answer, so looking at them costs nothing.
"""

from __future__ import annotations

from downtime.deployment_lock import DEPLOYMENT, LOCK_CLASS
from downtime.node import Node, Row

READING = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}

# With the first server version that knows it. Not deadlock_timeout: only privileged roles may set it, so putting it
# back could fail, and how long our waiting lock waits is lock_timeout's affair.
TIMEOUTS = {
    "statement_timeout": 0, "lock_timeout": 0, "idle_in_transaction_session_timeout": 0, "idle_session_timeout": 140000,
    "client_connection_check_interval": 140000, "transaction_timeout": 170000,
    "tcp_keepalives_idle": 0, "tcp_keepalives_interval": 0, "tcp_keepalives_count": 0, "tcp_user_timeout": 0,
}

# Whether the transaction may write, and the deployment lock, which a patch gives up with pg_advisory_unlock_all().
SEE = f"""
SELECT pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' AS writes,
       pg_catalog.pg_try_advisory_lock({LOCK_CLASS}, {DEPLOYMENT}) AS alone
"""

READ_ONLY = "the transaction has been made read-only, so that the ledger row cannot be written; leave it read-write"

# The role that has logged in, and no object of the patch in the way of one of PostgreSQL's own name. Until COMMIT.
OWN_AGAIN = ("SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; "
             "SET LOCAL search_path = pg_catalog, pg_temp; "
             # where commits are not waited for, a crash would take back what was reported as deployed
             "SELECT pg_catalog.set_config('synchronous_commit', 'on', true)"
             " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'; ")


# A query of a patch is run to its end inside the server. Nobody looks at its rows, and libpq would keep all of them in
# our memory: a gigabyte, if the query has so much to say. Planned as a query whose every row is wanted.
ROWS = "fastdowntime_rows"
BEFORE_ROWS = f"SET LOCAL cursor_tuple_fraction = 1; DECLARE {ROWS} NO SCROLL CURSOR FOR "
BEHIND_ROWS = f"\n; MOVE FORWARD ALL IN {ROWS}"  # behind a line's end: the query may end with a comment
AFTER_ROWS = f"CLOSE {ROWS}; "


def misreading(node: Node) -> str:
    """Why this session no longer reads SQL as it was examined, or an empty string. No round trip."""
    now = {"standard_conforming_strings": node.standard_conforming_strings, "client_encoding": node.client_encoding}
    for name, wanted in READING.items():
        if now[name] != wanted:
            return (f"{name} is {now[name]} from here on, and the server would read what follows otherwise than it was "
                    f"examined; leave it {wanted}")
    return ""


async def put_back(node: Node, *, first: str = "") -> str:
    """Put back the timeouts in one round trip, after `first`; returns what cannot be put back, or an empty string.

    Raises NodeError.
    """
    (seen,) = (await node.execute(f"{first}{resets(node)}{SEE}")).rows
    return objection(seen)


def objection(seen: Row) -> str:
    """What the row of SEE says that cannot be put back, or an empty string."""
    if not seen["writes"]:
        return READ_ONLY
    if not seen["alone"]:
        return "the deployment lock has been given up, and another deployment has taken it; unlock only what you locked"
    return ""


async def put_timeouts_back(node: Node, *, first: str = "") -> str:
    """The same where nothing will be recorded and no deployment lock is held: nothing stands against it."""
    await node.execute(f"{first}{resets(node)}")
    return ""


def resets(node: Node) -> str:
    """SQL that puts our timeouts back."""
    return "".join(f"RESET {name}; " for name, since in TIMEOUTS.items() if node.server_version >= since)
