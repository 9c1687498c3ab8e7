"""Hand a rehearsed patch on to `production` or `live`: one build each, in order, not waited for."""

from __future__ import annotations

from buildbot.process.properties import Properties
from buildbot.reporters.utils import getURLForBuildrequest

from downtime.evidence import Evidence
from downtime.history.events import Offered
from downtime.patches import Lane
from downtime.repository import without_credentials
from steps.shared import happenings
from steps.shared.base import RunbookStep
from steps.shared.names import BUILDER_OF, OFFERED_BY, Property


async def offer(step: RunbookStep, evidence: Evidence, *, lane: Lane, authors: frozenset[str]) -> str:
    """Trigger the build that will ask for approval; returns the name of its builder."""
    builder = BUILDER_OF[lane]
    properties = Properties()
    for name, value in ((Property.PATCH, evidence.patch_id), (Property.SHA256, evidence.sha256),
                        (Property.DIGEST, evidence.digest), (Property.REQUESTED_BY, sorted(authors))):
        properties.setProperty(name, value, step.name)
    scheduler = next(each for each in step.master.allSchedulers() if each.name == OFFERED_BY[builder])
    repository = step.settings.repository
    added, finished = scheduler.trigger(
        waited_for=False, set_props=properties, parent_buildid=step.build_id, parent_relationship="Triggered from",
        sourcestamps=[{"codebase": "", "repository": without_credentials(repository.url), "project": "",
                       "branch": repository.branch, "revision": evidence.commit}])
    finished.addBoth(lambda _: None)  # nobody waits for it: it may wait for an approval for days
    _, requests = await added
    for request_id in requests.values():
        step.journal.note(Offered(at=happenings.now(), patch_id=evidence.patch_id, request_id=request_id,
                                  requested_by=tuple(sorted(authors))))
        await step.addURL(f"{evidence.patch_id} → {builder}", getURLForBuildrequest(step.master, request_id))
    return builder.value
