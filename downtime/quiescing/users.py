"""Whether database users have sessions left: for tasks that are quiet when theirs are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from downtime import deployment_lock, errors
from downtime.printable import quoted
from downtime.target import Target

APPLICATION = "fastdowntime asking for sessions"
SECONDS = 5.0  # for the answer; it takes 1 ms

# Sessions of these users in this database, by user. Takes no lock; names are seen without any privilege.
SELECT_SESSIONS = """
SELECT usename AS "user", count(*)::int AS sessions
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = ANY (%s)
 GROUP BY usename
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Their sessions, as far as the databases could be asked."""

    sessions: Counter[str] = field(default_factory=Counter)
    not_asked: str = ""  # why a database could not be

    def of(self, users: Collection[str]) -> str:
        """What speaks against being quiet, or an empty text. What cannot be seen does."""
        if users and self.not_asked:
            return self.not_asked
        return ", ".join(f"{quoted(user)} has {self.sessions[user]} session{'s' if self.sessions[user] > 1 else ''}"
                         for user in sorted(users) if self.sessions[user])


async def find(users: Collection[str], targets: Sequence[Target], *, reactor: Any) -> Found:
    """The sessions of these users in all these databases."""
    found: Counter[str] = Counter()
    try:
        for target in targets if users else ():
            found.update(await _sessions(users, target, reactor=reactor))
    except (errors.NodeError, deployment_lock.DeploymentUnderWay) as error:
        return Found(not_asked=str(error).splitlines()[0])
    return Found(sessions=found)


async def _sessions(users: Collection[str], target: Target, *, reactor: Any) -> Counter[str]:
    node = await deployment_lock.session(target, application_name=APPLICATION, reactor=reactor)
    try:
        rows = (await node.execute(SELECT_SESSIONS, (sorted(users),), deadline_seconds=SECONDS)).rows
    finally:
        node.close()
    return Counter({row["user"]: row["sessions"] for row in rows})
