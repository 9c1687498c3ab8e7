"""Behind PgBouncer: what hundreds of clients see of a downtime there, ours beside what operators do without it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.contenders import PEERS, Arena, CommandLine, Contender, Patch, Script, as_superuser, finish, running
from bench.contest import total
from bench.figures import MILLISECONDS, Section, Verdict, number, spread, table
from bench.front import Front, Seen, a_front
from bench.setup import Setup
from demo.installations import ServerError
from demo.pgbouncer import PgBouncer, program
from demo.sandbox import DATABASE, Sandbox
from demo.servers import LOOPBACK, SUPERUSER

TITLE = "Behind PgBouncer"
CLIENTS, DIRECT = 500, 20
QUICK_CLIENTS, QUICK_DIRECT = 100, 5
SLEEPS_SECONDS = 2.0
GOAL_MS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTheConsole:
    """DISABLE and KILL at the pooler, the patch with psql, RESUME and ENABLE."""

    pooler: PgBouncer
    name: str = "(d) DISABLE and KILL at the pooler"

    def deploy(self, arena: Arena, patch: Patch) -> None:
        sandbox = arena.sandbox
        command = ["sh", str(PEERS / "pgbouncer_disable.sh"), DATABASE, str(patch.write(sandbox.folder)),
                   self.pooler.console_dsn()]
        environment = {**as_superuser(sandbox), "PGPASSFILE": str(self._passwords(sandbox))}
        del environment["PGPASSWORD"]
        arena.begins()
        with running(command, environment) as process:
            finish(process)

    def _passwords(self, sandbox: Sandbox) -> Path:
        """Of the server's superuser, and of the pooler's administrator."""
        server, path = sandbox.servers["production"], sandbox.folder / "secrets" / "pgpass"
        path.touch(mode=0o600)
        path.write_text(f"{LOOPBACK}:{server.port}:*:{SUPERUSER}:{server.superuser_password}\n"
                        f"{LOOPBACK}:{self.pooler.port}:*:*:{self.pooler.password_of()}\n")
        return path


@dataclass(frozen=True, kw_only=True)
class PoolerPaused(CommandLine):
    """Our command line, told of the pooler: that is paused first and resumed last."""

    poolers: Sequence[Mapping[str, Any]]  # as in the settings file

    @property
    def name(self) -> str:
        return f"{super().name}, pooler paused"

    def _settings(self, sandbox: Sandbox) -> Path:
        path = super()._settings(sandbox)
        settings = yaml.safe_load(path.read_text())
        settings["environments"]["production"]["poolers"] = list(self.poolers)
        path = path.with_stem(f"{path.stem}-pooler")
        path.write_text(yaml.safe_dump(settings))
        return path


@dataclass(frozen=True, kw_only=True)
class NotTold(CommandLine):
    """Our command line, which does not know that there is a pooler."""

    @property
    def name(self) -> str:
        return f"{super().name}, not told of the pooler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outing:
    """One contender's deployments of one kind of patch."""

    contender: Contender
    sleeps_seconds: float
    patch_seconds: float     # of the patch by itself
    seen: list[Seen] = field(default_factory=list)

    @property
    def beyond_ms(self) -> list[float]:
        """The longest call minus the patch, round by round."""
        return [(each.longest_call_seconds - self.patch_seconds) * MILLISECONDS for each in self.seen]

    @property
    def errors(self) -> Counter[str]:
        """Behind the pooler, of all rounds, by SQLSTATE."""
        return total(each.errors for each in self.seen)

    @property
    def direct(self) -> Counter[str]:
        """The same of those connected to the server itself."""
        return total(each.direct for each in self.seen)

    @property
    def patch(self) -> str:
        return f"patch of {self.sleeps_seconds:g} s" if self.sleeps_seconds else "trivial patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Who deploys how often."""

    contenders: tuple[Contender, ...]
    rounds: int
    sleeps_seconds: float = 0.0


def measure(setup: Setup) -> Section:
    """Needs PgBouncer; where there is none the section says so. Raises what a sandbox or a contender fails with."""
    try:
        program()
    except ServerError as error:
        return Section(title=TITLE, text=f"Not measured: {error}.")
    clients, direct = (QUICK_CLIENTS, QUICK_DIRECT) if setup.quick else (CLIENTS, DIRECT)
    with a_front(setup.folder / "demo", clients=clients, direct=direct) as front:
        usual = front.watch(lambda: None)
        outings = list(contest(front, heats(front, setup), setup))
    return Section(title=TITLE, text=text(outings, usual, clients=clients, direct=direct),
                   verdicts=tuple(verdicts(outings)))


