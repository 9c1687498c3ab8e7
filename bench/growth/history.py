"""What a long past costs: each page, the API's answers that pages and a CI ask for, and the start of the master.

The past is made of one deployment that the master has really made (`bench.growth.past`); a second one waits for its
approval, so that there is something to go on with after a start.
"""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead

from bench.figures import MILLISECONDS, Curve, Section, Verdict, linear_or_better, number, table
from bench.growth import past
from bench.growth.site import HARMLESS, Site, a_site, keep, until
from bench.setup import Setup
from demo.web import WebError

SIZES, QUICK_SIZES = (10, 100, 1000, 2000, 5000), (10, 1000)
LOOKS = 9  # a page that takes 50 ms takes 100 now and then
MODEL, WAITING = "patch-9000-00000-0", "patch-9100-00000-0"
JUDGED_AT = 2000            # deployments, or the largest size
FIRST_BYTE_GOAL_MS = 300.0
WEIGHT_GOAL_KB = 300.0
ANSWER_SECONDS = 30.0       # longer than any page should take
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on loopback

OURS = "plugins/wsgi_dashboards/deployments/"
PAGES = {name: OURS + name for name in ("board", "charts", "decisions", f"deployment?patch={MODEL}", "status.json")}
ANSWERS = {
    "deployments.json": f"{OURS}deployments.json",
    "metrics": f"{OURS}metrics",
    "queue.json": f"{OURS}queue.json",
    "the newest builds of production": "api/v2/builders/production/builds?order=-number&limit=5&property=*",
    "the builds of one request": "api/v2/buildrequests/1/builds",
    "the builds under way": "api/v2/builds?complete=false",
    "what a build has left": "api/v2/builds/2/data/outage/value",
}
STARTS = ("start, until it answers", "start, until what waited waits again", "kill -9, until its successor answers",
          "kill -9, until what waited waits again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """With one size of history."""

    first_byte_ms: Mapping[str, float]   # of each page and answer: the median
    weight_kb: Mapping[str, float]
    start_seconds: tuple[float, ...]     # as STARTS, without the last two where it was not killed


def measure(setup: Setup) -> Section:
    sizes = QUICK_SIZES if setup.quick else SIZES
    with a_site(setup.folder) as site:
        upto, model = _make_model(site), setup.folder / "model.sqlite"
        keep(site.state, model)
        found = {}
        for size in sizes:
            keep(model, site.state)
            past.multiply(site.state, MODEL, upto, size)
            found[size] = _look(site, dies=size in (sizes[0], sizes[-1]) and not setup.quick)
            setup.tell(f"  {size:,} deployments: board {found[size].first_byte_ms['board']:.0f} ms, starts"
                       f" {', '.join(f'{seconds:.1f} s' for seconds in found[size].start_seconds)}")
            site.master.kill()
    return section(found)


def _make_model(site: Site) -> past.Largest:
    """One deployment, and one that waits; what belongs to the first."""
    site.start()
    site.deploy({MODEL: HARMLESS.format(name=MODEL)})
    upto = past.largest(site.state)
    site.judged(site.land({WAITING: HARMLESS.format(name=WAITING)}))
    site.waiting(WAITING)
    site.master.stop()
    return upto


def _look(site: Site, *, dies: bool) -> Found:
    """Start and look at everything; perhaps kill, and start again. Leaves the master running."""
    started: tuple[float, ...] = _started(site, beyond=past.largest(site.state)["builds"])
    looks = {name: [first_byte(site.sandbox.address + path) for _ in range(LOOKS)]
             for name, path in {**PAGES, **ANSWERS}.items()}
    if dies:
        known = site.waiting(WAITING).build_id
        site.master.kill()
        started = (*started, *_started(site, beyond=known))
    return Found(
        first_byte_ms={name: statistics.median(seconds for seconds, _ in each) * MILLISECONDS
                       for name, each in looks.items()},
        weight_kb={name: each[-1][1] / 1000 for name, each in looks.items()},
        start_seconds=started)


def _started(site: Site, *, beyond: int) -> tuple[float, float]:
    """Seconds until the pages answer, and until what waited waits again and production is known to be open."""
    began = time.monotonic()
    site.start()
    until(lambda: _answer(site, PAGES["board"]), "the pages")
    answers = time.monotonic() - began
    site.waiting(WAITING, beyond=beyond)
    until(lambda: True if b'"unknown"' not in (_answer(site, PAGES["status.json"]) or b'"unknown"') else None,
          "production to be known as open")
    return answers, time.monotonic() - began


def _answer(site: Site, path: str) -> bytes | None:
    try:
        with DIRECTLY.open(site.sandbox.address + path, timeout=ANSWER_SECONDS) as answer:
            return bytes(answer.read())
    except (OSError, HTTPException):  # not yet
        return None


def first_byte(address: str) -> tuple[float, int]:
    """Seconds until the first byte of an answer, and its weight in bytes. Raises WebError."""
    began = time.monotonic()
    try:
        with DIRECTLY.open(address, timeout=ANSWER_SECONDS) as answer:
            first = answer.read(1)
            seconds = time.monotonic() - began
            return seconds, len(first + answer.read())
    except IncompleteRead:
        return first_byte(address)  # Buildbot writes from two threads, and a busy one loses some
    except (OSError, HTTPException) as error:
        raise WebError(0, f"{address} does not answer: {error}") from error


def section(found: Mapping[int, Found]) -> Section:
    """The report of what was found, by the size of the history."""
    sizes = list(found)
    judged = found[JUDGED_AT if JUDGED_AT in found else sizes[-1]]
    pages, answers = ([_curve(name, "ms", {size: each.first_byte_ms[name] for size, each in found.items()})
                       for name in group] for group in (PAGES, ANSWERS))
    starts = [_curve(name, "s", {size: each.start_seconds[place] for size, each in found.items()
                                 if place < len(each.start_seconds)}) for place, name in enumerate(STARTS)]
    starts = [curve for curve in starts if curve.points]
    curves = [curve for curve in (*pages, *answers, *starts) if len(curve.points) > 1]
    of = f"with {JUDGED_AT:,} deployments" if JUDGED_AT in found else f"with {sizes[-1]:,} deployments"
    return Section(
        title="History: pages, answers and starts", text=_text(found, pages, answers, starts),
        verdicts=(
            Verdict(goal=f"first byte of the slowest page {of}", unit="ms", limit=FIRST_BYTE_GOAL_MS,
                    measured=max(judged.first_byte_ms[name] for name in PAGES)),
            Verdict(goal=f"weight of the heaviest page {of}", unit="kB", limit=WEIGHT_GOAL_KB,
                    measured=max(judged.weight_kb[name] for name in PAGES)),
            *(linear_or_better(f"{what} as the history grows, the steepest between the two largest sizes",
                               max(curve.last_exponent for curve in group if curve in curves))
              for what, group in (("pages", pages), ("answers", answers), ("starts", starts)))),
        curves=tuple(curves))


def _curve(name: str, unit: str, costs: Mapping[int, float]) -> Curve:
    return Curve(title=name, size="deployments", unit=unit, points=tuple(costs.items()))


def _text(found: Mapping[int, Found], pages: list[Curve], answers: list[Curve], starts: list[Curve]) -> str:
    sizes = list(found)
    head = ["", *(f"{size:,}" for size in sizes), "exponent", "of the last two"]
    return "\n\n".join([
        f"First byte in ms, median of {LOOKS} looks, by the number of deployments in the history; the weight in kB is"
        f" that with {sizes[-1]:,}.",
        table([*head, "weight"], [[*_row(curve, sizes), number(found[sizes[-1]].weight_kb[curve.title])]
                                  for curve in (*pages, *answers)]),
        "Starts in s, once each, of a master with one deployment that waits for its approval. It answers when the page"
        " \"Deployments\" is there; it waits again when its new build asks for the approval, and production is known"
        " to be open.",
        table(head, [_row(curve, sizes) for curve in starts]),
        "Each deployment of the past is a copy of one that the master has made: builds, steps, logs, properties,"
        " events, evidence. Their patches are not in the repository and not in the ledger: what those cost is told of"
        " the inventory and of landings."])


def _row(curve: Curve, sizes: Sequence[int]) -> list[str]:
    costs = dict(curve.points)
    exponents = [curve.exponent, curve.last_exponent] if len(costs) > 1 else []
    return [curve.title, *(number(costs[size]) if size in costs else "" for size in sizes),
            *([f"{each:.2f}" for each in exponents] or ["", ""])]
