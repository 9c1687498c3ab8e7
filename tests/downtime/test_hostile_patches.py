"""Patches that would break the deployment itself: refused or survived, told with file and line, and gone after it."""

from __future__ import annotations

import pytest

from demo.faults.patches import PATCHES, Fate, HostilePatch
from downtime import errors, patches, statements
from downtime.apply import Deployment
from downtime.ledger import Origin
from downtime.live import LiveApplication
from downtime.outage import Outage
from downtime.patches import Lane
from downtime.settings.sections import Live, Patches
from tests.builders import a_deployment, no_objections
from tests.databases import Database
from tests.downtime.outages import some_rules

PATH = "db/patch-1.sql"


def examined(hostile: HostilePatch) -> Deployment:
    """The patch as a landing brings it. Raises PatchRefused."""
    inventory = patches.inventory({PATH: hostile.content}, Patches(directory="db"), not_schema=(), commit="c" * 40)
    (patch,) = inventory.patches
    return Deployment(patch=patch, statements=statements.examine(patch), origin=Origin())


async def applied(database: Database, deployment: Deployment) -> None:
    """Applied as in a deployment, gate `hold` in the cold lane. Raises what the deployment fails with."""
    if deployment.patch.lane is Lane.LIVE:
        await LiveApplication(database.target, deployment, progress=lambda line: None, rules=Live()).run(no_objections)
        return
    outage = Outage(database.target, deployment, some_rules())
    try:
        await outage.prepare(no_objections)
        report = await outage.run()
    finally:
        await outage.close()
    if report.error is not None:
        raise report.error


def of(*fates: Fate) -> pytest.MarkDecorator:
    chosen = [each for each in PATCHES if each.fate in fates]
    return pytest.mark.parametrize("hostile", chosen, ids=[each.name for each in chosen])


def ledger_of(database: Database) -> list[tuple[object, ...]]:
    return database.admin_sql("SELECT id, lane, database_role FROM fastdowntime.ledger ORDER BY finished_at")


@of(Fate.REFUSED)
def test_it_is_refused_with_file_and_line(hostile: HostilePatch) -> None:
    """By whoever judges the landing, before anything is sent to a server."""
    with pytest.raises(statements.PatchRefused) as caught:
        examined(hostile)

    assert hostile.verdict(PATH) in str(caught.value)
    assert len(str(caught.value)) < 1000


@of(Fate.FAILS)
async def test_it_fails_with_file_and_line_and_leaves_nothing(database: Database, hostile: HostilePatch) -> None:
    """The server, or we, say no in the middle; patch and ledger row are rolled back."""
    with pytest.raises(errors.DowntimeError) as caught:
        await applied(database, examined(hostile))

    print(caught.value)
    assert hostile.verdict(PATH) in str(caught.value)
    assert len(str(caught.value)) < 3000
    assert ledger_of(database) == []
    if hostile.lane is Lane.COLD:
        assert database.admin_sql("SELECT to_regclass('hostile'), to_regproc('hostile')") == [(None, None)]


@of(Fate.SURVIVES)
@pytest.mark.deadline(seconds=120)
async def test_it_survives_and_the_next_one_does_not_notice(database: Database, hostile: HostilePatch) -> None:
    """In the ledger under the role that logged in, and the patch behind it is applied as if it had not been."""
    await applied(database, examined(hostile))
    await applied(database, a_deployment(sql="CREATE TABLE harmless (id int);", patch_id="patch-2"))

    assert ledger_of(database) == [("patch-1", hostile.lane, "patcher"), ("patch-2", "cold", "patcher")]
    assert database.admin_sql("SELECT tableowner::text, schemaname::text FROM pg_tables WHERE tablename = 'harmless'"
                              ) == [("patcher", "public")]
