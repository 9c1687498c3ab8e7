"""Decisions made in a real browser, through the pages alone: each person does there what is theirs to do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import yaml
from playwright.sync_api import expect

from demo import web
from demo.faults.world import REREAD
from demo.sandbox import DATABASE
from demo.stage import DEPLOYED_SECONDS, WAITING_SECONDS, Stage
from demo.web import Build
from steps.shared.names import FORCED_BY, BuilderName
from tests.end_to_end.browser import STRANGER, As
from tests.end_to_end.catching_up import HARMLESS, catch_up, next_patch
from tests.end_to_end.perceived import marks
from tests.end_to_end.telling import Telling

EFFECT_SECONDS = 5.0  # from the click to "approved", on a busy machine; 1 s is promised
SLOW = "-- apply: cold\n-- Takes longer than the budget allows.\nSELECT pg_sleep(1.8);\n"
TRAP = "<img src=x onerror=\"window.marks='image'\"><script>window.marks='script'</script>"
HOSTILE = f"-- apply: cold\n-- {TRAP}\nCOMMENT ON TABLE account IS $${TRAP}$$;\n"


@pytest.fixture(scope="module")
def played(telling: Telling) -> Iterator[Stage]:
    telling.to_the_end()
    yield telling.stage
    settle(telling.stage)


@pytest.fixture
def ready(played: Stage) -> Stage:
    """Nothing waits and nothing is pending, whatever the test before has left."""
    settle(played)
    return played


def settle(stage: Stage) -> None:
    """Stop what waits, and deploy what staging has and production has not."""
    operator = stage.as_("operator")
    for build in operator.builds(BuilderName.PRODUCTION):
        if not build.complete:
            operator.stop(build, "left by another test")
            operator.ended(build, DEPLOYED_SECONDS)
    rehearsed, deployed = (
        {patch for (patch,) in server.admin_sql("SELECT id FROM fastdowntime.ledger", database=DATABASE)}
        for server in (stage.sandbox.servers["staging"], stage.sandbox.servers["production"]))
    if rehearsed - deployed:
        catch_up(stage)


def waiting(stage: Stage, *, text: str = HARMLESS, author: str = "developer") -> tuple[str, Build]:
    """A new patch, and the build that waits for its approval."""
    patch = next_patch(stage)
    stage.rehearse(patch, text=text, author=author)
    return patch, stage.waiting(patch)


def in_production(stage: Stage, build: Build) -> bool:
    """Whether the deployment has come to its good end."""
    return stage.as_("developer").ended(build, DEPLOYED_SECONDS).good


def waits_for_its_window(stage: Stage, build: Build) -> bool | None:
    """For `web.wait`."""
    return any(step.state.startswith("waiting for the window") for step in stage.as_("operator").steps(build)) or None


def test_a_developer_sees_their_landing_arrive(as_: As, ready: Stage) -> None:
    """The board follows by itself: the patch, and then staging's word about it."""
    developer, patch = as_("developer"), next_patch(ready)
    loads: list[str] = []
    developer.open("board").on("load", lambda page: loads.append(page.url))
    ready.land(patch, text=HARMLESS)

    expect(developer.row(patch)).to_contain_text("within target")
    expect(developer.row(patch)).to_contain_text("waits")
    assert loads == []
    ready.deploys(ready.waiting(patch))


def test_an_operator_asks_with_buildbots_form_and_may_not_approve(as_: As, ready: Stage) -> None:
    """Who asked for a deployment is told that others let it in; an approver then does."""
    operator, approver = as_("operator"), as_("approver")
    patch, offered = waiting(ready)
    ready.as_("operator").stop(offered, "asked for by hand instead")
    ready.as_("operator").ended(offered, WAITING_SECONDS)
    (builder,) = ready.as_("operator").get(f"builders/{BuilderName.PRODUCTION}")["builders"]
    operator.page.goto(f"{ready.sandbox.address}#/builders/{builder['builderid']}/force/"
                       f"{FORCED_BY[BuilderName.PRODUCTION]}")
    operator.page.get_by_label("patch", exact=True).fill(patch)
    operator.page.get_by_role("button", name="Start build").click()
    build = ready.waiting(patch)
    operator.open(f"deployment?patch={patch}")
    operator.press(patch, "Approve")
    expect(operator.answer(patch)).to_contain_text("operator may not do this. Only approvers and sign-off people may")
    expect(operator.page.get_by_role("heading", name="Asked for").first).to_contain_text("operator")
    undecided = not ready.as_("operator").build(build).complete
    approver.open("board")
    approver.press(patch, "Approve")

    assert undecided
    assert in_production(ready, build)


def test_an_approval_takes_effect_at_once(as_: As, ready: Stage) -> None:
    """The click lets it in, the page says so, and the patch is in production."""
    approver = as_("approver")
    patch, build = waiting(ready)
    approver.open("board")
    began = time.monotonic()
    approver.press(patch, "Approve", reason="seen")

    def approved() -> float | None:
        done = any(step.name == "await approval" and step.complete for step in ready.as_("developer").steps(build))
        return time.monotonic() - began if done else None
    seconds = web.wait(approved, WAITING_SECONDS, "the approval to count")
    print(f"from the click to “approved”: {seconds:.2f} s")
    expect(approver.page.locator("#said")).to_contain_text(f"{patch} approved by approver")
    expect(approver.row(patch)).to_contain_text("outage")

    assert seconds < EFFECT_SECONDS
    assert in_production(ready, build)


