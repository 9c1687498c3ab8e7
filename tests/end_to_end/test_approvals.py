"""What was approved is what runs, at the real buildmaster: other bytes, other evidence, another build are not."""

from __future__ import annotations

import pytest

from demo.stage import WAITING_SECONDS, Stage
from demo.web import Build, WebError
from steps.shared.names import FORCED_BY, BuilderName, Property
from tests.end_to_end.catching_up import HARMLESS, catch_up, next_patch


@pytest.fixture
def stage_with_nothing_pending(told: Stage) -> Stage:
    catch_up(told)
    return told


def approved_with(stage: Stage, build: Build, digest: str) -> str:
    """Approve with a digest that must not count; what the decision's build said."""
    approver = stage.as_("approver")
    request = approver.force(FORCED_BY[BuilderName.APPROVE], build=str(build.id), digest=digest, decision="approve",
                             reason="")
    ended = approver.ended(approver.build_of(BuilderName.APPROVE, request, WAITING_SECONDS), WAITING_SECONDS)
    assert ended.outcome == "failure"
    return approver.steps(ended)[0].state


def test_an_approval_is_for_the_bytes_that_were_shown(stage_with_nothing_pending: Stage) -> None:
    """An edit that lands between rehearsal and approval voids it, and the old build's approval is no use to the next
    build."""
    stage, patch = stage_with_nothing_pending, next_patch(stage_with_nothing_pending)
    stage.rehearse(patch, text=HARMLESS)
    first = stage.waiting(patch)
    edit = stage.land(patch, text=f"{HARMLESS}ALTER TABLE account ADD COLUMN slipped_in text;\n")
    stage.verdict(edit)
    stage.approve(first)
    story = stage.as_("operator").story_of(stage.as_("operator").ended(first, WAITING_SECONDS))
    in_between = stage.ledger("production", patch)
    stage.verdict(stage.sandbox.repository.revert(edit))
    stage.force(patch)
    second = stage.waiting(patch)
    late = stage.is_refused(first, "approver")
    stage.deploys(second)

    assert "is not what was rehearsed any more" in story
    assert in_between is None
    assert f"no deployment waits under build {first.id}" in late


def test_an_approval_is_for_the_evidence_that_was_shown(stage_with_nothing_pending: Stage) -> None:
    """Digests of something else, of nothing, or of too little do not count, nor the old one after a new rehearsal."""
    stage, patch = stage_with_nothing_pending, next_patch(stage_with_nothing_pending)
    stage.rehearse(patch, text=HARMLESS)
    first = stage.waiting(patch)
    digest = stage.as_("approver").build(first).properties[Property.DIGEST]
    others = [approved_with(stage, first, other) for other in ("0" * 64, digest[:11], digest[1:])]
    stage.sandbox.servers["staging"].admin_sql("DELETE FROM fastdowntime.ledger WHERE id = %s", (patch,),
                                               database="app")
    again = stage.force("", BuilderName.STAGING)
    stage.as_("operator").ended(again, WAITING_SECONDS)
    with_the_old_one = approved_with(stage, first, digest)
    in_between = stage.ledger("production", patch)
    renewed = stage.as_("operator").build(first)
    stage.deploys(renewed)

    assert all("about something else than what is waiting" in said for said in (*others, with_the_old_one))
    assert in_between is None
    assert renewed.properties[Property.DIGEST] != digest


def test_an_operator_cannot_approve_what_they_asked_for(stage_with_nothing_pending: Stage) -> None:
    """They have no such button, neither under its own name nor through one of theirs."""
    stage, patch = stage_with_nothing_pending, next_patch(stage_with_nothing_pending)
    stage.rehearse(patch, text=HARMLESS)
    offered = stage.waiting(patch)
    stage.as_("operator").stop(offered, "asked for by hand instead")
    stage.as_("operator").ended(offered, WAITING_SECONDS)
    stage.force(patch)
    build = stage.waiting(patch)
    digest = stage.as_("operator").build(build).properties[Property.DIGEST]
    (approve,) = [each["builderid"] for each in stage.as_("operator").get("builders")["builders"]
                  if each["name"] == BuilderName.APPROVE]
    statuses = []
    for form in FORCED_BY.values():
        with pytest.raises(WebError) as refused:
            stage.as_("operator").force(form, builderid=approve, build=str(build.id), digest=digest, patch=patch,
                                        decision="approve", reason="", environment="production")
        statuses.append(refused.value.status)
    waits = not stage.as_("operator").build(build).complete
    stage.deploys(build)

    assert statuses == [403] * len(FORCED_BY)
    assert waits
