"""The buildmaster's memory over hundreds of deployments: each lands, is rehearsed, approved, and has its outage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Curve, Section, Verdict, number, table
from bench.growth.site import HARMLESS, Site, a_site
from bench.setup import Setup

DEPLOYMENTS, QUICK_DEPLOYMENTS = 500, 10
MOST_SECONDS = 90.0        # where it is hurried: as many as go, and the report says how many; 500 take ten minutes
TOGETHER, QUICK_TOGETHER = 10, 5  # patches of one landing: rehearsed in one build, deployed one behind the other
WARM_UP = 20               # deployments until the master has imported and cached what it will
EVERY = 50                 # deployments between two figures
GROWTH_GOAL_MIB = 125.0    # over 500 deployments, in proportion over fewer
MIB = 1024 * 1024
NAME = "patch-9000-{:04}-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    deployments: int
    resident_mib: float
    seconds: float           # since the first deployment began


def measure(setup: Setup) -> Section:
    with a_site(setup.folder) as site:
        site.start()
        planned = QUICK_DEPLOYMENTS if setup.quick else DEPLOYMENTS
        return section(_deploy(site, setup, planned), planned=planned)


def _deploy(site: Site, setup: Setup, deployments: int) -> list[Point]:
    """A point after every landing."""
    began, points = time.monotonic(), [Point(deployments=0, resident_mib=_resident(site), seconds=0.0)]
    together = QUICK_TOGETHER if setup.quick else TOGETHER
    for first in range(0, deployments, together):
        names = [NAME.format(first + each) for each in range(together)]
        site.deploy({name: HARMLESS.format(name=name) for name in names})
        points.append(Point(deployments=first + together, resident_mib=_resident(site),
                            seconds=time.monotonic() - began))
        if points[-1].deployments % EVERY == 0:
            setup.tell(f"  {points[-1].deployments} deployments: {points[-1].resident_mib:.1f} MiB")
        if setup.hurried and points[-1].seconds > MOST_SECONDS and len(points) > 2:  # two landings are a growth
            break
    return points


def _resident(site: Site) -> float:
    return site.master.resident_bytes / MIB


def section(points: Sequence[Point], *, planned: int) -> Section:
    """The report of what was found; the first point is before any deployment."""
    last = points[-1]
    warm = next(point for point in points if point.deployments >= min(WARM_UP, last.deployments // 2))
    shown = [point for point in points if point.deployments % EVERY == 0 or point in (points[0], warm, last)]
    rows = [[f"{point.deployments:,}", number(point.resident_mib), number(point.resident_mib - warm.resident_mib),
             number(point.seconds)] for point in shown]
    counted = last.deployments - warm.deployments
    grown = last.resident_mib - warm.resident_mib
    fewer = "" if last.deployments >= planned else (
        f" Of {planned} deployments {last.deployments} were done in the {MOST_SECONDS:g} s that there are;"
        " `python -m bench memory` takes the time for all.")
    return Section(
        title="The buildmaster's memory", text=(
            "Resident memory of the buildmaster's process as the kernel counts it, while patches land,"
            f" {points[1].deployments} at a time, and each is rehearsed, approved and deployed by itself;"
            f" {last.seconds / last.deployments:.2f} s a deployment. Growth is counted from {warm.deployments}"
            " deployments on, when everything is imported and cached:"
            f" {number(1024 * grown / counted)} KiB a deployment.{fewer}\n\n"
            + table(["deployments", "resident, MiB", "grown, MiB", "seconds"], rows)),
        verdicts=() if last.deployments <= WARM_UP else (  # what a cold master takes is no growth
            Verdict(goal=f"growth over {counted} deployments (125 MiB over 500)", unit="MiB", measured=grown,
                    limit=GROWTH_GOAL_MIB * counted / DEPLOYMENTS),),
        curves=(Curve(title="resident memory", size="deployments", unit="MiB", points=tuple(
            (point.deployments, point.resident_mib) for point in shown if point.deployments)),))