def test_a_rejection_is_read_by_everybody(as_: As, ready: Stage) -> None:
    """With its reason: on the board, on the page of the patch, in the record of decisions."""
    approver, stranger, reason = as_("approver"), as_(STRANGER), "the table is read all night; wait for Monday"
    patch, build = waiting(ready)
    approver.open("board")
    approver.press(patch, "Reject", reason=reason)
    expect(approver.page.locator("#said")).to_contain_text(f"{patch} rejected by approver: {reason}")
    ended = ready.as_("developer").ended(build, WAITING_SECONDS)

    for path in ("board", f"deployment?patch={patch}", "decisions"):
        expect(stranger.open(path).get_by_role("cell", name=reason).first).to_be_visible()
    assert not ended.good
    assert ready.ledger("production", patch) is None


def test_a_slow_patch_waits_for_a_sign_off(as_: As, ready: Stage) -> None:
    """An approver's word is not enough, and they are told; the architect's is, and it is marked as a sign-off."""
    approver, architect = as_("approver"), as_("architect")
    patch, build = waiting(ready, text=SLOW)
    approver.open(f"deployment?patch={patch}")
    approver.press(patch, "Approve")
    expect(approver.answer(patch)).to_contain_text(f"{patch} needs a sign-off, and approver may not give one")
    architect.open("board")
    expect(architect.row(patch)).to_contain_text("over the limit")
    expect(architect.row(patch)).to_contain_text("needs sign-off")
    architect.press(patch, "Approve")
    deployed = in_production(ready, build)
    decided = architect.open("decisions").get_by_role("row", name=patch).first

    assert deployed
    expect(decided).to_contain_text("architect sign-off")
    expect(decided).to_contain_text("granted")


def test_an_override_is_marked_for_ever(as_: As, ready: Stage) -> None:
    """Its author cannot approve it. As a sign-off person they can let it in, and every page says so in words."""
    architect, reason = as_("architect"), "the disk is full and this frees it"
    patch, build = waiting(ready, author="architect")
    architect.open("board")
    architect.press(patch, "Approve")
    expect(architect.answer(patch)).to_contain_text("somebody else must approve it")
    architect.press(patch, "Override", reason=reason)
    expect(architect.page.locator("#said")).to_contain_text("emergency override by architect")
    deployed = in_production(ready, build)

    assert deployed
    for path in (f"board?q={patch}", f"deployment?patch={patch}", "decisions"):
        mark = architect.open(path).get_by_text("emergency override", exact=True).first
        expect(mark).to_be_visible()
        expect(mark).to_have_class("badge bad")
    expect(architect.page.get_by_role("row", name=patch).first).to_contain_text(reason)


def test_an_operator_lets_it_begin_outside_its_window(as_: As, ready: Stage) -> None:
    """What is approved waits for the window by itself; an approver cannot hurry it, an operator can, with a reason."""
    operator, approver = as_("operator"), as_("approver")
    with no_window_for_months(ready):
        patch, build = waiting(ready)
        ready.approve(build)
        web.wait(lambda: waits_for_its_window(ready, build), WAITING_SECONDS, "the deployment to wait for its window")
        expect(operator.open("board").locator(".summary")).to_contain_text("Next window in")
        approver.open(f"deployment?patch={patch}")
        approver.press(patch, "Begin now", reason="I cannot wait")
        expect(approver.answer(patch)).to_contain_text("Only operators may let a deployment begin outside its window.")
        expect(operator.row(patch)).to_contain_text("in ")
        operator.press(patch, "Begin now")
        expect(operator.answer(patch)).to_contain_text("Write a reason first")
        waits = not ready.as_("operator").build(build).complete
        operator.press(patch, "Begin now", reason="the shop is closed anyway")
        expect(operator.page.locator("#said")).to_contain_text("begins now, on the word of operator")
        deployed = in_production(ready, build)

    assert waits
    assert deployed
    expect(operator.open("decisions").get_by_role("row", name=patch).first).to_contain_text("began outside its window")


def test_no_page_obeys_what_it_shows(as_: As, ready: Stage) -> None:
    """What a patch and a reason say is text, for everybody who looks."""
    approver, stranger = as_("approver"), as_(STRANGER)
    patch = f"{next_patch(ready)}-{TRAP.partition('>')[0]}>"
    ready.rehearse(patch, text=HOSTILE, message=TRAP)
    ready.waiting(patch)
    path = f"deployment?patch={quote(patch, safe='')}"
    diff = approver.open(path).locator(".diff")
    expect(diff).to_contain_text(TRAP)
    approver.page.get_by_label("Reason").fill(TRAP)
    approver.page.get_by_role("button", name="Reject").click()
    expect(approver.page.locator("#said")).to_contain_text(TRAP)

    for visitor, where in ((approver, path), (stranger, path), (stranger, "board"), (stranger, "decisions"),
                           (stranger, "charts")):
        page = visitor.open(where)
        if where != "charts":
            expect(page.get_by_text(TRAP).first).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert marks(page) == []


@contextmanager
def no_window_for_months(stage: Stage) -> Iterator[None]:
    """Production's next window is half a year away."""
    usual = stage.sandbox.settings.read_text()
    settings = yaml.safe_load(usual)
    month = (datetime.now(UTC).month + 5) % 12 + 1
    settings["environments"]["production"]["windows"] = {"cron": [f"0 0 1 {month} *"], "minutes": 1}
    _reconfigure(stage, yaml.safe_dump(settings))
    try:
        yield
    finally:
        _reconfigure(stage, usual)


def _reconfigure(stage: Stage, settings: str) -> None:
    def times_read() -> int:
        return stage.master.log.read_text(errors="replace").count(REREAD)

    process, before = stage.master.process, times_read()
    assert process is not None, "the buildmaster runs"
    stage.sandbox.settings.write_text(settings)
    process.signal(signal.SIGHUP)
    web.wait(lambda: True if times_read() > before else None, WAITING_SECONDS, "the settings to take effect")
