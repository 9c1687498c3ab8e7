"""From a landing to staging's verdict, and from an approval to the outage, by the patches that the repository holds.

All but one are in both ledgers. When what happened is read out of the journal; a landing begins when the repository
has the new commit, which the file of the branch tells.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import pairwise

from bench.figures import Curve, Section, Verdict, linear_or_better, number, spread, table
from bench.growth.site import HARMLESS, LOOK_SECONDS, Site, a_site, keep
from bench.setup import Setup
from demo.gitrepo import BRANCH
from demo.sandbox import DATABASE

SIZES, QUICK_SIZES = (10, 100, 1000, 10_000), (100,)
MOST_ROUNDS = 3            # of each size
OLD, NEW = "patch-8000-{:05}-0", "patch-9000-{:03}-0"
DECISION_GOAL_SECONDS = 1.0

TO_VERDICT, TO_OUTAGE = "landing to verdict", "approval to outage"
PARTS = {
    TO_VERDICT: ("noticed and judged", "rehearsed", "build ended"),
    TO_OUTAGE: ("decision counts", "turn came", "prepared and begun"),
}

RECORD = """
INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)
SELECT id, sha256, 'baseline', '', now(), 0 FROM unnest(%s::text[], %s::text[]) AS patch (id, sha256)
"""

Round = Mapping[str, Sequence[float]]  # seconds of each part


def measure(setup: Setup) -> Section:
    rounds = min(setup.rounds, MOST_ROUNDS)
    found: dict[int, list[Round]] = {}
    with a_site(setup.folder) as site:
        fresh = setup.folder / "fresh.sqlite"
        keep(site.state, fresh)
        sizes = QUICK_SIZES if setup.quick else SIZES
        for place, size in enumerate(sizes):
            before = sizes[place - 1] - rounds * (place - 1) if place else 0
            done = rounds * place
            _grow(site, [OLD.format(each) for each in range(before, size - done)])
            keep(fresh, site.state)  # the next master finds them there
            site.start()
            found[size] = [_round(site, NEW.format(done + each)) for each in range(rounds)]
            site.master.kill()
            setup.tell(f"  {size:,} patches: {_median(found[size], TO_VERDICT):.2f} s to the verdict,"
                       f" {_median(found[size], TO_OUTAGE):.2f} s to the outage")
    return section(found)


def _grow(site: Site, names: list[str]) -> None:
    """More patches in the repository, and in both ledgers."""
    site.land({name: HARMLESS.format(name=name) for name in names})
    for server in site.sandbox.servers.values():
        server.admin_sql(RECORD, (names, [sha256(HARMLESS.format(name=name).encode()).hexdigest() for name in names]),
                         database=DATABASE)


def _round(site: Site, name: str) -> Round:
    """One more patch, from its landing into production."""
    commit = site.land({name: HARMLESS.format(name=name)})
    landed_at = (site.sandbox.repository.bare / "refs" / "heads" / BRANCH).stat().st_mtime
    site.judged(commit)
    judged_at, asked = time.time(), site.waiting(name)
    clicked_at = time.time()
    site.approve(asked)
    site.deployed(name)
    at = {kind: event.at.timestamp() for kind, event in site.events(name).items()}
    begun_at = datetime.fromisoformat(site.data(asked.build_id, "outage")["timeline"][0]["started_at"]).timestamp()
    return {TO_VERDICT: _between(landed_at, at["landed"], at["rehearsed"], judged_at),
            TO_OUTAGE: _between(clicked_at, at["decided"], at["turn came"], begun_at)}


def _between(*instants: float) -> list[float]:
    return [later - earlier for earlier, later in pairwise(instants)]


def section(found: Mapping[int, Sequence[Round]]) -> Section:
    """The report of what was found, by the number of patches."""
    curves = tuple(Curve(title=way, size="patches", unit="s", points=tuple(
        (size, _median(rounds, way)) for size, rounds in found.items())) for way in PARTS)
    decided = max(statistics.median(each[TO_OUTAGE][0] for each in rounds) for rounds in found.values())
    growth = [linear_or_better(f"{curve.title}, as patches are added, between the two largest sizes",
                               curve.last_exponent) for curve in curves if len(curve.points) > 1]
    return Section(
        title="Landings and approvals", text="\n\n".join([_text(found), *(_table(found, way) for way in PARTS)]),
        verdicts=(*growth, Verdict(goal="from the click to a decision that counts", unit="s", measured=decided,
                                   limit=DECISION_GOAL_SECONDS)),
        curves=curves if growth else ())


def _text(found: Mapping[int, Sequence[Round]]) -> str:
    rounds = min(map(len, found.values()))
    return (
        f"Seconds, median of {rounds} rounds (quartiles of the whole), of one harmless patch through a buildmaster, by"
        " the number of patches in the repository; the others are in both ledgers. A landing begins when the repository"
        " has the commit; its hook tells the buildmaster. *Noticed and judged* is the hook, Buildbot's git,"
        " the start of the build, and judging with the linter; *rehearsed* ends with the evidence; *build ended* is"
        " Buildbot's own. An approval begins with the click; *decision counts* is the decision's own build, *turn came*"
        " ends the wait, *prepared and begun* has all checks and sessions before the outage. The ends are looked for"
        f" every {LOOK_SECONDS:g} s, all else is in the journal.")


def _table(found: Mapping[int, Sequence[Round]], way: str) -> str:
    rows = [[f"{size:,}", *(number(statistics.median(each[way][part] for each in rounds))
                            for part in range(len(PARTS[way]))), spread([sum(each[way]) for each in rounds])]
            for size, rounds in found.items()]
    return table(["patches", *PARTS[way], way], rows)


def _median(rounds: Sequence[Round], way: str) -> float:
    return statistics.median(sum(each[way]) for each in rounds)
