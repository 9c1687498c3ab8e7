"""Clients that stand in the way of a deployment: many, arriving, flapping, or not to be ended."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg2

from demo import application
from demo.companions import Clients
from demo.faults.circumstances import applied, deploy, deploy_watched, refused, see_through, server, settings, until
from demo.faults.moments import IS_CLOSED, Moment, reach
from demo.faults.rows import Finding, expect_whole
from demo.faults.sample import TAKE_BACK
from demo.faults.world import World
from demo.flapping import TABLE, flapping
from demo.sandbox import DATABASE

RECONNECTING_CLIENTS = 50
ARRIVING_CLIENTS = 6
START_UP_SECONDS = 1       # of every client, where arriving is made slow
STAY_SECONDS = 0.3         # of an arriving client that gets in: long enough to be seen
FLAPPING_SCRIPTS = 1       # more are never all idle at the same time,
FLAPPING_PAUSE_SECONDS = 0.06  # nor is one without pauses
FLAPPING_APPLIED = 2       # so many deployments must go in,
FLAPPING_DEPLOYMENTS = 12  # of so many at most
FROZEN_LIMIT_SECONDS = 4   # of the outage in which a session does not die


def reconnecting(world: World) -> Finding:
    clients = Clients(world.sandbox.dsn(application.APPLICATION), world.sandbox.dsn(application.FRAGILE),
                      reconnecting=RECONNECTING_CLIENTS)
    try:
        until(lambda: clients.report()["queries"] > RECONNECTING_CLIENTS, "the clients to come and go")
        finding = applied(world, deploy_watched(world))
        answered = clients.report()["queries"]
        until(lambda: clients.report()["queries"] > answered, "the clients to be served again")
        refusals = {state for state in clients.report()["errors"] if state == "55000"}
    finally:
        clients.stop()
    finding.expect(world.gate == "refuse" or not refusals, f"clients were refused, though they should wait: {refusals}")
    return finding


def arriving(world: World) -> Finding:
    """A client that passed the gate as it closed is in no list of sessions until its start-up has ended."""
    over = threading.Event()
    clients = [threading.Thread(target=_come_and_go, args=(world, over)) for _ in range(ARRIVING_CLIENTS)]
    world.set_pace(2 * START_UP_SECONDS)
    build = reach(world, Moment.QUIESCED)
    with server(world, restart=False, post_auth_delay=str(START_UP_SECONDS)):
        try:
            for client in clients:
                client.start()
                time.sleep(START_UP_SECONDS / ARRIVING_CLIENTS)  # so that some are arriving at any time
            world.hold_quiescing.unlink()
            return applied(world, see_through(world, build))
        finally:
            over.set()
            for client in clients:
                client.join()


def _come_and_go(world: World, over: threading.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(psycopg2.OperationalError):
            with contextlib.closing(psycopg2.connect(world.sandbox.dsn(application.APPLICATION))):
                over.wait(STAY_SECONDS)
            continue
        over.wait(0.01)


def fragile_flapping(world: World) -> Finding:
    """Some deployments go in and some are refused; that none of the script's work is lost is what counts."""
    world.production.admin_sql(f"SET ROLE {application.PATCHER}; {TABLE}", database=DATABASE)
    finding = Finding()
    outcomes: list[str] = []
    try:
        with flapping(world.sandbox.dsn(application.FRAGILE), scripts=FLAPPING_SCRIPTS,
                      pause_seconds=FLAPPING_PAUSE_SECONDS) as tally:
            while outcomes.count("success") < FLAPPING_APPLIED and len(outcomes) < FLAPPING_DEPLOYMENTS:
                outcomes.append(_deploy_beside_fragile(world, finding))
    finally:
        world.production.admin_sql("DROP TABLE flapping", database=DATABASE)
    finding.said = (f"{outcomes.count('success')} of {len(outcomes)} deployments applied; of {tally.transactions}"
                    f" transactions {tally.harmed} harmed, {tally.cut_begun} cut behind their BEGIN,"
                    f" {tally.unanswered} committed without an answer")
    finding.expect(tally.harmed == 0, f"transactions of a fragile user were harmed: {tally}")
    finding.expect("success" in outcomes, "no deployment went in: it is not shown that the script is safe from one")
    finding.expect(tally.transactions > 0, "the fragile user did nothing")
    return finding


def _deploy_beside_fragile(world: World, finding: Finding) -> str:
    """One deployment, taken back; what came of it."""
    build = deploy(world)
    finding.expect(build.good or "a fragile user is in the middle of a transaction" in world.story_of(build),
                   f"neither applied nor refused for the fragile user:\n{world.story_of(build)}")
    expect_whole(finding, world, applied=build.good)
    world.production.admin_sql(TAKE_BACK, database=DATABASE)
    return build.outcome


def does_not_die(world: World) -> Finding:
    with settings(world, outage_limit_seconds=FROZEN_LIMIT_SECONDS):
        build = reach(world, Moment.KICKING)
        until(lambda: world.onlooker_sees(IS_CLOSED[world.gate]), "the gate to close")
        outcome = see_through(world, build)
        limit = f"the limit of {FROZEN_LIMIT_SECONDS} s has passed; it was waiting for pid"
        finding = refused(world, outcome.build, limit, untouched=False)
    finding.seconds = outcome.seconds
    return finding
