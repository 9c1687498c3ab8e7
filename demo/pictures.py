"""Takes the pictures of the pages that docs/ shows: of the demo that is up, in Debian's Chromium.

For whoever changes a page: `make up`, then `python -m demo pictures`, then look at each of them. What has been decided
since the demo came up shows in them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from demo import application, history
from demo.sandbox import ROOT, Sandbox
from demo.web import Web, WebError
from steps.shared.names import BuilderName

if TYPE_CHECKING:  # only who takes pictures needs a browser
    from playwright.sync_api import Browser, FloatRect, Page

ALONE = "plugins/wsgi_dashboards/deployments/"  # our pages without Buildbot's menu around them
IMAGES = ROOT / "docs" / "images"
BROWSER = "chromium"
WIDTHS = {"": 1280, "-phone": 390}  # pixels, by the end of the file's name
HEIGHT = 800
HEAVY_BYTES = 190_000               # a picture that everybody fetches with the repository
WAIT_MS = 30_000                    # for what should be there at once, on a busy machine
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SIGNED_IN = "#visitor:has-text('Signed in as')"

PAGES = {"board": "board", "waiting": f"deployment?patch={quote(history.PENDING)}",
         "deployment": f"deployment?patch={quote(history.ABORTED)}&user={quote(application.FRAGILE)}",
         "charts": "charts", "decisions": "decisions"}


def take(folder: Path, images: Path = IMAGES) -> Iterator[Path]:
    """Every page at the width of a desk and of a phone. Raises SandboxError, WebError."""
    sandbox = Sandbox.open(folder)
    address = sandbox.address + ALONE
    Web(sandbox.address).text("config")  # whether anybody answers
    with _browser() as browser:
        for end, width in WIDTHS.items():
            with _window(browser, sandbox, "approver", width) as page:
                for name, path in PAGES.items():
                    page.goto(address + path)
                    page.locator(SIGNED_IN).wait_for()
                    yield _shot(page, images / f"{name}{end}.png", whole=True)
                yield _in_buildbot(page, sandbox, images / f"in-buildbot{end}.png")
        with _window(browser, sandbox, "developer", WIDTHS[""]) as page:
            yield _refused(page, address, images / "refused.png")
            yield _build(page, sandbox, images / "production-build.png")


def _in_buildbot(page: Page, sandbox: Sandbox, path: Path) -> Path:
    page.goto(sandbox.front_page)
    page.frame_locator("iframe").locator(SIGNED_IN).wait_for()
    return _shot(page, path, whole=False)


def _refused(page: Page, address: str, path: Path) -> Path:
    """Somebody presses a button that is not for them."""
    page.goto(f"{address}board?q={quote(history.PENDING)}")
    page.locator(SIGNED_IN).wait_for()
    page.get_by_role("button", name="Approve").click()
    page.locator("form.act .answer.refused").wait_for()
    return _shot(page, path, whole=False)


def _build(page: Page, sandbox: Sandbox, path: Path) -> Path:
    """Buildbot's own page of the newest deployment that went well."""
    web = Web(sandbox.address)
    number = next(build.number for build in web.builds(BuilderName.PRODUCTION) if build.complete and build.good)
    (builder,) = web.get(f"builders/{BuilderName.PRODUCTION}")["builders"]
    page.goto(f"{sandbox.address}#/builders/{builder['builderid']}/builds/{number}")
    page.get_by_text("allow connections").first.wait_for()
    return _shot(page, path, whole=False)


@contextmanager
def _browser() -> Iterator[Browser]:
    program = shutil.which(BROWSER)
    if program is None:
        raise WebError(0, f"{BROWSER} is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _window(browser: Browser, sandbox: Sandbox, name: str, width: int) -> Iterator[Page]:
    """Somebody's, signed in."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce",
        http_credentials={"username": name, "password": sandbox.passwords[name]})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    try:
        page.goto(f"{sandbox.address}auth/login")
        yield page
    finally:
        context.close()


def _shot(page: Page, path: Path, *, whole: bool) -> Path:
    """A page that would be too heavy is cut off below."""
    picture = page.screenshot(full_page=whole, animations="disabled")
    if len(picture) > HEAVY_BYTES:
        height = int(page.evaluate("document.documentElement.scrollHeight") * HEAVY_BYTES / len(picture))
        clip: FloatRect = {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": height}
        picture = page.screenshot(full_page=True, animations="disabled", clip=clip)
    path.write_bytes(picture)
    return path
