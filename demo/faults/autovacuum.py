"""The server's own housekeeping at work on the patched table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from demo.faults.circumstances import applied, deploy_watched, refused, until
from demo.faults.rows import Finding
from demo.faults.sample import PATCH
from demo.faults.vacuuming import slow_autovacuum
from demo.faults.world import World
from demo.sandbox import DATABASE


def ordinary(world: World) -> Finding:
    with _at_work(world, against_wraparound=False):
        return applied(world, deploy_watched(world))


def against_wraparound(world: World) -> Finding:
    with _at_work(world, against_wraparound=True):
        outcome = deploy_watched(world)
        finding = refused(world, outcome.build, f"{PATCH}.sql, line 3", "autovacuum to prevent wraparound",
                          "public.account", untouched=False)
    finding.seconds = outcome.seconds
    return finding


@contextlib.contextmanager
def _at_work(world: World, *, against_wraparound: bool) -> Iterator[None]:
    world.watch()
    with slow_autovacuum(world.production, DATABASE, against_wraparound=against_wraparound) as at_work:
        until(lambda: world.onlooker_sees(at_work), "an autovacuum worker at work")
        yield
