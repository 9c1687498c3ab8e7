"""What is done before a database is closed, and not while it is."""

from __future__ import annotations

import json
from datetime import datetime

from buildbot.process.results import SUCCESS

from downtime.history.events import Closed
from steps.shared.names import BuilderName, ServiceName
from tests.steps import runbook


class PreventConnections(runbook.ARunbook):
    """On a real master with real databases."""

    async def test_the_journal_has_written_that_it_closes_before_it_closes(self) -> None:
        """Writing takes the reactor 5 ms at a time, which was part of every outage."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        build = await self.ended(build)
        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        journal = self.master.service_manager.namedServices[ServiceName.JOURNAL]
        (closed,) = [event for event in journal.events() if isinstance(event, Closed)]
        kept = await self.master.data.get(("builds", build["buildid"], "data", "outage", "value"))
        self.assertLess(closed.at, datetime.fromisoformat(json.loads(kept["raw"])["started_at"]))
