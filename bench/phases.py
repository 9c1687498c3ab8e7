"""Where the critical section spends its time, phase by phase, beside the same statements in one round trip."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.contenders import ContestError
from bench.database import Database, a_database
from bench.figures import MILLISECONDS, Section, number, spread, table
from bench.setup import Setup
from bench.stopwatch import Spent
from demo import application
from demo.companions import Clients, Companion
from downtime.phases import Phase

SIZES, QUICK_SIZES = (0, 200), (0, 30)  # idle clients, which come back when they are cut
VARIANTS = ("hold all", "hold transactions", "refuse all")
FLOOR = "floor"
CONNECTIONS = 400        # that a cut client's backend and its next one may have at once
BACK_SECONDS = 30.0      # for all clients to be back
LOOK_EVERY_SECONDS = 0.05
HEAD = ("", "ms", "round trips", "waiting for the server, ms", "our processor, ms", "of it the log, ms")

SELECT_IDLE = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'idle'"

Rounds = Sequence[Mapping[str, Spent]]  # of each round: what each phase has spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All rounds with so many clients, by variant; the floor is one of them."""

    clients: int
    rounds: dict[str, list[dict[str, Spent]]] = field(
        default_factory=lambda: {each: [] for each in (*VARIANTS, FLOOR)})


def measure(setup: Setup) -> Section:
    """The part "phases". Raises CompanionError, ContestError or ServerError."""
    with a_database(setup.folder / "server", settings={"max_connections": str(CONNECTIONS)}) as database:
        deployer = Companion("bench.stopwatch", DEPLOYER_DSN=database.target.dsn,
                             PGPASSWORD=database.target.password or "")
        try:
            measured = [_with_clients(clients, database, deployer, setup)
                        for clients in (QUICK_SIZES if setup.quick else SIZES)]
        finally:
            deployer.stop()
    return section(measured)


def _with_clients(number: int, database: Database, deployer: Companion, setup: Setup) -> Measured:
    measured = Measured(clients=number)
    clients = Clients(database.dsn(), database.dsn(application.FRAGILE), idle=number)
    try:
        for turn in range(setup.rounds):
            for variant in _rotated((*VARIANTS, FLOOR), turn):
                _await_clients(number, database)
                answer = json.loads(deployer.ask(variant))
                measured.rounds[variant].append({name: Spent(**spent) for name, spent in answer.items()})
            setup.tell(f"{number} clients, round {turn + 1}: {_line(measured)}")
    finally:
        clients.stop()
    return measured


def _rotated(variants: Sequence[str], turn: int) -> Sequence[str]:
    first = turn % len(variants)
    return (*variants[first:], *variants[:first])


def _await_clients(number: int, database: Database) -> None:
    """Until all are connected, and at rest. Raises ContestError."""
    deadline = time.monotonic() + BACK_SECONDS
    while database.server.admin_sql(SELECT_IDLE, (application.APPLICATION,)) != [(number,)]:
        if time.monotonic() > deadline:
            raise ContestError(f"not all of {number} clients are back after {BACK_SECONDS:g} s")
        time.sleep(LOOK_EVERY_SECONDS)


def _line(measured: Measured) -> str:
    return ", ".join(f"{variant} {number(total(rounds[-1]).seconds * MILLISECONDS)} ms"
                     for variant, rounds in measured.rounds.items())


def section(measured: Sequence[Measured]) -> Section:
    """The figures; pure."""
    parts = [part for each in measured for part in (f"### {_clients(each.clients)}", _table(each))]
    rounds = len(measured[0].rounds[FLOOR])
    return Section(
        title="The critical section, phase by phase",
        text="\n\n".join([*parts, "\n".join([
            f"Median (quartiles) of {rounds} rounds in turns on one server, by the deployer's own account, a trivial"
            " patch included; means are not added up, so a total is not the sum of what stands above it. Clients are"
            " idle and come back at once when they are cut. One execute is one round trip; the server is waited for"
            " while at least one is not answered. What remains of a phase beside the server and our processor is a"
            " pause between two looks, or another process's turn. One round trip (`bench/peers/floor.py`) is as a"
            " program sees it that waits in libpq. The clock reads microseconds.", _overhead(measured)])]))


def _clients(number: int) -> str:
    return f"{number} idle clients" if number else "No clients"


def _table(measured: Measured) -> str:
    rows = []
    for variant in VARIANTS:
        gate, kick = variant.split()
        rounds = measured.rounds[variant]
        rows += [_row(f"`{gate}`, `{kick}`: {phase}", [each[phase] for each in rounds]) for phase in Phase]
        rows.append(_row(f"**`{gate}`, `{kick}`: in all**", [total(each) for each in rounds]))
    floor = [each[FLOOR].seconds * MILLISECONDS for each in measured.rounds[FLOOR]]
    rows.append(("**one round trip**", spread(floor), "1", "", "", ""))
    return table(HEAD, rows)


def _row(name: str, spent: Sequence[Spent]) -> tuple[str, ...]:
    return (name, spread([each.seconds * MILLISECONDS for each in spent]),
            number(statistics.median(each.round_trips for each in spent)),
            *(number(statistics.median(getattr(each, what) for each in spent) * MILLISECONDS)
              for what in ("server_seconds", "processor_seconds", "log_seconds")))


def total(phases: Mapping[str, Spent]) -> Spent:
    """Of all phases of one round."""
    return Spent(**{name: sum(getattr(each, name) for each in phases.values()) for name in Spent.__slots__})


def _overhead(measured: Sequence[Measured]) -> str:
    """Ours beside the floor, and what collecting garbage has cost at most."""
    parts = []
    for each in measured:
        ours, floor = (statistics.median(total(one).seconds for one in each.rounds[variant])
                       for variant in (VARIANTS[0], FLOOR))
        parts.append(f"{number(ours / floor)} times the one round trip with {_clients(each.clients).lower()}")
    longest = max(total(one).collecting_seconds for each in measured for variant in VARIANTS
                  for one in each.rounds[variant])
    return (f"`hold`, `all` in all: {' and '.join(parts)}. Collecting garbage took"
            f" {number(longest * MILLISECONDS)} ms of a section at most.")
