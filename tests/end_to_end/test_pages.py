"""The pages in a real browser: everybody can look, whoever may not decide is told so, and no hands or eyes are needed
that somebody may not have. A deployment waits for its approval all the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from demo.stage import Stage
from demo.story import COLD
from demo.web import Build, Web
from tests.end_to_end import perceived
from tests.end_to_end.browser import PAGES, STRANGER, As, Visitor
from tests.end_to_end.catching_up import HARMLESS, catch_up, next_patch
from tests.end_to_end.telling import Telling

READABLE = 4.5           # contrast that WCAG 2 asks of texts, level AA
PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1280, height=720)
ELSEWHERE = "http://elsewhere.invalid/picture.png"
SHARED = re.compile(f"#/deployments\\?at=.*{re.escape(COLD)}")  # Buildbot's address of the page of that patch
MOST_STOPS = 150         # of the Tab key before it is back at the beginning

ALL = ["board", "waiting", "deployed", "charts", "decisions"]
SIGN_IN = "You are not signed in. Only approvers and sign-off people may decide. Sign in"
MAY_NOT = "{name} may not do this. Only approvers and sign-off people may decide."


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A patch that waits for its approval."""

    stage: Stage
    patch: str
    build: Build

    def version(self) -> str:
        """Changes with everything that happens to any patch."""
        return Web(self.stage.sandbox.address).text(f"{PAGES}version")

    def still_waits(self) -> bool:
        return not self.stage.as_("developer").build(self.build).complete

    def path(self, page: str) -> str:
        patches = {"waiting": self.patch, "deployed": COLD}
        return f"deployment?patch={quote(patches[page])}" if page in patches else page


@pytest.fixture(scope="module")
def waiting(telling: Telling) -> Iterator[Waiting]:
    telling.to_the_end()
    stage = telling.stage
    catch_up(stage)
    patch = next_patch(stage)
    stage.rehearse(patch, text=HARMLESS)
    build = stage.waiting(patch)
    yield Waiting(stage=stage, patch=patch, build=build)
    stage.deploys(build)


@pytest.fixture
def unfolded(as_: As, waiting: Waiting, request: pytest.FixtureRequest) -> Iterator[Page]:
    """One of the pages, whose name the test gives, with everything on it unfolded."""
    page = as_("approver").open(waiting.path(request.param))
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    yield page
    page.emulate_media(color_scheme=None)
    page.set_viewport_size(DESKTOP)


on_every_page = pytest.mark.parametrize("unfolded", ALL, indirect=True)


@pytest.mark.parametrize(("name", "heading"), [
    ("board", "Deployments"), ("charts", "Charts"), ("decisions", "Decisions"), ("deployed", COLD)])
def test_a_stranger_reads_everything(as_: As, waiting: Waiting, name: str, heading: str) -> None:
    """Nobody has to sign in to look."""
    page = as_(STRANGER).open(waiting.path(name))

    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.get_by_text("Not signed in.")).to_be_visible()


def test_buildbots_menu_leads_to_the_pages(as_: As, waiting: Waiting) -> None:
    """They are shown in Buildbot's own, and the address that is shared leads to the very page."""
    stranger = as_(STRANGER)
    stranger.page.goto(waiting.stage.sandbox.address)
    stranger.page.get_by_role("link", name="Deployments").click()
    expect(stranger.frame.get_by_role("heading", level=1)).to_have_text("Deployments")
    stranger.frame.get_by_role("link", name=COLD).click()
    expect(stranger.frame.get_by_role("heading", level=1)).to_have_text(COLD)
    expect(stranger.page).to_have_url(SHARED)
    stranger.page.reload()

    expect(stranger.frame.get_by_role("heading", level=1)).to_have_text(COLD)


def test_whoever_clicks_before_a_page_has_its_script_gets_there(as_: As, waiting: Waiting) -> None:
    """The page does not take the address, which still has the one before, for where they want to be."""
    stranger = as_(STRANGER)
    stranger.page.goto("about:blank")
    held: list[Route] = []
    stranger.page.route("**/pages.js", lambda route: route.continue_() if held else held.append(route))
    stranger.page.goto(f"{waiting.stage.sandbox.address}#/deployments")
    stranger.frame.get_by_role("link", name=COLD).click(no_wait_after=True)

    expect(stranger.page).to_have_url(SHARED)
    expect(stranger.frame.get_by_role("heading", level=1)).to_have_text(COLD)
    stranger.page.unroute("**/pages.js")


def test_a_page_is_not_shown_anew_under_a_finger(as_: As, waiting: Waiting) -> None:
    """A link that were replaced between pressing the button and letting go would not be followed."""
    page = as_(STRANGER).open(waiting.path("board"))
    page.get_by_role("link", name=COLD).hover()
    page.mouse.down()
    page.evaluate("showAnew(busy)")
    page.mouse.up()

    expect(page.get_by_role("heading", level=1)).to_have_text(COLD)


@pytest.mark.parametrize(("name", "button"), [
    (STRANGER, "Approve"), (STRANGER, "Override"), ("developer", "Reject"), ("operator", "Approve")])
def test_whoever_may_not_decide_is_told_who_may(as_: As, waiting: Waiting, name: str, button: str) -> None:
    """In a sentence beside the button; nothing has changed."""
    before, visitor = waiting.version(), as_(name)
    visitor.open("board")
    visitor.press(waiting.patch, button, reason="I should like to")

    expect(visitor.answer(waiting.patch)).to_have_text(SIGN_IN if name == STRANGER else MAY_NOT.format(name=name))
    assert waiting.still_waits()
    assert waiting.version() == before


