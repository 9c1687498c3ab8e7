"""Apply one patch: a fast downtime for a cold one, a live application for a live one."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from downtime import deployments, errors, forecast, live, phases, probing
from downtime.apply import Deployment
from downtime.commands import apply_everywhere as everywhere
from downtime.commands.context import Context, whoever_asks
from downtime.commands.reports import client_line, outage_facts, outage_text, statement_facts, statement_lines
from downtime.errors import ExitStatus
from downtime.fleet.member import Errand
from downtime.ledger import Origin
from downtime.outage import Outage
from downtime.patches import Lane, Patch
from downtime.prober import Prober, ProberFailed
from downtime.ready import Objections
from downtime.settings import Environment, Gate, Kick

SUMMARY = "apply one patch: a fast downtime, or a live application"
EXAMPLE = "apply patch-2211-03-0 --environment production --approved-by architect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patch", metavar="PATCH", help="id, file name or path; it must be the next one in order")
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where standard input is no terminal")
    parser.add_argument("--no-probe", action="store_true", help="do not measure the outage as a client sees it")
    parser.add_argument("--requested-by", metavar="NAME", default=None,
                        help="for the ledger; default: the user of this machine")
    parser.add_argument("--approved-by", metavar="NAME", default="", help="for the ledger")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    commit = await context.commit()
    inventory = await context.inventory(commit)
    patch = deployments.find(inventory, arguments.patch, context.settings, commit)
    requested_by = whoever_asks() if arguments.requested_by is None else arguments.requested_by
    foretold = await _forecast(context, environment, patch)
    deployment = await deployments.deployment(patch, Origin(
        requested_by=requested_by, approved_by=arguments.approved_by,
        rehearsed_seconds=foretold.rehearsed_seconds if foretold else None,
        forecast_seconds=foretold.seconds if foretold else None))
    _warn(context, environment, patch.lane)
    others = everywhere.others(environment)
    context.confirm(f"Apply {patch.id} to {environment.name} ({environment.target.label}{others})?",
                    agreed=arguments.yes)
    context.output.answer(f"{patch.id} ({patch.lane}) on {environment.name} ({environment.target.label})",
                          patch=patch.id, lane=patch.lane, sha256=patch.sha256, commit=commit,
                          environment=environment.name, database=environment.target.label)

    async def to_one() -> phases.Report | live.Report:
        objections = deployments.objections(inventory, patch)
        if patch.lane is Lane.LIVE:
            return await _apply_live(context, environment, deployment, objections)
        return await _apply_cold(context, environment, deployment, objections, probe=not arguments.no_probe)

    if others:
        await everywhere.apply(context, environment, Errand(
            deployment=deployment, inventory=inventory, settings=context.settings, reactor=context.reactor), to_one)
    elif error := _error(await to_one()):
        raise error
    return ExitStatus.DONE


def _error(report: phases.Report | live.Report) -> errors.DowntimeError | None:
    return report.error if isinstance(report, phases.Report) else None


async def _forecast(context: Context, environment: Environment, patch: Patch) -> forecast.Forecast | None:
    """What staging has measured and production has taught; where that is not to be had nobody is kept waiting."""
    if environment.name == "staging":
        return None
    staging = context.settings.environment("staging").target
    try:
        foretold = await forecast.of_patch(staging, environment.target, patch.id, patch.sha256,
                                           reactor=context.reactor)
    except errors.DowntimeError as error:
        context.output.progress(f"how long it will take is not known: {str(error).splitlines()[0]}")
        return None
    if foretold is not None:
        context.output.progress(foretold.sentence)
    return foretold


def _warn(context: Context, environment: Environment, lane: Lane) -> None:
    """What will happen to clients, before somebody agrees to it."""
    if lane is Lane.LIVE:
        context.output.progress("applied live: clients work on, no session is kicked")
        return
    users = context.settings.users
    waiting = "wait" if environment.gate is Gate.HOLD else "are refused"
    kicked = "all sessions are kicked" if environment.kick is Kick.ALL else "sessions inside a transaction are kicked"
    context.output.progress(
        f"gate {environment.gate}: new connections {waiting}; kick {environment.kick}: {kicked}; "
        f"aborts for a transaction of: {', '.join(users.fragile) or 'nobody'}; "
        f"spared: {', '.join(users.spared) or 'nobody'}")


async def _apply_live(context: Context, environment: Environment, deployment: Deployment,
                      objections: Objections) -> live.Report:
    application = live.LiveApplication(environment.target, deployment, progress=context.output.progress,
                                       rules=context.settings.live, reactor=context.reactor)
    with context.interruption.aborting(application.abort, awaiting="the statement under way to end"):
        report = await application.run(objections)
    context.output.answer(
        "\n".join([*statement_lines(report.statements), f"applied live in {report.seconds:.3f} s, {report.resumed} "
                   f"statements done by an earlier run, {report.retries} retries for a lock"]),
        applied=True, started_at=report.started_at, patch_seconds=report.seconds, resumed=report.resumed,
        retries=report.retries, invalid_indexes=report.invalid, statements=statement_facts(report.statements))
    return report


async def _apply_cold(context: Context, environment: Environment, deployment: Deployment, objections: Objections, *,
                      probe: bool) -> phases.Report:
    rules = deployments.outage_rules(context.settings, environment)
    outage = Outage(environment.target, deployment, rules, say=context.output.progress, reactor=context.reactor)
    with context.interruption.aborting(outage.abort, awaiting="the database to open"):
        async with _client(context, environment, wanted=probe) as client:
            try:
                for line in await outage.prepare(objections):
                    context.output.progress(line)
                await client.begin()
                report = await outage.run()
            finally:
                await outage.close()
            _tell(context, report, await client.end(), deployment.origin.forecast_seconds)
    return report


def _tell(context: Context, report: phases.Report, seen: probing.Report | None, foretold: float | None) -> None:
    context.output.answer(f"{outage_text(report)}\n", **outage_facts(report), forecast_seconds=foretold,
                          client=None if seen is None else asdict(seen))
    context.output.answer(f"outage: {report.outage_seconds:.3f} s, of it the patch {report.patch_seconds:.3f} s")
    if foretold is not None and report.applied:
        context.output.answer(forecast.beside(foretold, report.patch_seconds))
    if seen is not None:
        context.output.answer(f"as a client saw it: {client_line(seen)}")


class _Client:
    """A prober that may fail without harm: the deployment goes on without it."""

    def __init__(self, context: Context, prober: Prober | None) -> None:
        self._context = context
        self._prober = prober

    async def begin(self) -> None:
        """What was seen so far is not of the outage."""
        await self._seen(last=False)

    async def end(self) -> probing.Report | None:
        """What was seen since the beginning; None where nothing was measured."""
        return await self._seen(last=True)

    async def _seen(self, *, last: bool) -> probing.Report | None:
        prober = self._prober
        if prober is None:
            return None
        try:
            if last:
                self._prober = None
                return await prober.stop()
            return await prober.report()
        except ProberFailed as error:
            self._prober = None
            self._context.output.progress(f"{error}; the outage is not measured as a client sees it")
            return None


@asynccontextmanager
async def _client(context: Context, environment: Environment, *, wanted: bool) -> AsyncIterator[_Client]:
    prober = None
    if wanted:
        try:
            prober = await Prober.start(environment.target, context.reactor)
        except ProberFailed as error:
            context.output.progress(f"{error}; going on without it")
    client = _Client(context, prober)
    try:
        yield client
    finally:
        await client.end()
