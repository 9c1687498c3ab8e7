"""Faults at random: rounds by lot on one world, and the table of what came of them.

    python -m demo chance --rounds 150 --seed 7

plays so many rounds with each gate. The same seed draws the same faults, paces and instants; the instants are real
time, so that what they hit may differ from run to run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from demo import application
from demo.faults.draws import Circumstances, Fault, draws
from demo.faults.rounds import Ended, Round, Table
from demo.faults.rows import GATES
from demo.faults.strikes import LET_SEE, Reached
from demo.faults.world import World
from demo.faults.writers import TABLE, Writers
from demo.sandbox import DATABASE
from demo.stage import Tell

LOG_LINES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=20, help="with each gate (default: 20)")
    parser.add_argument("--seed", type=int, default=None, help="to draw the same again (default: another each second)")
    parser.add_argument("--gate", choices=GATES, default=None, help="with this gate alone (default: with both)")


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0: all rounds hold."""
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    _progress(f"seed {seed}")
    played: list[Round] = []
    for gate in (arguments.gate,) if arguments.gate else GATES:
        with tempfile.TemporaryDirectory() as folder:
            rounds = play(Path(folder) / "demo", gate=gate, seed=seed, rounds=arguments.rounds, tell=_progress)
        print(f"\nGate {gate}, seed {seed}:\n\n{spread(rounds)}\n", flush=True)
        played += rounds
    failed = [each for each in played if each.broken]
    print(f"{len(played) - len(failed)} of {len(played)} rounds hold.", flush=True)
    return 1 if failed else 0


def play(folder: Path, *, gate: str, seed: int, rounds: int, tell: Tell) -> list[Round]:
    """So many rounds in a world of their own. What breaks is told with all that is known of it."""
    with table(folder, gate=gate, tell=tell) as at:
        played = []
        for draw in itertools.islice(draws(seed, gate), rounds):
            played.append(at.play(draw))
            tell(line(played[-1]))
            if played[-1].broken:
                tell(explanation(played[-1], at.world, seed))
        return played


@contextlib.contextmanager
def table(folder: Path, *, gate: str, tell: Tell) -> Iterator[Table]:
    """A world with writers at work."""
    world = World.create(folder, gate=gate, tell=tell)
    try:
        for statement in (TABLE, LET_SEE):
            world.production.admin_sql(statement, database=DATABASE)
        writers = Writers(world.sandbox.dsn(application.APPLICATION), world.sandbox.dsn(application.FRAGILE))
        try:
            at = Table(world=world, writers=writers, before=writers.report())
            at.write(Circumstances())
            world.reread()
            yield at
        finally:
            writers.stop()
    finally:
        world.close()


def line(played: Round) -> str:
    """A round in one line."""
    draw = played.draw
    said = [f"{draw.number:4}  {draw.fault:28} {played.reached:16} {played.ended or '?':24}",
            f"open {played.open_seconds * 1000:6.0f} ms  shut {played.shut_seconds * 1000:6.0f} ms"]
    return "  ".join([*said, played.remark, *(["BROKEN"] if played.broken else [])]).rstrip()


def explanation(played: Round, world: World, seed: int) -> str:
    """Everything one needs to understand a round that does not hold."""
    ledger = world.production.admin_sql("SELECT id, finished_at, approved_by, build_url FROM fastdowntime.ledger"
                                        " ORDER BY finished_at DESC LIMIT 3", database=DATABASE)
    server = world.production.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([
        f"seed {seed}, gate {world.gate}, round {played.draw.number} does not hold:", *played.broken, str(played.draw),
        played.story, f"ledger: {ledger}", "the master's log:", world.master.log_tail,
        "production's log:", *server])


def spread(rounds: Sequence[Round]) -> str:
    """How the rounds ended, by where the fault fell, and by fault."""
    return "\n\n".join([
        _table("the fault fell", [(each.reached, each) for each in rounds], Reached),
        _table("fault", [(each.draw.fault, each) for each in rounds], Fault)])


def _table(heading: str, rounds: Sequence[tuple[str, Round]], order: type[Reached] | type[Fault]) -> str:
    ends = [*Ended, None]
    width = max(len(each) for each in order)
    lines = ["  ".join([f"{heading:{width}}", *(f"{end or 'broken':>{len(end or 'broken')}}" for end in ends),
                        "longest ms to open"])]
    for name in order:
        these = [played for where, played in rounds if where == name]
        if not these:
            continue
        counts = Counter(None if played.broken else played.ended for played in these)
        cells = [f"{counts[end]:{len(end or 'broken')}}" for end in ends]
        longest = max(played.open_seconds for played in these)
        lines.append("  ".join([f"{name:{width}}", *cells, f"{longest * 1000:18.0f}"]))
    return "\n".join(lines)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
