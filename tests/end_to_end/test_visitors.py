"""Every visitor at every door that changes something, at the real buildmaster with a deployment waiting in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from buildbot.www.ws import WsProtocol

from demo.stage import WAITING_SECONDS, Stage
from demo.web import Build, Web, WebError
from steps.shared.names import FORCED_BY, BuilderName, Property
from tests.end_to_end.catching_up import HARMLESS, catch_up, next_patch
from tests.end_to_end.controls import controls, pieces_of_the_web_server
from tests.end_to_end.telling import Telling

VISITORS = ("anonymous", "developer", "operator", "approver", "architect")
NOBODY: frozenset[str] = frozenset()
OPERATOR = frozenset({"operator"})
FORBIDDEN = 403

# who may do what, by the thing it is done to; for a form see MAY_FORCE
MAY = {
    ("builds", "stop"): OPERATOR, ("builds", "rebuild"): NOBODY,
    ("buildrequests", "cancel"): OPERATOR, ("buildrequests", "set_priority"): NOBODY,
    ("schedulers", "enable"): OPERATOR,
    ("workers", "pause"): OPERATOR, ("workers", "unpause"): OPERATOR,
    ("workers", "stop"): NOBODY, ("workers", "kill"): NOBODY,
    ("forceschedulers", "force"): None,
}
MAY_FORCE = {
    BuilderName.STAGING: {"operator", "architect"}, BuilderName.PRODUCTION: {"operator"},
    BuilderName.LIVE: {"operator"}, BuilderName.APPROVE: {"approver", "architect"}, BuilderName.BEGIN_NOW: {"operator"},
    BuilderName.REOPEN: {"operator"},
}

# what else the web server has, and what keeps a stranger from changing something there
PIECES = {
    "": "the page itself", "api": "tested here", "auth": "sign-in and sign-out of the visitor's own session",
    "avatar": "pictures", "config": "what the page is told", "ws": "events to read", "sse": "events to read",
    "change_hook": "only looks at our repository a moment earlier",
}

FORGED = {
    Property.BEGUN: True, Property.APPROVED_BY: "approver", Property.APPROVED_DIGEST: "0" * 64,
    Property.APPROVED_AT: ["2026-03-04T08:30:00+00:00"], Property.HURRIED: "operator",
    Property.SIGNED_OFF: "patch", Property.REQUESTED_BY: ["nobody"], Property.SHA256: "0" * 64,
    Property.DIGEST: "0" * 64, "scheduler": "offer-to-production", "owner": "approver@example.org",
    "username": "approver@example.org", "buildername": "approve",
}


def visitor(stage: Stage, name: str) -> Web:
    return Web(stage.sandbox.address) if name == "anonymous" else stage.as_(name)


@pytest.fixture(scope="module")
def caught_up(telling: Telling) -> Stage:
    telling.to_the_end()
    catch_up(telling.stage)
    return telling.stage


@pytest.fixture(scope="module")
def waiting(caught_up: Stage) -> Iterator[Build]:
    """A deployment that an operator has asked for, with forged properties; it is approved in the end."""
    stage, patch = caught_up, next_patch(caught_up)
    stage.rehearse(patch, text=HARMLESS)
    offered = stage.waiting(patch)
    stage.as_("operator").stop(offered, "asked for by hand instead")
    stage.as_("operator").ended(offered, WAITING_SECONDS)
    stage.as_("operator").force(FORCED_BY[BuilderName.PRODUCTION], patch=patch, **FORGED)
    build = stage.waiting(patch)
    yield build
    stage.deploys(build)


def things(stage: Stage, build: Build) -> dict[str, str]:
    """Real things to put into the patterns of paths: those of the deployment that waits."""
    (found,) = stage.as_("developer").get(f"builds/{build.id}")["builds"]
    worker = next(each for each in stage.as_("developer").get("workers")["workers"]
                  if each["workerid"] == found["workerid"])
    (scheduler,) = [each for each in stage.as_("developer").get("schedulers")["schedulers"]
                    if each["name"] == "landings"]
    return {"n:buildid": build.id, "n:build_number": build.number, "n:builderid": found["builderid"],
            "s:buildername": build.builder, "n:buildrequestid": found["buildrequestid"], "n:masterid": 1,
            "n:workerid": worker["workerid"], "i:name": worker["name"], "n:schedulerid": scheduler["schedulerid"],
            "i:schedulername": FORCED_BY[BuilderName.PRODUCTION]}


def concrete(pattern: str, found: dict[str, str]) -> str:
    return "/".join(str(found[part]) if ":" in part else part for part in pattern.strip("/").split("/"))


def thing_of(pattern: str) -> str:
    return pattern.split("/")[-2]


def status_of(who: Web, path: str, action: str, **fields: Any) -> int:
    try:
        who.call(path, action, **fields)
    except WebError as error:
        return error.status
    return 200


def state_of(stage: Stage, build: Build) -> dict[str, Any]:
    """What a stranger could have changed."""
    look = stage.as_("developer")
    return {
        "waits": [step.state for step in look.steps(build) if not step.complete],
        "builds": {each["buildid"] for each in look.get("builds")["builds"]},
        "requests": {(each["buildrequestid"], each["priority"]) for each in look.get("buildrequests")["buildrequests"]},
        "schedulers": {each["name"]: each["enabled"] for each in look.get("schedulers")["schedulers"]},
        "workers": {each["name"]: (each["paused"], each["graceful"]) for each in look.get("workers")["workers"]},
        "changes": {each["changeid"] for each in look.get("changes")["changes"]},
    }


def test_every_control_of_this_buildbot_is_decided_about() -> None:
    """A new version that lets visitors change more fails here until somebody has thought about it."""
    assert {(thing_of(pattern), action) for pattern, action in controls()} == set(MAY)
    assert pieces_of_the_web_server() == set(PIECES)
    assert {name for name in dir(WsProtocol) if name.startswith("cmd_")} == {
        "cmd_ping", "cmd_startConsuming", "cmd_stopConsuming"}


@pytest.mark.parametrize("name", VISITORS)
def test_who_has_no_role_for_it_changes_nothing(caught_up: Stage, waiting: Build, name: str) -> None:
    """Every action at every path that leads to it, in capitals too: forbidden, and all is as it was."""
    found, who = things(caught_up, waiting), visitor(caught_up, name)
    before = state_of(caught_up, waiting)
    answers = {}
    for pattern, action in sorted(controls()):
        allowed = MAY[thing_of(pattern), action]
        if name not in (MAY_FORCE[BuilderName.PRODUCTION] if allowed is None else allowed):
            for spelling in (action, action.upper()):
                answers[concrete(pattern, found), spelling] = status_of(
                    who, concrete(pattern, found), spelling, enabled=False, priority=99, patch="patch-1")

    assert answers
    assert {asked: status for asked, status in answers.items() if status != FORBIDDEN} == {}
    assert state_of(caught_up, waiting) == before


@pytest.mark.parametrize("name", VISITORS)
def test_no_form_opens_the_door_of_another(caught_up: Stage, waiting: Build, name: str) -> None:
    """A form with another builder's id or name, another owner, properties like ours: forbidden as without them."""
    who, ids = visitor(caught_up, name), builder_ids(caught_up)
    before = state_of(caught_up, waiting)
    answers = {}
    for form, scheduler in FORCED_BY.items():
        for builder in BuilderName:
            reached = {"builderid": builder, "builderNames": form}  # names are taken only if they are the form's own
            for way, value in (("builderid", ids[builder]), ("builderid", str(ids[builder])),
                               ("builderNames", [builder.value])):
                if name not in MAY_FORCE[reached[way]]:
                    answers[scheduler, way, str(value)] = status_of(who, f"forceschedulers/{scheduler}", "force", **{
                        **FORGED, way: value, "patch": "patch-1", "build": "1", "digest": "", "decision": "approve",
                        "environment": "production"})

    wrong = {asked: status for asked, status in answers.items() if status != FORBIDDEN}
    if name == "operator":  # may ask for a build of nothing, as Buildbot sees it, and gets none
        wrong = {asked: status for asked, status in wrong.items() if "builderNames" not in asked}
    assert len(answers) > 10 or name == "operator"
    assert wrong == {}
    assert state_of(caught_up, waiting) == before


