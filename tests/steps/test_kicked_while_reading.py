"""An outage ends everybody's sessions, also those in which other builds of ours are just reading the ledger."""

from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet.defer import Deferred

from steps.shared.names import BuilderName
from steps.shared.results import SUCCESS
from tests.steps.runbook import PATCH, ARunbook

READING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
AND application_name = 'fastdowntime reading the ledger' AND wait_event_type = 'Lock'
"""


class DecidingInAnOutage(ARunbook):
    """Somebody approves a patch in the very moment in which the outage of another one begins."""

    async def test_a_decision_is_not_lost_with_the_session_that_it_reads_in(self) -> None:
        """It was refused as "connection lost", and whatever was approved behind it with it: nobody had been told."""

        await self.start()
        self.repository.land({PATCH: "ALTER TABLE account ADD COLUMN note text;"}, "one")
        await self.poll()
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        holder = psycopg2.connect(self.production.superuser_dsn)
        holder.cursor().execute("LOCK TABLE fastdowntime.ledger IN ACCESS EXCLUSIVE MODE")
        deciding = Deferred.fromCoroutine(self.decide(build))

        async def kicked() -> dict[str, Any] | None:
            return {"pids": found} if (found := self.production.admin_sql(READING)) else None

        await self.until(kicked, "the decision to read the ledger")
        holder.close()
        self.assertEqual((await deciding)["results"], SUCCESS)
        await self.ended(build)
        self.assertIn("note", self.columns(self.production))