@pytest.mark.parametrize(("name", "button"), [("approver", "Reject"), ("architect", "Override")])
def test_what_needs_a_reason_asks_for_one(as_: As, waiting: Waiting, name: str, button: str) -> None:
    """A rejection and an override without one are not even sent."""
    before, visitor = waiting.version(), as_(name)
    visitor.open("board")
    visitor.press(waiting.patch, button, reason="  ")

    expect(visitor.answer(waiting.patch)).to_contain_text("Write a reason first")
    expect(visitor.form(waiting.patch).get_by_label("Reason")).to_be_focused()
    assert waiting.version() == before


def test_an_approver_cannot_override(as_: As, waiting: Waiting) -> None:
    """The buildmaster's own refusal is shown, with who may."""
    approver = as_("approver")
    approver.open("board")
    approver.press(waiting.patch, "Override", reason="it is late")

    expect(approver.answer(waiting.patch)).to_contain_text("approver may not override (settings: people.signoff)")
    assert waiting.still_waits()


def test_filters_live_in_the_address(as_: As, waiting: Waiting) -> None:
    """What somebody has looked for can be sent to somebody else."""
    page = as_(STRANGER).open("board")
    page.get_by_label("Find").fill(COLD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{waiting.stage.sandbox.address}{PAGES}board?q={COLD}")

    expect(page.locator("table.board tr:has(a.name)")).to_have_count(1)
    expect(page.get_by_label("Find")).to_have_value(COLD)


@on_every_page
def test_the_keyboard_reaches_everything(unfolded: Page) -> None:
    """Every link, field and button in turn, each with a frame around it."""
    unfolded.evaluate(perceived.STOPS)
    for _ in range(MOST_STOPS):
        unfolded.keyboard.press("Tab")
        if not unfolded.evaluate("reached()"):
            break

    assert unfolded.evaluate("unframed") == []
    assert unfolded.evaluate("missed()") == []


def test_a_decision_needs_no_mouse(as_: As, waiting: Waiting) -> None:
    """From the reason to the button with Tab, and Enter presses it."""
    developer = as_("developer")
    page = developer.open(waiting.path("waiting"))
    developer.form(waiting.patch).get_by_label("Reason").focus()
    page.keyboard.type("looks fine")
    page.keyboard.press("Tab")
    expect(developer.form(waiting.patch).get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")

    expect(developer.answer(waiting.patch)).to_have_text(MAY_NOT.format(name="developer"))


def test_enter_behind_a_reason_decides_nothing(as_: As, waiting: Waiting) -> None:
    """It could be the reason of a rejection as well as of an approval."""
    approver = as_("approver")
    page = approver.open("board")
    before = waiting.version()
    approver.form(waiting.patch).get_by_label("Reason").fill("it locks the table")
    page.keyboard.press("Enter")

    expect(approver.answer(waiting.patch)).to_contain_text("Approve or Reject")
    assert waiting.still_waits()
    assert waiting.version() == before


@on_every_page
def test_a_screen_reader_can_tell_the_page(unfolded: Page) -> None:
    """Everything that can be used has a name, headings are in order, tables say what they are."""
    levels = perceived.headings(unfolded)

    assert perceived.nameless(unfolded) == []
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert [(one, below) for one, below in pairwise(levels) if below > one + 1] == []
    assert perceived.poor_tables(unfolded) == []


@on_every_page
def test_every_text_stands_out_by_day_and_by_night_and_fits_a_phone(unfolded: Page) -> None:
    """Nobody has to guess a word, or to scroll to the side."""
    by_day = perceived.faint(unfolded, at_least=READABLE)
    unfolded.set_viewport_size(PHONE)
    too_wide, by_day_on_a_phone = perceived.sticks_out(unfolded), perceived.faint(unfolded, at_least=READABLE)
    unfolded.emulate_media(color_scheme="dark")

    assert (by_day, by_day_on_a_phone) == ([], [])
    assert perceived.faint(unfolded, at_least=READABLE) == []
    assert too_wide == []


def test_what_these_tests_look_for_is_found(browser: Browser) -> None:
    """On a page that has every fault."""
    visitor = Visitor(browser.new_context(viewport=PHONE), "http://127.0.0.1/")
    visitor.page.set_content(FAULTY)
    visitor.page.evaluate(perceived.STOPS)

    assert [each for each in visitor.strange if ELSEWHERE in each] != []
    assert [each for each in visitor.strange if "script failed" in each] != []
    assert perceived.marks(visitor.page) == [1]
    assert perceived.nameless(visitor.page) == ["button"]
    assert perceived.headings(visitor.page) == [2]
    assert len(perceived.poor_tables(visitor.page)) == 2
    assert perceived.sticks_out(visitor.page) != []
    assert [each for each in perceived.faint(visitor.page, at_least=READABLE) if "pale" in each] != []
    assert visitor.page.evaluate("missed()") == ["<button></button>"]


FAULTY = f"""
<h2>no first heading</h2><button></button><p style="color: #999">pale</p><p style="width: 900px">wide</p>
<table><tr><th>no scope</th></tr></table><img alt="x" src="{ELSEWHERE}"><script>window.marks = 1; nothing()</script>"""
