"""The outage beside those of other means, with clients that connect to the server directly."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench.arena import Direct
from bench.contenders import CommandLine, Floor, MigrationTool, Nobody, Script
from bench.contest import SELDOM, Heat, Load, Outing, Result, contest, total
from bench.crowd import PAUSE_SECONDS, REPORT_SECONDS
from bench.figures import MILLISECONDS, Chart, Range, Section, Verdict, number, spread, table
from bench.setup import Setup
from demo.clients import AFTER_ERROR_SECONDS

NO_CLIENTS = Load(name="no clients")
HUNDRED = Load(name="100 clients", idle=60, connecting=29, writing=10, reporting=1)
FIVE_HUNDRED = Load(name="500 clients", idle=300, connecting=148, writing=50, reporting=2)
SLOW_SECONDS = 2.0  # of the patch that is not trivial
CALM = 3            # times as many rounds without clients: there an outage is hardly longer than the resolution

RUNBOOK = Script(name="(a) shell runbook", file="runbook.sh")
ONE_SESSION = Script(name="(b) one psql session", file="one_session.sh")
HOLD, GENTLE = CommandLine(gate="hold", kick="all"), CommandLine(gate="hold", kick="transactions")
REFUSE, GENTLE_REFUSE = CommandLine(gate="refuse", kick="all"), CommandLine(gate="refuse", kick="transactions")
FLOOR = Floor(name="(f) one round trip")
NOBODY = Nobody()

OF_RUNBOOK, OF_FLOOR, GENTLE_OF_RUNBOOK = 0.15, 1.3, 0.02  # goals: parts of the others' outage beyond the patch

HEAD = ("", "outage − patch, ms", "of (a)", "of (f)", "longest call, s", "refused", "cut")

WHO = """\
- **(a) shell runbook** (`bench/peers/runbook.sh`): one psql per phase, as superuser.
  It refuses clients, and nothing opens the database again if its machine dies.
- **(b) one psql session** (`bench/peers/one_session.sh`): the same in one script, with the same faults.
- **(c) migration tool** (`bench/peers/migration_tool`): Alembic, `upgrade head`. It keeps nobody out and kicks nobody:
  the patch waits for whoever uses the table, and whoever wants the table then waits behind the patch.
  What that costs is in the longest call, not in the outage.
- **fast downtime** (ours) from the command line, by gate and kick, as a role that is no superuser.
  It opens by itself whatever dies.
- **(f) one round trip** (`bench/peers/floor.py`): the statements of ours with `hold` and kick `all` in one string.
  Nobody can stop it or learn how far it is, and a client that is half way in is overlooked.
