"""What a row puts around a deployment: other settings, another server, and somebody who watches who gets in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from psycopg2 import sql as composed

from demo import application, web
from demo.faults.moments import IS_CLOSED, LOOK_SECONDS, REACHED_SECONDS, SLEEPS
from demo.faults.people import ANSWER_SECONDS
from demo.faults.rows import Finding, expect_whole
from demo.faults.sample import PATCH
from demo.faults.world import World
from demo.web import Build
from steps.shared.names import BuilderName

PATCH_SECONDS = 0.5  # long enough to look again and again who is connected while the patch runs

# An application's session while the patch sleeps. What fell asleep before this statement began had kicked everybody.
INTRUDERS = f"""
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = '{application.APPLICATION}' AND state IS NOT NULL)
   AND {SLEEPS.removeprefix("SELECT ").removesuffix(")")} AND query_start < statement_timestamp())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One deployment that closed the gate, as clients and onlookers saw it."""

    build: Build
    seconds: float   # from the closed gate until a new client got in
    intruded: bool   # a client of the application was connected while the patch ran


@contextmanager
def settings(world: World, *, spared: tuple[str, ...] = (), outage_limit_seconds: int | None = None,
             **production: Any) -> Iterator[None]:
    """Other settings for a while: more spared users, another limit, other keys of production."""
    usual = change_settings(world, spared=spared, outage_limit_seconds=outage_limit_seconds, **production)
    try:
        yield
    finally:
        _configure(world, usual)


def change_settings(world: World, *, spared: tuple[str, ...] = (), outage_limit_seconds: int | None = None,
                    **production: Any) -> str:
    """The same for good; returns the settings as they were."""
    usual = world.sandbox.settings.read_text()
    changed = yaml.safe_load(usual)
    changed["users"]["spared"] += spared
    if outage_limit_seconds is not None:
        changed["budget"]["outage_limit_seconds"] = outage_limit_seconds
    changed["environments"]["production"].update(production)
    _configure(world, yaml.safe_dump(changed))
    return usual


def _configure(world: World, text: str) -> None:
    """Write the settings and have them read; returns when they are."""
    world.sandbox.settings.write_text(text)
    assert world.reread(), "the buildmaster should take the new settings"


@contextmanager
def server(world: World, *, restart: bool, **parameters: str) -> Iterator[None]:
    """Other parameters of production's server for a while."""
    _alter_system(world, parameters, restart=restart)
    try:
        yield
    finally:
        _alter_system(world, dict.fromkeys(parameters), restart=restart)


def _alter_system(world: World, parameters: Mapping[str, str | None], *, restart: bool) -> None:
    for name, value in parameters.items():
        parameter = composed.Identifier(name)
        world.production.admin_sql(
            composed.SQL("ALTER SYSTEM RESET {}").format(parameter) if value is None else
            composed.SQL("ALTER SYSTEM SET {} = {}").format(parameter, composed.Literal(value)))
    if restart:
        world.production.restart()
    else:
        world.production.admin_sql("SELECT pg_reload_conf()")


def until(happened: Callable[[], object], what: str, seconds: float = REACHED_SECONDS) -> None:
    """Look often: an outage is short. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(LOOK_SECONDS)


def deploy(world: World) -> Build:
    """Ask, approve, and see it end."""
    build = world.ask()
    world.approve(build)
    return world.ended(build)


def decided(world: World, build: Build) -> Build:
    """An approver lets it through; the decision's own build, ended."""
    request, approver = world.approve(build), world.as_("approver")
    return approver.ended(approver.build_of(BuilderName.APPROVE, request, ANSWER_SECONDS), ANSWER_SECONDS)


def deploy_watched(world: World, *, patch_seconds: float = PATCH_SECONDS) -> Outcome:
    """The same for a deployment that closes the gate, with an eye on the door. Raises AssertionError if it does not."""
    world.watch()
    world.set_pace(patch_seconds)
    build = world.ask()
    world.approve(build)
    return see_through(world, build)


def see_through(world: World, build: Build) -> Outcome:
    """From the approval on; somebody watches already."""
    closed = IS_CLOSED[world.gate]
    try:
        until(lambda: world.onlooker_sees(closed), "the gate to close")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.story_of(build)}") from error
    began = time.monotonic()
    intruded = False
    with ThreadPoolExecutor(1) as newcomer:
        opened = newcomer.submit(world.seconds_until_open, began)
        while not opened.done():
            intruded = world.onlooker_sees(INTRUDERS) or intruded
            time.sleep(LOOK_SECONDS)
    return Outcome(build=world.ended(build), seconds=opened.result(), intruded=intruded)


def said(world: World, build: Build) -> str:
    """What the page says of the step that went wrong, or of the build."""
    steps = world.as_("operator").steps(build)
    return next((f"{step.name}: {step.state}" for step in steps if step.results in (web.FAILURE, web.EXCEPTION)),
                build.state)


def applied(world: World, outcome: Outcome) -> Finding:
    """What must hold of a deployment that nothing could hinder."""
    finding = Finding(seconds=outcome.seconds, said=said(world, outcome.build))
    finding.expect(outcome.build.good, f"the deployment should succeed:\n{world.story_of(outcome.build)}")
    finding.expect(not outcome.intruded, "a client of the application was connected while the patch ran")
    expect_whole(finding, world, applied=True)
    return finding


def refused(world: World, build: Build, *words: str, untouched: bool) -> Finding:
    """What must hold of a deployment that a rule has ended; `words` are what an operator must read in its logs."""
    finding = Finding(said=said(world, build))
    story = world.story_of(build)
    finding.expect(build.outcome == "failure", f"the deployment should fail, and it is a {build.outcome}")
    for word in (*words, f"The database was left {'untouched' if untouched else 'reopened'}."):
        finding.expect(word in story, f"an operator does not read {word!r}:\n{story}")
    finding.expect(len(world.builds_of_request(build)) == 1, f"{PATCH} was tried again unasked")
    expect_whole(finding, world, applied=False)
    return finding
