"""What a talkative patch costs: the outage, its log and the buildmaster's memory, by the NOTICEs that it raises."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg2

from bench.figures import MILLISECONDS, Curve, Section, linear_or_better, number, table
from bench.growth.site import COLD, LOOK_SECONDS, Site, a_site, until
from bench.setup import Setup
from demo import application
from downtime.notices import KEPT_NOTICES
from downtime.phases import Phase

LINES, QUICK_LINES = (100, 1000, 10_000, 100_000), (100, 10_000)
PATCH = "DO $$ BEGIN FOR i IN 1..{lines} LOOP RAISE NOTICE 'row % is as it should be', i; END LOOP; END $$;\n"
WARM_UP = 10        # lines: the first deployment imports and caches
MIB = 1024 * 1024
APPLIED = "apply patch"  # the step whose log has the NOTICEs


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of one patch that raised so many lines."""

    lines: int
    bare_seconds: float        # the same statement, sent by a client that does nothing else
    patch_seconds: float
    outage_seconds: float
    shown_seconds: float       # from the end of the outage to the log of its step, complete
    grown_bytes: int           # the master's resident memory, over rehearsal and deployment
    log_lines: int

    @property
    def beyond_seconds(self) -> float:
        return self.outage_seconds - self.patch_seconds


def measure(setup: Setup) -> Section:
    with a_site(setup.folder) as site:
        site.start()
        _deploy(site, number=0, lines=WARM_UP)
        told = []
        for index, lines in enumerate(QUICK_LINES if setup.quick else LINES, start=1):
            told.append(_deploy(site, number=index, lines=lines))
            setup.tell(f"  {lines:,} lines: outage {told[-1].outage_seconds * MILLISECONDS:.0f} ms")
    return section(told)


def _deploy(site: Site, *, number: int, lines: int) -> Told:
    name, before = f"patch-9000-{number:02}-0", site.master.resident_bytes
    site.judged(site.land({name: COLD + PATCH.format(lines=lines)}))
    asked = site.waiting(name)
    site.approve(asked)
    log_lines = until(lambda: site.log_lines(asked.build_id, APPLIED), f"the log of {name}")
    shown_at = time.time()
    site.deployed(name)
    outage = site.data(asked.build_id, "outage")
    (reopening,) = (each for each in outage["timeline"] if each["phase"] == Phase.ALLOW)
    reopened_at = datetime.fromisoformat(reopening["started_at"]).timestamp() + reopening["seconds"]
    return Told(lines=lines, bare_seconds=_bare(site, lines), patch_seconds=outage["patch_seconds"],
                outage_seconds=outage["outage_seconds"], shown_seconds=shown_at - reopened_at,
                grown_bytes=site.master.resident_bytes - before, log_lines=log_lines)


def _bare(site: Site, lines: int) -> float:
    """Seconds of the statement in a session of its own."""
    connection = psycopg2.connect(site.sandbox.dsn(application.PATCHER, "staging"))
    try:
        with connection.cursor() as cursor:
            began = time.monotonic()
            cursor.execute(PATCH.format(lines=lines))
            return time.monotonic() - began
    finally:
        connection.close()


def section(told: Sequence[Told]) -> Section:
    """The report of what was found, the fewest lines first."""
    outages = _curve("outage", {each.lines: each.outage_seconds for each in told})
    beyond = _curve("outage beyond the patch", {each.lines: each.beyond_seconds for each in told})
    rows = [[f"{each.lines:,}", *(number(MILLISECONDS * seconds) for seconds in (
                each.bare_seconds, each.patch_seconds, each.beyond_seconds, each.shown_seconds)),
             f"{each.log_lines:,}", number(each.grown_bytes / MIB)] for each in told]
    text = (
        f"A patch raises so many NOTICEs; once each, through a buildmaster. The first {KEPT_NOTICES:,} are kept, the"
        " others counted. The bare statement runs on staging, in a session of a client that does nothing else."
        f" The log is looked for every {LOOK_SECONDS * MILLISECONDS:.0f} ms.")
    head = ["lines", "bare statement, ms", "patch, ms", "outage beyond it, ms", "log shown after the end, ms",
            "lines in the log", "master grown, MiB"]
    return Section(
        title="Log lines", text=f"{text}\n\n{table(head, rows)}", curves=(outages, beyond),
        verdicts=(linear_or_better("outage by lines raised, between the two largest sizes", outages.last_exponent),
                  linear_or_better("outage beyond the patch by lines raised", beyond.exponent)))


def _curve(title: str, seconds: Mapping[int, float]) -> Curve:
    return Curve(title=title, size="lines", unit="ms",
                 points=tuple((lines, each * MILLISECONDS) for lines, each in seconds.items()))