- **no deployment**: what the prober sees in two seconds in which nothing happens."""

HOW = f"""\
Outage: the longest time in which the prober, a process that knows nothing of the contenders, got no new connection;
median (quartiles), minus what the patch takes by itself.
Its resolution is in the line "no deployment".
After a patch of {SLOW_SECONDS:g} s all who were held log in at once, the prober among them.
Contenders take turns on one server; clients, prober and contender share its processors.
A round ends when all clients are back; contenders that no goal is about sit out most rounds.
Refused are attempts of clients that only connect; cut are errors of clients that keep a connection, refused attempts to
come back among them; both in each round, by SQLSTATE.
A client that is refused or cut tries again after {AFTER_ERROR_SECONDS * MILLISECONDS:g} ms.
Of 100 clients 60 are idle, 29 connect about every {PAUSE_SECONDS["connecting"]:g} s, 10 write about every \
{PAUSE_SECONDS["writing"]:g} s, and 1 reads in transactions of {REPORT_SECONDS:g} s; of 500 it is 300, 148, 50 and 2.
Their logins hash passwords once instead of 4,096 times (`scram_iterations`, PostgreSQL 16 and later): clients would \
do that on machines of their own."""


def measure(setup: Setup) -> Section:
    """The part "outages". Raises ContestError, and what sandbox and companions raise."""
    arena = Direct.create(setup.folder / "sandbox")
    try:
        results = contest(arena, heats(setup), tell=setup.tell)
        release = arena.sandbox.servers["production"].installation.release
    finally:
        arena.take_down()
    return section(results, release)


def heats(setup: Setup) -> list[Heat]:
    """Who is measured under which load; a migration tool remembers its revisions, so each contest has a new one."""
    if setup.quick:
        return [Heat(load=HUNDRED, contenders=(RUNBOOK, HOLD, GENTLE, FLOOR, NOBODY), rounds=setup.rounds)]
    goals, migration = (RUNBOOK, HOLD, GENTLE, FLOOR), MigrationTool(name="(c) migration tool")
    others = (ONE_SESSION, migration, REFUSE, GENTLE_REFUSE, NOBODY)
    return [
        Heat(load=NO_CLIENTS, contenders=goals, seldom=others, seldom_every=SELDOM * CALM, rounds=setup.rounds * CALM),
        *(Heat(load=load, contenders=goals, seldom=others, rounds=setup.rounds) for load in (HUNDRED, FIVE_HUNDRED)),
        *(Heat(load=load, contenders=goals, seldom=(migration,), rounds=max(2, setup.rounds // 2),
               sleeps_seconds=SLOW_SECONDS) for load in (HUNDRED, FIVE_HUNDRED))]


def section(results: Sequence[Result], release: str) -> Section:
    """What was measured, for the report. Pure."""
    tables = [f"**{title(each.heat)}**, {each.heat.rounds} rounds\n\n{table(HEAD, list(rows(each)))}"
              for each in results]
    return Section(title="Outages beside those of other means", verdicts=tuple(verdicts(results)),
                   text="\n\n".join([f"PostgreSQL {release}, clients connected directly.\n\n{WHO}", *tables, HOW,
                                     *out_of_reach(results)]),
                   charts=(chart([each for each in results if not each.heat.sleeps_seconds]),))


def out_of_reach(results: Sequence[Result]) -> Iterator[str]:
    """Where even the floor is above what is allowed of the runbook's outage: what kicks everybody waits for as many
    processes to end, whoever sends the statement."""
    shares = {title(each.heat): each.ratio(FLOOR.name, RUNBOOK.name) for each in results}
    if above := [f"{number(share)} ({what})" for what, share in shares.items() if share > OF_RUNBOOK]:
        yield (f"Of the outage of (a), that of (f) is {', '.join(above)}: more than the {OF_RUNBOOK:g} that ours may"
               " take with kick `all`. Most of it is the time in which the server's processes end: see the phases.")


def title(heat: Heat) -> str:
    """What the contenders met."""
    return f"{heat.load.name}, a patch of {heat.sleeps_seconds:g} s" if heat.sleeps_seconds else \
        f"{heat.load.name}, a trivial patch"


def rows(result: Result) -> Iterator[tuple[str, ...]]:
    """A line of the table for each contender."""
    for name, outing in result.outings.items():
        yield (name, spread([each * MILLISECONDS for each in outing.beyond]), number(result.ratio(name, RUNBOOK.name)),
               number(result.ratio(name, FLOOR.name)), number(statistics.median(outing.longest_calls)),
               counted(outing.refused, outing), counted(outing.cut, outing))


def counted(errors: Mapping[str, int], outing: Outing) -> str:
    """Errors of an average round, by SQLSTATE."""
    rounds = len(outing.seen)
    return ", ".join(f"{state}: {number(count / rounds)}" for state, count in sorted(errors.items())) or "0"


def verdicts(results: Sequence[Result]) -> Iterator[Verdict]:
    """The goals of what was measured, load by load."""
    for each in results:
        yield _part(each, HOLD, RUNBOOK, OF_RUNBOOK)
        yield _part(each, HOLD, FLOOR, OF_FLOOR)
        if each.heat.load.name == FIVE_HUNDRED.name:
            yield _part(each, GENTLE, RUNBOOK, GENTLE_OF_RUNBOOK)
    turned_away = total(each.outings[who.name].refused for each in results for who in (HOLD, GENTLE))
    yield Verdict(goal="`hold`: errors of clients that only connect, in all rounds",
                  measured=turned_away.total(), limit=0)


def _part(result: Result, who: CommandLine, other: Script | Floor, limit: float) -> Verdict:
    return Verdict(goal=f"{who.name}, {title(result.heat)}: outage − patch, as a part of that of {other.name}",
                   measured=result.ratio(who.name, other.name), limit=limit)


def chart(results: Sequence[Result]) -> Chart:
    """The trivial patch under all loads."""
    return Chart(title="Outage beyond the patch, trivial patch", unit="ms", ranges=tuple(
        Range(load=each.heat.load.name, contender=name, low=low, median=median, high=high)
        for each in results for name, outing in each.outings.items()
        for low, median, high in [quartiles([seconds * MILLISECONDS for seconds in outing.beyond])]))


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower, median, upper; one value is all three."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
