"""What a buildmaster adds to an outage: ours through Buildbot and from the command line, in turns on one database."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bench.contenders import finish, running
from bench.figures import MILLISECONDS, Section, Verdict, number, spread, table
from bench.growth.site import Site, a_site
from bench.setup import Setup
from demo import application
from demo.companions import Clients, CompanionError, Probe
from demo.processes import without_postgres_variables
from demo.sandbox import Sandbox
from demo.web import Web, wait
from downtime.probing import Report

TITLE = "Through Buildbot and from the command line"
BUILDBOT, COMMAND_LINE = "through Buildbot", "from the command line"
PATCH = "-- apply: cold\nALTER TABLE account ALTER COLUMN balance SET DEFAULT {number};\n"
IDLE_CLIENTS = 20
LOOK_SECONDS = 0.02  # how often the prober reports; each costs it 0.1 ms
AFTER_SECONDS = 0.1  # an outage that a client sees lasts until it has logged in
STOPPED_SECONDS = 30.0
GOAL_MS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One outage, in seconds."""

    client: float  # as the prober saw it
    own: float     # by the deployer's own account
    patch: float   # the patch's statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """All outages of one way to deploy."""

    name: str
    outages: list[Seen] = field(default_factory=list)

    @property
    def beyond_ms(self) -> list[float]:
        """What a client saw beyond the patch."""
        return [(each.client - each.patch) * MILLISECONDS for each in self.outages]

    @property
    def own_beyond_ms(self) -> list[float]:
        return [(each.own - each.patch) * MILLISECONDS for each in self.outages]


class Witness:
    """A prober that is asked so often that an outage is told from whatever else has kept it waiting: two processors are
    few for a prober, a server and a buildmaster that begins to write its logs when all is over."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._reports: list[Report] = []
        self._failure: CompanionError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def seen(self, account: Mapping[str, Any]) -> Seen:
        """The longest gap that may have begun before the database was open again, as its deployer says. Raises
        CompanionError."""
        began = datetime.fromisoformat(account["started_at"])
        ended = began + timedelta(seconds=account["outage_seconds"])
        while not self._reports or self._reports[-1].until_at < ended + timedelta(seconds=AFTER_SECONDS):
            if self._failure is not None:
                raise self._failure
            time.sleep(LOOK_SECONDS)
        gaps = [each.outage_seconds for each in self._reports
                if each.until_at >= began and each.since_at - timedelta(seconds=each.outage_seconds) <= ended]
        return Seen(client=max(gaps), own=account["outage_seconds"], patch=account["patch_seconds"])

    @property
    def resolution_seconds(self) -> float:
        """What the prober sees from one connection to the next, most of the time."""
        return statistics.median(each.resolution_seconds for each in self._reports)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        try:
            while not self._ended.wait(LOOK_SECONDS):
                self._reports.append(self._probe.report())
        except CompanionError as error:
            self._failure = error


def measure(setup: Setup) -> Section:
    """The part "buildbot". Raises what a sandbox, its master or a deployment fails with."""
    rounds = 1 if setup.quick else 3 * setup.rounds  # the difference is small beside what a busy machine does
    ways = Way(name=BUILDBOT), Way(name=COMMAND_LINE)
    with a_site(setup.folder) as site:
        site.start()
        names = [f"patch-9000-{number:03}-0" for number in range(2 * rounds)]
        site.judged(site.land({name: PATCH.format(number=place) for place, name in enumerate(names)}))
        setup.tell(f"{len(names)} patches are rehearsed")
        with _witnessed(site.sandbox) as witness:
            for place, name in enumerate(names):
                way, deploy = _turn(place, ways)
                way.outages.append(witness.seen(deploy(site, name)))
                setup.tell(f"{way.name}: {way.beyond_ms[-1]:.1f} ms beyond the patch, by its own account"
                           f" {way.own_beyond_ms[-1]:.1f} ms")
            resolution_seconds = witness.resolution_seconds
    return section(ways, resolution_seconds)


def section(ways: Sequence[Way], resolution_seconds: float) -> Section:
    """What was measured, for the report. Pure."""
    rows = [[each.name, spread(each.beyond_ms), spread(each.own_beyond_ms)] for each in ways]
    medians = {each.name: statistics.median(each.beyond_ms) for each in ways}
    verdict = Verdict(goal="outage − patch through Buildbot, beyond that from the command line",
                      measured=medians[BUILDBOT] - medians[COMMAND_LINE], limit=GOAL_MS, unit="ms")
    return Section(title=TITLE, verdicts=(verdict,), text=f"""\
Gate `hold`, kick `all`, a trivial patch, {IDLE_CLIENTS} idle clients: approved by the button of a buildmaster, and by \
`python -m downtime apply`, in turns on one database, {len(ways[0].outages)} each.
The buildmaster runs meanwhile in either case.

{table(["", "outage − patch, ms", "by the deployer's own account, ms"], rows)}

Median (quartiles) of the longest time around the outage in which the prober got no new connection, minus the patch.
Where nothing happens it waits about {number(resolution_seconds * MILLISECONDS)} ms from one connection to the next, \
which is in both figures.""")


def _turn(place: int, ways: tuple[Way, Way]) -> tuple[Way, Callable[[Site, str], Mapping[str, Any]]]:
    """Who deploys the patch in this place: by pairs, each pair begun by the other one."""
    through_buildbot = place % 4 in (0, 3)
    return (ways[0], _by_button) if through_buildbot else (ways[1], _by_command)


def _by_button(site: Site, name: str) -> Mapping[str, Any]:
    """Approve what waits; the deployer's account of it."""
    site.approve(site.waiting(name))
    return site.data(site.deployed(name).id, "outage")


def _by_command(site: Site, name: str) -> Mapping[str, Any]:
    """The same, after the build that waits for the approval was stopped."""
    _stop(site, site.waiting(name).build_id)
    command = [sys.executable, "-m", "downtime", "--settings", str(site.sandbox.settings), "--json", "apply", name,
               "--environment", "production", "--yes", "--no-probe"]
    with running(command, without_postgres_variables()) as process:
        return dict(json.loads(finish(process)))


def _stop(site: Site, build_id: int) -> None:
    sandbox = site.sandbox
    operator = Web.signed_in(sandbox.address, "operator", sandbox.passwords["operator"])
    operator.call(f"builds/{build_id}", "stop", reason="deployed from the command line")
    wait(lambda: operator.get(f"builds/{build_id}")["builds"][0]["complete"] or None, STOPPED_SECONDS,
         f"build {build_id} to stop")


@contextlib.contextmanager
def _witnessed(sandbox: Sandbox) -> Iterator[Witness]:
    """A prober of production, and some clients for it to be kicked with."""
    dsn = sandbox.dsn(application.APPLICATION)
    clients = Clients(dsn, dsn, idle=IDLE_CLIENTS)
    try:
        probe = Probe(sandbox.target(application.APPLICATION))
        try:
            witness = Witness(probe)
            try:
                yield witness
            finally:
                witness.end()
        finally:
            probe.stop()
    finally:
        clients.stop()