def builder_ids(stage: Stage) -> dict[str, int]:
    return {each["name"]: each["builderid"] for each in stage.as_("developer").get("builders")["builders"]}


@pytest.mark.parametrize("form", [each for each in BuilderName if each is not BuilderName.PRODUCTION])
def test_an_operator_deploys_with_the_form_of_deployments_alone(caught_up: Stage, form: BuilderName) -> None:
    """Another form does not say what its fields mean here: the build is made, and refused by its first step."""
    operator = caught_up.as_("operator")
    fields = {"patch": "patch-1", "build": "1", "digest": "0", "decision": "approve", "environment": "production"}
    request = operator.force(FORCED_BY[form], builderid=builder_ids(caught_up)[BuilderName.PRODUCTION], **fields)
    build = operator.ended(operator.build_of(BuilderName.PRODUCTION, request, WAITING_SECONDS), WAITING_SECONDS)

    assert build.outcome == "failure"
    assert f"the scheduler '{FORCED_BY[form]}' may not build production" in caught_up.as_("operator").story_of(build)


def test_what_a_form_was_not_made_for_is_not_taken_from_it(waiting: Build) -> None:
    """Who asked comes from the sign-in, and what only steps may say was not said."""
    kept = waiting.properties

    assert kept["owner"] == "operator@example.org"
    assert kept["scheduler"] == FORCED_BY[BuilderName.PRODUCTION]
    assert {"operator", "operator@example.org"} <= set(kept[Property.REQUESTED_BY])
    assert "0" * 64 not in (kept[Property.SHA256], kept[Property.DIGEST])
    assert set(kept).isdisjoint({Property.BEGUN, Property.APPROVED_BY, Property.APPROVED_DIGEST, Property.SIGNED_OFF})


