"""What speaks against an outage in the standbys beside it: who follows the primary, and whether it is fit to.

The reads give frozen values; `judge` and `warnings` are pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from downtime import sessions
from downtime.failover import Lineage
from downtime.node import Node
from downtime.printable import escaped
from downtime.replay import NOT_PAUSED
from downtime.replica import Observation

# Who receives the WAL of this server. What tells a standby: it replays. A backup (pg_basebackup), an archive
# (pg_receivewal) and one that was never asked to replay say nothing there (seen with 15); a logical subscriber does,
# and is known by its slot. Takes no lock; sync_state and setting decide whether a COMMIT waits for replay.
SELECT_FOLLOWERS = """
SELECT coalesce(application_name, '') AS name, coalesce(host(client_addr), 'local socket') AS client,
       replay_lsn IS NOT NULL AND pid <> ALL (ARRAY(
           SELECT active_pid FROM pg_catalog.pg_replication_slots
            WHERE slot_type = 'logical' AND active_pid IS NOT NULL)) AS is_standby,
       sync_state IN ('sync', 'quorum') AND current_setting('synchronous_commit') = 'remote_apply' AS awaited
  FROM pg_catalog.pg_stat_replication
 ORDER BY application_name, client_addr
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """One receiver of the primary's WAL, as pg_stat_replication shows it."""

    name: str         # application_name of its connection
    client: str
    is_standby: bool  # no backup, no archive, no logical subscriber
    awaited: bool     # a COMMIT of ours waits until it has replayed it (synchronous_commit = remote_apply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One listed standby as it was before the outage."""

    label: str
    observation: Observation
    verdict: sessions.Verdict
    behind: str                      # why it has not caught up in time; empty where it has
    replayed_seconds: float | None   # after which it had what the primary had written; None: not in time


async def followers(primary: Node) -> tuple[Follower, ...]:
    """Who receives the primary's WAL at the moment."""
    return tuple(Follower(**row) for row in (await primary.execute(SELECT_FOLLOWERS)).rows)


def judge(seen: Seen, *, primary: str, lineage: Lineage, serve_reads: bool, kick_all: bool) -> list[str]:
    """Reasons in one standby not to begin, as complete sentences."""
    at, it = seen.label, seen.observation
    if not it.lineage.in_recovery:
        return [f"{at} is listed under replicas and is no standby, it takes writes: take it off the list, or find out"
                f" why it was promoted beside {primary}"]
    if it.lineage.system_identifier != lineage.system_identifier:
        return [f"{at} is a standby of another server than {primary}: correct replicas"]
    if it.timeline is None:
        return [f"the standby {at} receives nothing: mend its connection to {primary}, or take it off the list"]
    if it.timeline != lineage.timeline:
        return [f"the standby {at} follows timeline {it.timeline} while {primary} is on {lineage.timeline}: it follows"
                " an old primary"]
    if it.replay_state != NOT_PAUSED:
        return [f"replay is paused on the standby {at}: python -m downtime reopen --environment NAME, if a dead"
                " deployment has done it; else SELECT pg_wal_replay_resume() there"]
    return [*_in_its_state(seen, serve_reads=serve_reads),
            *_in_its_sessions(seen, kick_all=kick_all, serve_reads=serve_reads)]


def _in_its_state(seen: Seen, *, serve_reads: bool) -> list[str]:
    reasons = []
    if serve_reads and not seen.observation.may_pause:
        reasons.append(f"this role may not pause replay on {seen.label}: run the SQL that `python -m downtime install`"
                       " prints as a superuser on the primary, or set serve_reads to false")
    if seen.behind:
        delay = seen.observation.delay
        reasons.append(f"the standby {seen.label} is too far behind: {seen.behind}"
                       + (f"; recovery_min_apply_delay is {delay} there" if delay != "0" else ""))
    return reasons


def _in_its_sessions(seen: Seen, *, serve_reads: bool, kick_all: bool) -> list[str]:
    if serve_reads:
        return []  # they go on throughout
    reasons = []
    if seen.verdict.fragile:
        reasons.append(f"a fragile user is in the middle of a transaction on the standby {seen.label}: "
                       + sessions.listing(seen.verdict.fragile))
    if kick_all and seen.verdict.unkickable:
        reasons.append(f"sessions of superusers on the standby {seen.label} cannot be kicked by this role: "
                       f"{sessions.listing(seen.verdict.unkickable)}: end them, or list their users under users.spared")
    return reasons


def awaited(found: Sequence[Follower], *, serve_reads: bool) -> list[str]:
    """The reason not to pause replay: the COMMIT would wait for it."""
    names = ", ".join(escaped(each.name) for each in found if each.awaited)
    if not serve_reads or not names:
        return []
    return [f"serve_reads cannot be: synchronous_commit is remote_apply, so that every COMMIT waits until {names} has"
            " replayed it, and replay would be paused: ALTER ROLE … SET synchronous_commit = on for this role"]


def warnings(found: Sequence[Follower], listed: Sequence[Observation]) -> tuple[str, ...]:
    """Standbys of the primary that the settings do not list, and what else receives its WAL."""
    known = Counter(each.name for each in listed)
    lines = []
    for each in found:
        if not each.is_standby:
            continue
        if known[each.name] > 0:
            known[each.name] -= 1
            continue
        lines.append(f"warning: the standby “{escaped(each.name)}” ({each.client}) is not listed under replicas: the"
                     " gate closes there, too, for new clients; nobody is kicked there and nobody waits for it")
    others = sorted({escaped(each.name) for each in found if not each.is_standby})
    if others:
        lines.append(f"no standbys but backups, archives or subscribers: {', '.join(others)}")
    return tuple(lines)
