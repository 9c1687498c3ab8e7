"""Debian's Chromium, driven as a person would: one browser, and a visitor with cookies of their own for each person.

Playwright speaks to the browser that is installed; nothing is downloaded.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest

from demo.stage import Stage

if TYPE_CHECKING:  # whoever runs other tests needs no browser
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, FrameLocator, Locator, Page

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync")
PATIENCE_MS = 30_000  # for what should be there at once, on a busy machine
PAGES = "plugins/wsgi_dashboards/deployments/"
STRANGER = "stranger"  # somebody who does not sign in

# The browser says so of every answer that is no 200: a refusal, a page that waits for an outage.
ANSWERED_NO = re.compile(r"Failed to load resource: the server responded with a status of (403|503)")

As = Callable[[str], "Visitor"]


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A running browser, ended afterwards. Skips the test where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person, with cookies of their own. `strange` collects what no page of ours should make a browser do.

    Buildbot's own page asks for files that it does not have; only what it asks of others counts.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.strange: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: self._note_request(request.url))
        context.on("console", self._note_console)
        context.on("weberror", lambda failed: self._note_failure(failed.error, failed.page.url if failed.page else ""))
        self.page = context.new_page()

    @classmethod
    def signed_in(cls, browser: Browser, address: str, name: str, password: str) -> Self:
        """Somebody who has followed the link "Sign in" of our own pages."""
        visitor = cls(browser.new_context(http_credentials={"username": name, "password": password}), address)
        visitor.open("board").get_by_role("link", name="Sign in").click()
        visitor.frame.get_by_text(f"Signed in as {name}").wait_for()
        return visitor

    def open(self, path: str) -> Page:
        """One of our pages alone."""
        self.page.goto(f"{self.address}{PAGES}{path}")
        return self.page

    @property
    def frame(self) -> FrameLocator:
        """Our page inside Buildbot's."""
        return self.page.frame_locator("iframe.deployments-frame")

    def row(self, patch: str) -> Locator:
        """A patch on the board."""
        return self.page.locator("table.board tr", has=self.page.get_by_role("link", name=patch, exact=True))

    def form(self, patch: str) -> Locator:
        """What can be decided about a patch: on its own page, or below its row on the board."""
        return self.page.locator("form.act").filter(has_text=patch)

    def press(self, patch: str, button: str, *, reason: str = "") -> None:
        """Write a reason, and press one of the buttons about a patch."""
        form = self.form(patch)
        form.wait_for()
        if (folded := form.locator("details:not([open])", has_text=button)).count():
            folded.locator("summary").click()
        form.get_by_label("Reason").fill(reason)
        form.get_by_role("button", name=button).click()

    def answer(self, patch: str) -> Locator:
        """The sentence that came of pressing a button, when it is the last word."""
        return self.form(patch).locator(".answer").filter(has_not_text="Asking …").filter(
            has_text=re.compile(r"\w"))

    def _note_request(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", "about:")):
            self.strange.append(f"asked {url}")

    def _note_console(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type == "error" and not ANSWERED_NO.match(message.text) and not self._is_buildbots(where):
            self.strange.append(f"console: {message.text} ({where})")

    def _note_failure(self, error: Error, where: str) -> None:
        if PAGES in (error.stack or "") or not self._is_buildbots(where):
            self.strange.append(f"script failed: {error.message}")

    def _is_buildbots(self, where: str) -> bool:
        return where.startswith(self.address) and PAGES not in where


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as running:
        yield running


@pytest.fixture(scope="module")
def visitors() -> dict[str, Visitor]:
    """Whoever has come already."""
    return {}


@pytest.fixture
def as_(browser: Browser, visitors: dict[str, Visitor], stage: Stage) -> Iterator[As]:
    """`as_(name)`: that person's window; they sign in when they are first needed. No test may have made a browser
    ask anybody else, or complain.
    """
    def visitor(name: str) -> Visitor:
        address = stage.sandbox.address
        if name not in visitors and name == STRANGER:
            visitors[name] = Visitor(browser.new_context(), address)
        elif name not in visitors:
            visitors[name] = Visitor.signed_in(browser, address, name, stage.sandbox.passwords[name])
        return visitors[name]

    yield visitor
    strange = [f"{name}: {each}" for name, known in visitors.items() for each in known.strange]
    for known in visitors.values():
        known.strange.clear()
        known.page.emulate_media(color_scheme=None)
    assert strange == []