def test_nobody_repeats_a_build_that_has_ended(caught_up: Stage) -> None:
    """An approver neither: a rebuild would carry the name of whoever asked first."""
    ended = next(build for build in caught_up.as_("developer").builds(BuilderName.PRODUCTION) if build.complete)
    answers = {name: status_of(visitor(caught_up, name), f"builds/{ended.id}", "rebuild") for name in VISITORS}

    assert set(answers.values()) == {FORBIDDEN}


JSON = {"Content-Type": "application/json"}
FORCE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"patch": "patch-1"}}).encode()


@pytest.mark.parametrize(("method", "headers"), [
    ("GET", {}), ("HEAD", {}), ("POST", {}), ("POST", {"Content-Type": "text/plain"}),
    ("POST", {"Content-Type": "application/x-www-form-urlencoded"}), ("POST", {**JSON, "Origin": "null"}),
    ("POST", {**JSON, "Origin": "http://elsewhere.example.org"}), ("POST", {**JSON, "Origin": "OWN.example.org"}),
    ("PUT", JSON), ("DELETE", JSON), ("OPTIONS", {"Origin": "http://elsewhere.example.org"})])
def test_a_page_elsewhere_has_no_use_of_an_operators_session(
        caught_up: Stage, waiting: Build, method: str, headers: dict[str, str]) -> None:
    """What a browser can be made to send without asking us first changes nothing."""
    before = state_of(caught_up, waiting)
    sent = {name: value.replace("OWN", caught_up.sandbox.address.rstrip("/")) for name, value in headers.items()}
    path = f"api/v2/forceschedulers/{FORCED_BY[BuilderName.PRODUCTION]}?method=force&patch=patch-1"
    answer = caught_up.as_("operator").ask(path, method=method, headers=sent, body=FORCE if method != "GET" else None)

    assert answer.status == (FORBIDDEN if method == "HEAD" else 400)
    assert "http://elsewhere" not in answer.headers.get("Access-Control-Allow-Origin", "")
    assert state_of(caught_up, waiting) == before


def test_a_program_without_a_browser_needs_no_origin(caught_up: Stage) -> None:
    """Every browser sends one with a request across pages."""
    found = things(caught_up, caught_up.as_("developer").builds(BuilderName.PRODUCTION)[0])
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "enable", "params": {"enabled": True}}).encode()
    path = f"api/v2/schedulers/{found['n:schedulerid']}"

    assert caught_up.as_("operator").ask(path, method="POST", headers=JSON, body=body).status == 200
    assert caught_up.as_("developer").ask(path, method="POST", headers=JSON, body=body).status == FORBIDDEN


@pytest.mark.parametrize("redirect", ["//evil.example.org", "http://evil.example.org", "/@evil.example.org",
                                      "%0d%0aSet-Cookie:%20owned=1"])
@pytest.mark.parametrize("page", ["login", "logout"])
def test_signing_in_or_out_leads_nowhere_else(caught_up: Stage, page: str, redirect: str) -> None:
    """A link to our sign-in is no way to somebody else's pages."""
    web_of_nobody = Web(caught_up.sandbox.address)
    login = {"Authorization": "Basic ZGV2ZWxvcGVyOmRldmVsb3Blci1zZWNyZXQ="}  # the demo's developer
    answer = web_of_nobody.ask(f"auth/{page}?redirect={redirect}", headers=login)

    assert answer.status in (302, 307)
    assert answer.headers["Location"].startswith(f"{caught_up.sandbox.address}#")
    assert "owned" not in answer.headers.get("Set-Cookie", "")


@pytest.mark.parametrize(("path", "status"), [
    ("change_hook/poller", 200), ("change_hook/poller?poller=fastdowntime", 200),
    ("change_hook/poller?poller=other", 400), ("change_hook", 400), ("change_hook/base", 400),
    ("change_hook/github", 400), ("change_hook/gitlab", 400)])
def test_a_hook_only_makes_us_look_at_our_own_repository(
        caught_up: Stage, waiting: Build, path: str, status: int) -> None:
    """Nobody injects a change: what is there comes from git."""
    before = state_of(caught_up, waiting)
    body = b"branch=devel&revision=0&files=%5B%22database%2Fschema%2Fpatch-1.sql%22%5D&author=x&comments=x"

    assert Web(caught_up.sandbox.address).ask(path, method="POST", body=body).status == status
    assert Web(caught_up.sandbox.address).ask(path).status == status
    assert state_of(caught_up, waiting) == before


@pytest.mark.parametrize("path", ["..%2f..%2fsecrets%2fproduction", "%2e%2e/%2e%2e/secrets/production",
                                  "static/..%2f..%2f..%2fetc%2fpasswd", "state.sqlite", "twistd.log"])
def test_no_path_leads_to_a_file_of_the_master(caught_up: Stage, path: str) -> None:
    """The web server serves its own pages."""
    answer = Web(caught_up.sandbox.address).ask(path)

    assert answer.status == 404
    assert "root:" not in answer.text