def heats(front: Front, setup: Setup) -> list[Heat]:
    """After those of `slow` the pooler's clients may wait for 15 s: one round each."""
    all_kicked, some_kicked = (PoolerPaused(gate="hold", kick=kick, poolers=front.around.settings["poolers"])
                               for kick in ("all", "transactions"))
    by_hand = AtTheConsole(pooler=front.pooler)
    if setup.quick:
        return [Heat(contenders=(by_hand, all_kicked), rounds=1)]
    quick = (by_hand, all_kicked, some_kicked)
    slow = (Script(name="(a) shell runbook, at the server", file="runbook.sh"), NotTold(gate="hold", kick="all"))
    return [Heat(contenders=quick, rounds=max(2, setup.rounds - 1)), Heat(contenders=slow, rounds=1),
            Heat(contenders=quick, rounds=max(2, setup.rounds // 2), sleeps_seconds=SLEEPS_SECONDS),
            Heat(contenders=slow, rounds=1, sleeps_seconds=SLEEPS_SECONDS)]


def contest(front: Front, heats: Iterable[Heat], setup: Setup) -> Iterator[Outing]:
    """All in turns, each round begun by another one. Raises ContestError."""
    numbers = itertools.count(1)
    for heat in heats:
        alone = front.alone_seconds(Patch(number=0, sleeps_seconds=heat.sleeps_seconds))
        theirs = [Outing(contender=each, sleeps_seconds=heat.sleeps_seconds, patch_seconds=alone)
                  for each in heat.contenders]
        for turn in range(heat.rounds):
            for place in range(len(theirs)):
                outing = theirs[(place + turn) % len(theirs)]
                patch = Patch(number=next(numbers), sleeps_seconds=heat.sleeps_seconds)
                outing.seen.append(front.watch(partial(outing.contender.deploy, front, patch)))
                setup.tell(f"{outing.patch}, {outing.contender.name}: longest call {outing.beyond_ms[-1]:.0f} ms beyond"
                           f" it, errors {dict(outing.seen[-1].errors)}")
        yield from theirs


def verdicts(outings: Iterable[Outing]) -> Iterator[Verdict]:
    """Of ours where it knows of the pooler."""
    for each in outings:
        if isinstance(each.contender, PoolerPaused):
            what = f"behind PgBouncer, {each.patch}, `hold`, kick `{each.contender.kick}`"
            yield Verdict(goal=f"{what}: client errors", measured=float(each.errors.total()), limit=0)
            yield Verdict(goal=f"{what}: longest call beyond the patch", measured=median(each.beyond_ms), limit=GOAL_MS,
                          unit="ms")


def text(outings: Sequence[Outing], usual: Seen, *, clients: int, direct: int) -> str:
    rows = [[each.contender.name, each.patch, str(len(each.seen)), spread_of(each.beyond_ms),
             number(max(each.beyond_ms)), counted(each.errors), counted(each.direct)] for each in outings]
    head = ["contender", "", "rounds", "longest call beyond the patch, ms", "at most, ms", "client errors",
            "errors of direct clients"]
    return f"""\
{clients} clients behind PgBouncer (transaction pooling, 20 server connections) make a call a second each; {direct} \
others connect to the server itself for every call, five times a second.
A call's time runs from when a client wants its answer until it has it, with all attempts that fail on the way; who \
has failed tries again after 0.1 s.
Longest call: median (quartiles) of the rounds, the longest of them beside it; without a deployment it takes \
{number(usual.longest_call_seconds * MILLISECONDS)} ms, which is the resolution.
Errors are those of all rounds together, by SQLSTATE; 08006 is a connection that was cut, *OperationalError* a refusal \
by PgBouncer, of which clients are told no SQLSTATE.

{table(head, rows)}

* (d) is `bench/peers/pgbouncer_disable.sh`, with the patch by psql in between: cuts off who is behind the pooler, \
whatever they are doing, and keeps out nobody else.
* *Fast downtime* is ours from the command line. *Pooler paused*: the pooler is in the settings; *not told of the \
pooler*: it has been forgotten there.
* (a) is `bench/peers/runbook.sh`: the pooler's logins at the server are refused, and then it tries none for 15 s."""


def spread_of(values: Sequence[float]) -> str:
    """With its quartiles where there are any."""
    return spread(values) if len(values) > 1 else number(values[0])


def counted(errors: Mapping[str, int]) -> str:
    """ "none", or how many of which."""
    return ", ".join(f"{count:,} × {state}" for state, count in sorted(errors.items())) or "none"
