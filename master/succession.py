"""What the next leader puts in order behind the last one, before it begins to work.

Buildbot itself gives a master up after ten minutes of silence. Then it ends its builds and sets its schedulers free,
but the requests it had claimed stay claimed for ever: `unclaimBuildRequests` takes away claims of the very master
that calls it (Buildbot 4.3.0, `db/buildrequests.py`). So both are done here, at once.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.logger import Logger

from steps.shared.names import ServiceName

LOG = Logger()


async def clear_up(master: Any, last: int | None) -> None:
    """`last`: the id of the master that led before; its builds have ended, and what they were about is free again."""
    if last is not None and last != master.masterid:
        found = await master.data.get(("masters", last))
        if found is not None:
            LOG.info("clearing up behind the buildmaster {name}", name=found["name"])
            await master.data.updates.masterStopped(name=found["name"], masterid=last)
        await _free_requests_of(master, last)
    await master.service_manager.namedServices[ServiceName.JOURNAL].catch_up()


async def _free_requests_of(master: Any, masterid: int) -> None:
    requests, claims = master.db.model.buildrequests, master.db.model.buildrequest_claims
    open_ones = sa.select(requests.c.id).where(requests.c.complete == 0)

    def free(connection: Any) -> None:
        connection.execute(claims.delete().where(claims.c.masterid == masterid, claims.c.brid.in_(open_ones)))
        connection.commit()

    await master.db.pool.do(free)
