"""What makes builds: landings, rehearsals that went well, and people with the forms of the web pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from buildbot.plugins import changes, schedulers, util
from twisted.internet.defer import Deferred, succeed

from downtime.approval import Verb
from downtime.patches import Inventory
from downtime.repository import without_credentials
from downtime.settings import Settings
from master import leadership
from steps.shared.names import FORCED_BY, LANDINGS, OFFERED_BY, BuilderName, Property

CLAIM_SECONDS = 2  # between tries of a new leader to get what another buildmaster has done before; Buildbot's own: 300
POLLER = "fastdowntime"  # also the name a hook gives: change_hook/poller?poller=fastdowntime


class OfTheLeader:
    """Of several buildmasters the leader alone does it, so that it has no longer than the lease to wait for."""

    POLL_INTERVAL_SEC = CLAIM_SECONDS
    master: Any

    def _claimService(self) -> Deferred[bool]:
        if not self._may_claim():
            return succeed(False)
        claimed: Deferred[bool] = super()._claimService()  # type: ignore[misc]
        return claimed

    def _may_claim(self) -> bool:
        return leadership.leads(self.master)


class Landings(OfTheLeader, schedulers.SingleBranchScheduler):  # type: ignore[misc]
    """Makes builds of what lands."""


class Poller(OfTheLeader, changes.GitPoller):  # type: ignore[misc]
    """Looks at the branch. Of several buildmasters not before `Landings` listens: what it finds is told once."""

    def _may_claim(self) -> bool:
        if not leadership.several(self.master):
            return True
        landings = self.master.scheduler_manager.namedServices.get(LANDINGS)
        return super()._may_claim() and landings is not None and landings.active


def change_sources(settings: Settings) -> list[Any]:
    """Looks at the branch every few seconds, and at once when a hook knocks."""
    repository = settings.repository
    return [Poller(**_way_to(repository.url), branch=repository.branch, name=POLLER, pollAtLaunch=True,
                              pollInterval=repository.poll_seconds, workdir="gitpoller-fastdowntime")]


def _way_to(url: str) -> dict[str, Any]:
    """The URL for Buildbot, which shows it with every change, and the password of it apart from that."""
    parts = urlsplit(url)
    if parts.password is None:
        return {"repourl": url}
    return {"repourl": without_credentials(url),
            "auth_credentials": (unquote(parts.username or ""), unquote(parts.password))}


def all_schedulers(settings: Settings) -> list[Any]:
    return [
        Landings(
            name=LANDINGS, builderNames=[BuilderName.STAGING.value], treeStableTimer=None,
            change_filter=util.ChangeFilter(branch=settings.repository.branch,
                                            repository=_way_to(settings.repository.url)["repourl"]),
            fileIsImportant=touches_patches(settings), onlyImportant=True),
        *(schedulers.Triggerable(name=name, builderNames=[builder.value]) for builder, name in OFFERED_BY.items()),
        _form(settings, BuilderName.STAGING, "Rehearse what is pending", [
            _text(Property.SIGNOFF_PATCH, "patch to sign off (people.signoff only; needs a reason)")]),
        _form(settings, BuilderName.PRODUCTION, "Deploy a cold patch", [
            _text(Property.PATCH, "patch", required=True)]),
        _form(settings, BuilderName.LIVE, "Deploy a live patch", [
            _text(Property.PATCH, "patch", required=True)]),
        _form(settings, BuilderName.APPROVE, "Approve or reject", [
            _text(Property.BUILD, "build (the number in its log `evidence`)", required=True),
            _text(Property.DIGEST, "digest (in its log `evidence`)", required=True, size=64),
            _choice(Property.DECISION, "decision (override: an emergency; people.signoff only, with a reason)",
                    [verb.value for verb in Verb])]),
        _form(settings, BuilderName.BEGIN_NOW, "Begin an approved deployment now", [
            _text(Property.BUILD, "build that waits for its window", required=True)]),
        _form(settings, BuilderName.REOPEN, "Reopen a database", [
            _choice(Property.ENVIRONMENT, "environment", list(settings.environment_names))]),
    ]


def touches_patches(settings: Settings) -> Callable[[Any], bool]:
    """Whether a landing concerns us: it brings, changes or removes a patch."""
    rules = Inventory(patches=(), rules=settings.patches, not_schema=settings.landing.not_schema)

    def is_important(change: Any) -> bool:
        return any(rules.covers(path) for path in change.files)

    return is_important


def _form(settings: Settings, builder: BuilderName, button: str, fields: list[Any]) -> schedulers.ForceScheduler:
    repository = settings.repository
    return schedulers.ForceScheduler(
        name=FORCED_BY[builder], builderNames=[builder.value], buttonName=button, label=button,
        reason=util.StringParameter(name=Property.REASON, label="reason", default="", required=False, size=60),
        priority=util.IntParameter(name="priority", default=0, hide=True),
        codebases=[util.CodebaseParameter(
            codebase="", branch=util.FixedParameter(name="branch", default=repository.branch),
            revision=util.FixedParameter(name="revision", default=""),
            repository=util.FixedParameter(name="repository", default=without_credentials(repository.url)),
            project=util.FixedParameter(name="project", default=""))],
        properties=fields)


def _text(name: str, label: str, *, required: bool = False, size: int = 40) -> util.StringParameter:
    return util.StringParameter(name=name, label=label, default="", required=required, size=size)


def _choice(name: str, label: str, choices: list[str]) -> util.ChoiceStringParameter:
    return util.ChoiceStringParameter(name=name, label=label, choices=choices, default=choices[0], required=True)
