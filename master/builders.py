"""The builders and the workers they run on: workers inside the master's own process, so that no port is open."""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util, worker
from buildbot.process.factory import BuildFactory

import steps
from downtime.settings import Settings
from master import leadership
from master.builds import DeploymentBuild, RunbookBuild
from master.places import Places
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName

REHEARSING = "fastdowntime-staging"    # one landing after the other
DECIDING = "fastdowntime-decisions"    # so that a decision never queues behind what it decides about
DEPLOYING = "fastdowntime-deployment"  # a builder runs one build per worker: so many may wait for approval at once
DEPLOYING_COUNT = 16  # more take longer to stop: 3.5 s of processor time for 64, 0.6 s for 8 (measured)

ABOUT = {
    BuilderName.STAGING: "Judges each landing on the branch and rehearses what is pending, one patch at a time.",
    BuilderName.PRODUCTION: "Deploys one cold patch to production in a fast downtime, after an approval.",
    BuilderName.LIVE: "Deploys one live patch to production while clients work, after an approval.",
    BuilderName.APPROVE: "Approves or rejects a waiting deployment: every decision is a build.",
    BuilderName.BEGIN_NOW: "Lets an approved deployment begin now, outside its window.",
    BuilderName.REOPEN: "Emergency: opens a database that a dead deployment has left closed.",
}


def workers() -> list[worker.LocalWorker]:
    """All of them run inside the master, so none can go missing."""
    return [worker.LocalWorker(name, missing_timeout=0) for name in (REHEARSING, DECIDING, *_deploying())]


def builders(settings: Settings) -> list[util.BuilderConfig]:
    """All of them, in the order of a patch's way."""
    return [
        _builder(BuilderName.STAGING, [REHEARSING], [
            steps.JudgeLanding(settings), steps.RehearseOnStaging(settings)]),
        _deploying_builder(BuilderName.PRODUCTION, settings, [
            steps.Admit(settings, BuilderName.PRODUCTION), steps.AwaitApproval(settings), steps.AwaitTurn(settings),
            steps.Quiesce(settings), steps.Preflight(settings), steps.PreventConnections(settings),
            steps.CheckFragileUsers(settings), steps.KickConnections(settings), steps.ApplyPatch(settings),
            steps.AllowConnections(settings), steps.DeployToOthers(settings), steps.Resume(settings),
            steps.Record(settings)]),
        _deploying_builder(BuilderName.LIVE, settings, [
            steps.Admit(settings, BuilderName.LIVE), steps.AwaitApproval(settings), steps.AwaitTurn(settings),
            steps.ApplyLive(settings), steps.DeployToOthers(settings), steps.Record(settings)]),
        _builder(BuilderName.APPROVE, [DECIDING], [steps.Decide(settings)]),
        _builder(BuilderName.BEGIN_NOW, [DECIDING], [steps.BeginNow(settings)]),
        _builder(BuilderName.REOPEN, [DECIDING], [steps.Reopen(settings)]),
    ]


def _builder(name: BuilderName, worker_names: list[str], runbook: list[RunbookStep], **keywords: Any
             ) -> util.BuilderConfig:
    factory = BuildFactory(runbook)
    factory.buildClass = RunbookBuild
    return util.BuilderConfig(name=name.value, workernames=worker_names, factory=factory, collapseRequests=False,
                              description=ABOUT[name], tags=["fastdowntime"],
                              **{"canStartBuild": leadership.may_begin, **keywords})


def _deploying_builder(name: BuilderName, settings: Settings, runbook: list[RunbookStep]) -> util.BuilderConfig:
    places = Places(settings)
    builder = _builder(name, _deploying(), runbook, nextBuild=places.next_request, canStartBuild=places.may_begin)
    builder.factory.buildClass = DeploymentBuild
    return builder


def _deploying() -> list[str]:
    return [f"{DEPLOYING}-{number}" for number in range(1, DEPLOYING_COUNT + 1)]
