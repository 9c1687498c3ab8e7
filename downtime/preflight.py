"""Look before the outage, so that most refusals cost none: rights, order, and whoever stands in the way.

One read gives a frozen `Observation`; `judge` turns it into complete sentences, all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from downtime import errors, sessions
from downtime.node import Node

OLDEST_SERVER = 140000  # client_connection_check_interval: without it a dead deployer keeps the database shut

# Rights and state of the server, in one row. Takes ACCESS SHARE on catalogs only.
SELECT_OBSERVATION = """
SELECT current_user AS role,
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_sessions,
       pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') AS may_kick,
       pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owns_database,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       coalesce(CASE WHEN schema.usable THEN pg_catalog.has_function_privilege(
           pg_catalog.to_regprocedure('fastdowntime.prevent_connections()')::oid, 'EXECUTE') END, false) AS may_hold,
       coalesce(CASE WHEN schema.usable THEN
           pg_catalog.has_table_privilege(pg_catalog.to_regclass('fastdowntime.ledger')::oid, 'SELECT')
           AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('fastdowntime.ledger')::oid, 'INSERT')
       END, false) AS may_record,
       NOT EXISTS (SELECT FROM (VALUES ('ledger', 'rehearsed_seconds'), ('ledger', 'forecast_seconds'),
                                       ('held', 'undo')) AS needed(t, a)
                    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS there
                                        JOIN pg_catalog.pg_class c ON c.oid = attrelid AND relname = needed.t
                                        JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
                                       WHERE nspname = 'fastdowntime' AND attname = needed.a AND NOT attisdropped)
                  ) AS ledger_is_current,
       coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false) AS is_superuser,
       ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper) AS superusers,
       ARRAY(SELECT gid || ' of ' || owner || ' since ' || prepared::text
               FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()) AS prepared_transactions
  FROM pg_catalog.pg_database d
  CROSS JOIN (SELECT pg_catalog.has_schema_privilege(
      pg_catalog.to_regnamespace('fastdowntime')::oid, 'USAGE') AS usable) AS schema
 WHERE d.datname = current_database()
"""

# Which of these names is no role of the server. Reads pg_roles.
SELECT_UNKNOWN_USERS = """
SELECT name FROM unnest(%s::text[]) AS name
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) ORDER BY name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the server is like and what the patching role may do there."""

    role: str
    server_version: int
    sees_sessions: bool       # pg_monitor: without it every other session looks idle and the check passes silently
    may_kick: bool
    owns_database: bool
    in_recovery: bool
    may_hold: bool
    may_record: bool
    ledger_is_current: bool   # neither it nor what is beside it was made by an older version
    is_superuser: bool
    superusers: Sequence[str]
    prepared_transactions: Sequence[str]

    @property
    def unkickable_users(self) -> frozenset[str]:
        """Whose sessions pg_signal_backend may not end."""
        return frozenset() if self.is_superuser else frozenset(self.superusers)


class PreflightRefused(errors.Refused):
    """One or more reasons why the outage must not begin; nothing was closed and nobody was kicked."""

    happened = "not now:\n{listing}"
    next_step = "ask for the deployment again when that has ended or is put right"

    def __init__(self, reasons: Sequence[str], *, fragile: Sequence[str] = ()) -> None:
        """`fragile` are the users in the middle of a transaction, where that is a reason."""
        self.reasons = tuple(reasons)
        super().__init__(listing="\n".join(f"  {reason}" for reason in self.reasons), users=tuple(fragile))


async def observe(node: Node) -> Observation:
    """Ask the server, in one statement."""
    (row,) = (await node.execute(SELECT_OBSERVATION)).rows
    return Observation(server_version=node.server_version, **row)


async def warnings(node: Node, rules: sessions.Rules) -> tuple[str, ...]:
    """What is no reason to refuse, but should be read: users of the settings that the server does not have."""
    found = []
    for key, users in (("fragile", rules.fragile), ("spared", rules.spared)):
        unknown = await node.execute(SELECT_UNKNOWN_USERS, (sorted(users),))
        found += [f"warning: users.{key} names {row['name']!r}, which is no role of {node.label}: correct it, or"
                  " nobody is protected by it" for row in unknown.rows]
    return tuple(found)


def judge_server(seen: Observation, *, gate: str) -> list[str]:
    """Reasons in the server and in the role's rights. `gate` is hold, refuse, or empty for a live application."""
    install = "run the SQL that `python -m downtime install` prints"
    rights = [
        (seen.server_version >= OLDEST_SERVER, f"server version {seen.server_version} is older than 14"),
        (not seen.in_recovery, "this server is a standby: patches go to the primary"),
        (seen.sees_sessions, f"role {seen.role} does not see other sessions (pg_monitor): {install}"),
        (seen.may_record, f"role {seen.role} has no ledger it may write: {install}"),
        (seen.ledger_is_current or not seen.may_record,
         "the ledger was made by an older version: run install again: python -m downtime install prints the SQL"),
    ]
    if gate:
        rights += [
            (seen.may_kick, f"role {seen.role} may not end sessions (pg_signal_backend): {install}"),
            (gate != "hold" or seen.may_hold, f"role {seen.role} has no gate function: {install} as a superuser,"
                                              " or set the environment's gate to refuse"),
            (gate != "refuse" or seen.owns_database, f"role {seen.role} does not own the database: {install}"),
        ]
    return [reason for holds, reason in rights if not holds]


def judge_traffic(seen: Observation, verdict: sessions.Verdict, *, long_transaction_seconds: float,
                  kick_all: bool) -> list[str]:
    """Reasons in who is connected at the moment."""
    reasons = [f"prepared transaction {name} survives a kick and keeps its locks: COMMIT PREPARED or"
               " ROLLBACK PREPARED it" for name in seen.prepared_transactions]
    if verdict.fragile:
        reasons.append(f"a fragile user is in the middle of a transaction: {sessions.listing(verdict.fragile)}")
    if kick_all and verdict.unkickable:
        reasons.append("sessions of superusers cannot be kicked by this role: "
                       f"{sessions.listing(verdict.unkickable)}: end them, or list their users under users.spared")
    long_ones = [s for s in verdict.in_transaction if (s.transaction_seconds or 0) > long_transaction_seconds]
    if long_ones:
        reasons.append(f"a transaction has been open for more than {long_transaction_seconds:g} s and its work would"
                       f" be lost: {sessions.listing(long_ones)}: wait for it, or end it")
    return reasons
