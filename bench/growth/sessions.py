"""What kicking costs as the sessions grow, beside a bare statement that does nothing else, in turns on one server.

The sessions are idle, have run a query, and do not come back: what clients do when they are cut is no cost of the kick.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.database import Database, a_database
from bench.deployer import Deployer
from bench.figures import MILLISECONDS, Curve, Section, Verdict, linear_or_better, spread, table
from bench.setup import Setup
from demo import application
from demo.companions import CompanionError
from downtime.phases import Phase

SIZES = (10, 30, 100, 300, 1000)
QUICK_SIZES = (10, 100)
OTHERS = 50              # connections that are none of the sessions: ours, and those of dying ones
AT_ONCE = 4              # that connect; more only wait for each other
MOST_ROUNDS_OF_LARGEST = 3  # filling a server with a thousand sessions takes longer than all that is measured
RATIO_GOAL = 1.15        # of the bare kick with most sessions
QUERY = "SELECT id, name, balance FROM account WHERE name = 'account 7' ORDER BY id"

# What an operator would type: end them all, and return when the last one is gone. The pause costs the dying least among
# those that were tried (1 ms, 5 ms, 20 ms: no difference that stands out of the noise).
BARE_KICK = f"""
DO $$ BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{application.APPLICATION}';
    WHILE EXISTS (SELECT FROM pg_stat_activity WHERE usename = '{application.APPLICATION}') LOOP
        PERFORM pg_sleep(0.005);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END $$
"""


@dataclass(slots=True, kw_only=True)
class Kicks:
    """Of so many sessions: seconds, round by round."""

    sessions: int
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    check: list[float] = field(default_factory=list)   # our look before the kick
    outage: list[float] = field(default_factory=list)  # ours, from closing to opening

    @property
    def ratio(self) -> float:
        """Our median as a part of the bare one's."""
        return statistics.median(self.ours) / statistics.median(self.bare)


def measure(setup: Setup) -> Section:
    """The kick phase of our outage beside the bare statement. Raises ServerError, CompanionError."""
    sizes = QUICK_SIZES if setup.quick else SIZES
    with a_database(setup.folder / "server", settings={"max_connections": str(sizes[-1] + OTHERS)}) as database:
        deployer = Deployer(database.target, gate="hold")
        try:
            kicks = [Kicks(sessions=size) for size in sizes]
            for each in kicks:
                rounds = min(setup.rounds, MOST_ROUNDS_OF_LARGEST) if each is kicks[-1] else setup.rounds
                for number in range(rounds):
                    a_round(database, deployer, each, ours_first=number % 2 == 0)
                setup.tell(f"{each.sessions} sessions: {each.ratio:.2f} of the bare kick")
        finally:
            deployer.stop()
    return section(kicks)


def a_round(database: Database, deployer: Deployer, kicks: Kicks, *, ours_first: bool) -> None:
    """Both, each with sessions of its own. Raises CompanionError where the figures would be of fewer."""
    for ours in (ours_first, not ours_first):
        with connected(database, kicks.sessions):
            if ours:
                deployed = deployer.deploy()
                if deployed.kicked < kicks.sessions:
                    raise CompanionError(f"only {deployed.kicked} of {kicks.sessions} sessions were there to be kicked")
                kicks.ours.append(deployed.phases[Phase.KICK])
                kicks.check.append(deployed.phases[Phase.CHECK])
                kicks.outage.append(deployed.outage_seconds)
            else:
                kicks.bare.append(bare_kick(database))


@contextmanager
def connected(database: Database, number: int) -> Iterator[None]:
    """So many idle sessions; their ends of the connections are closed behind the block."""
    with ThreadPoolExecutor(AT_ONCE) as several:
        sessions = list(several.map(lambda _: _a_session(database), range(number)))
    try:
        yield
    finally:
        for session in sessions:
            session.close()


def _a_session(database: Database) -> Any:
    session = database.connect()
    with session.cursor() as cursor:
        cursor.execute(QUERY)
    return session


def bare_kick(database: Database) -> float:
    """Seconds of the one statement, as the same role."""
    session = database.connect(application.PATCHER)
    try:
        with session.cursor() as cursor:
            began = time.monotonic()
            cursor.execute(BARE_KICK)
            return time.monotonic() - began
    finally:
        session.close()


def section(kicks: list[Kicks]) -> Section:
    """The figures; pure."""
    most = kicks[-1]
    curves = tuple(Curve(title=title, size="sessions", unit="ms", points=tuple(
        (each.sessions, statistics.median(getattr(each, name)) * MILLISECONDS) for each in kicks))
        for title, name in (("our kick", "ours"), ("the bare kick", "bare")))
    rows = [[str(each.sessions), *(spread([seconds * MILLISECONDS for seconds in figures]) for figures in (
        each.bare, each.ours, each.check, each.outage)), f"{each.ratio:.2f}"] for each in kicks]
    return Section(
        title="Kicking sessions", curves=curves,
        text="\n\n".join([
            table(["sessions", "bare kick, ms", "our kick, ms", "our check before it, ms", "our whole outage, ms",
                   "our kick as a part of the bare one"], rows),
            "Median (quartiles), in turns on one server, gate `hold`, kick `all`, a trivial patch. Each begins with"
            " sessions of its own, idle, that have run a query and do not come back. The bare kick is one statement of"
            " the same role that ends them and returns when the last one is gone; ours is the phase of the outage by"
            f" its own account, to the last session gone as well; both look every few milliseconds. {most.sessions:,}"
            f" sessions: {len(most.ours)} rounds, fewer: {len(kicks[0].ours)}."]),
        verdicts=(
            Verdict(goal=f"kicking {most.sessions:,} sessions, as a part of the bare single-statement kick",
                    measured=most.ratio, limit=RATIO_GOAL),
            linear_or_better("our kick, between the two largest numbers of sessions", curves[0].last_exponent)))
