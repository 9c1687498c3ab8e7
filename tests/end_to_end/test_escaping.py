"""What comes from SQL, from git and from clients is shown and never obeyed: neither by a browser nor by a terminal."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from demo.application import APPLICATION
from demo.stage import DEPLOYED_SECONDS, Stage
from demo.web import Build
from downtime.printable import printable
from steps.shared.names import BuilderName
from tests.end_to_end.catching_up import catch_up, next_patch
from tests.end_to_end.telling import Telling

BROWSER = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
           "--disable-component-update", "--disable-sync",
           "--window-size=1400,4000")  # a log shows the lines that fit
RENDERED_MILLISECONDS = 60_000  # of the page's own clock, which runs ahead of ours
BROWSER_SECONDS = 60            # for one look; 2 s is usual
PATIENCE_SECONDS = 120.0        # for looks until the page has come: the page's clock does not wait for the master

IMAGE = "<img src=x onerror=document.body.dataset.owned=1>"  # short enough for an application_name; fit for a path
SCRIPT = "</script><script>document.body.dataset.owned=1</script>"
CLEAR = "\x1b[2J"
TERMINAL = f"{CLEAR}\x1b]0;owned\x07\u202e"
SQL = f"""\
-- apply: cold
-- {IMAGE} {SCRIPT} {TERMINAL}
COMMENT ON TABLE account IS '{IMAGE} {SCRIPT} {TERMINAL}';
DO $$ BEGIN RAISE NOTICE '%', '{IMAGE} {SCRIPT} {TERMINAL}'; END $$;
"""
OBEYED = re.compile(r"<body[^>]*\bdata-owned")
ESCAPED = "&lt;img src=x onerror="


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A patch that says hostile things wherever it can, deployed among clients that do."""

    stage: Stage
    rehearsed: Build
    deployed: Build


@pytest.fixture(scope="module")
def played(telling: Telling) -> Played:
    telling.to_the_end()
    stage = telling.stage
    catch_up(stage)
    patch = f"{next_patch(stage)}-{IMAGE}{CLEAR}"
    rehearsed = stage.rehearse(patch, text=SQL, message=f"{IMAGE} {SCRIPT} {TERMINAL}")
    waiting = stage.waiting(patch)
    client = psycopg2.connect(stage.sandbox.dsn(APPLICATION), application_name=IMAGE)
    decided = stage.decide(waiting, "approver", reason=f"{IMAGE} {SCRIPT} {TERMINAL}")
    stage.expect_build(decided, decided.good, "it should be approved, whatever the reason")
    deployed = stage.as_("operator").ended(waiting, DEPLOYED_SECONDS)
    stage.expect_build(deployed, deployed.good, "it should be deployed, whatever it says")
    client.close()
    return Played(stage=stage, rehearsed=rehearsed, deployed=deployed)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A real browser that prints what it made of a page; the address comes last."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    return [program, *BROWSER, f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
            f"--virtual-time-budget={RENDERED_MILLISECONDS}", "--dump-dom"]


def seen_by(browser: list[str], address: str) -> str:
    done = subprocess.run([*browser, address], capture_output=True, text=True, timeout=BROWSER_SECONDS, check=False)
    assert done.stdout, f"the browser shows nothing of {address}: {done.stderr[-2000:]}"
    return done.stdout


def looks_at(browser: list[str], address: str) -> list[str]:
    """What the browser saw, again and again until the hostile words were on the page."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    shown = [seen_by(browser, address)]
    while ESCAPED not in shown[-1] and time.monotonic() < deadline:
        shown.append(seen_by(browser, address))
    return shown


def pages(played: Played) -> dict[str, str]:
    """Where hostile words should be seen, by what the page is."""
    look = played.stage.as_("developer")
    (found,) = look.get(f"builds/{played.deployed.id}")["builds"]
    build = f"#/builders/{found['builderid']}/builds/{played.deployed.number}"
    (rehearsed,) = look.get(f"builds/{played.rehearsed.id}")["builds"]
    logs = {"kick connections": "kicked sessions", "apply patch": "statements", "await approval": "evidence"}
    steps = {step["name"]: step for step in look.get(f"builds/{played.deployed.id}/steps")["steps"]}
    slugs = {step: log["slug"] for step, name in logs.items()
             for log in look.get(f"steps/{steps[step]['stepid']}/logs")["logs"] if log["name"] == name}
    return {
        "the deployment": build,
        "the rehearsal": f"#/builders/{rehearsed['builderid']}/builds/{played.rehearsed.number}",
        "the builder": f"#/builders/{found['builderid']}",
        "the changes": "#/changes",
        **{f"the log of {step}": f"{build}/steps/{steps[step]['number']}/logs/{slug}" for step, slug in slugs.items()},
    }


def test_the_browser_would_show_a_script_that_runs(browser: list[str], tmp_path: Path) -> None:
    """The search itself works."""
    (tmp_path / "trap.html").write_text(f"<html><body>{IMAGE}</body></html>")

    assert OBEYED.search(seen_by(browser, (tmp_path / "trap.html").as_uri()))


@pytest.mark.parametrize("page", [
    "the deployment", "the rehearsal", "the builder", "the changes", "the log of kick connections",
    "the log of apply patch", "the log of await approval"])
def test_no_page_obeys_what_it_shows(played: Played, browser: list[str], page: str) -> None:
    """Paths, SQL, notices, commit messages, reasons and clients' names are text."""
    shown = looks_at(browser, played.stage.sandbox.address + pages(played)[page])

    assert [each for each in shown if OBEYED.search(each)] == []
    assert ESCAPED in shown[-1], "the page shows the words at all"


def test_no_log_commands_a_terminal(played: Played) -> None:
    """Logs are read with curl and less, too; and no browser takes one for a page."""
    look = played.stage.as_("developer")
    logs = [log for build in (played.rehearsed, played.deployed)
            for step in look.get(f"builds/{build.id}/steps")["steps"]
            for log in look.get(f"steps/{step['stepid']}/logs")["logs"]]
    answers = {log["name"]: look.ask(f"api/v2/logs/{log['logid']}/raw_inline") for log in logs}

    assert any(IMAGE in answer.text for answer in answers.values())
    assert [name for name, answer in answers.items() if printable(answer.text) != answer.text] == []
    assert {answer.headers["Content-Type"].split(";")[0] for answer in answers.values()} == {"text/plain"}


def test_no_headline_commands_a_terminal(played: Played) -> None:
    """Reporters send them on by mail and chat."""
    look = played.stage.as_("developer")
    said = [build.state for name in BuilderName for build in look.builds(name)]
    said += [step.state for build in (played.rehearsed, played.deployed) for step in look.steps(build)]

    assert any(IMAGE in text for text in said)
    assert [text for text in said if printable(text) != text] == []


@pytest.mark.parametrize("command", ["plan", "status"])
def test_no_command_line_of_ours_commands_a_terminal(played: Played, command: str) -> None:
    """Whoever looks at a server from a terminal reads the same names there."""
    with psycopg2.connect(played.stage.sandbox.dsn(APPLICATION), application_name=IMAGE):
        done = played.stage.sandbox.downtime(command, "--environment", "production")

    assert done.returncode == 0
    assert printable(done.stdout + done.stderr) == done.stdout + done.stderr
