"""Measure how long a client gets no connection, until stopped."""

from __future__ import annotations

import argparse
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic

from twisted.internet.task import deferLater

from downtime.commands.arguments import seconds
from downtime.commands.context import Context
from downtime.commands.reports import client_line
from downtime.errors import ExitStatus
from downtime.prober import Prober
from downtime.probing import Report

SUMMARY = "measure the outage as a client sees it, until stopped"
EXAMPLE = "probe --environment staging --seconds 60"

REPORT_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", metavar="SECONDS", type=seconds, default=math.inf,
                        help="stop after so long; default: at Ctrl-C")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    stopped: list[str] = []  # why, once somebody has interrupted it
    with context.interruption.aborting(stopped.append, awaiting="the prober's last report"):
        prober = await Prober.start(environment.target, context.reactor)
        context.output.progress(f"probing {environment.name} ({environment.target.label}); Ctrl-C ends it")
        reports = await _watch(context, prober, stopped, limit_seconds=arguments.seconds)
    total = combined(reports)
    context.output.answer(f"in {(total.until_at - total.since_at).total_seconds():.1f} s: {client_line(total)}",
                          environment=environment.name, database=environment.target.label, **asdict(total))
    return ExitStatus.DONE


async def _watch(context: Context, prober: Prober, stopped: Sequence[str], *, limit_seconds: float) -> list[Report]:
    """A report a second until the limit or until it is stopped, and the last one. Raises ProberFailed."""
    reports: list[Report] = []
    began = monotonic()
    while not stopped and (left := began + limit_seconds - monotonic()) > 0:
        await deferLater(context.reactor, min(REPORT_SECONDS, left), lambda: None)
        reports.append(await prober.report())
        context.output.progress(f"{monotonic() - began:6.0f} s  {client_line(reports[-1])}")
    return [*reports, await prober.stop()]


def combined(reports: Sequence[Report]) -> Report:
    """Reports that follow each other as one. Pure. A gap that spans two of them is whole in the later one."""
    errors: Counter[str] = Counter()
    for report in reports:
        errors.update(report.errors)
    return Report(
        since_at=reports[0].since_at, until_at=reports[-1].until_at,
        attempts=sum(report.attempts for report in reports), successes=sum(report.successes for report in reports),
        outage_seconds=max(report.outage_seconds for report in reports),
        resolution_seconds=statistics.median(report.resolution_seconds for report in reports),
        persistent_gap_seconds=max(report.persistent_gap_seconds for report in reports),
        longest_call_seconds=max(report.longest_call_seconds for report in reports), errors=dict(errors))
