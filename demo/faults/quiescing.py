"""Rows about the background tasks of a deployment: one cannot be stopped, is never quiet, does not start again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.faults.aftermath import expect_not_repeated, expect_told
from demo.faults.circumstances import change_settings, until
from demo.faults.moments import Moment
from demo.faults.rows import Finding, Row, expect_whole, measured
from demo.faults.world import World
from demo.web import Build

OPEN_LIMIT_SECONDS = 0.25  # nothing is closed yet
STOP_SECONDS = 1.0
LATE_SECONDS = 3           # after which a `stop` that nobody has ended would stop its task once more
IN_QUESTION = "Background tasks do not stop, or do not start again"
AGAIN = "open; after the restart it waits for its approval again; background tasks are resumed"


def rows() -> tuple[Row, ...]:
    return (
        _row("a background task does not stop", "stopping background tasks", _hangs,
             "refused at `stop_seconds` (here 1), untouched; background tasks are resumed"),
        _row("a background task is never quiet", "quiesced", _never_quiet,
             "a warning; the patch is in, background tasks are resumed"),
        _row("a background task does not start again", "resuming background tasks", _not_resumed,
             "the patch is in, the step is red; resumed when that is mended"),
        _row("kill -9 of the master", "stopping background tasks", _killed_while_stopping,
             f"{AGAIN}, for good", OPEN_LIMIT_SECONDS),
        _row("kill -9 of the master", "an hour before the downtime", _killed_while_they_rest, AGAIN,
             OPEN_LIMIT_SECONDS),
    )


def _row(fault: str, moment: str, play: Callable[[World], Finding], must_hold: str,
         limit_seconds: float | None = None) -> Row:
    return Row(fault=fault, moment=moment, must_hold=must_hold, limit_seconds=limit_seconds, play=play,
               in_question=IN_QUESTION)


def _hangs(world: World) -> Finding:
    build = _begun(world, _tasks(world, stop=f"{_note(world, 'stopped')}; sleep 600", stop_seconds=STOP_SECONDS))
    finding = _ended_untouched(world, build)
    finding.expect("was not done within 1 s" in world.story_of(build), f"nobody reads why:\n{world.story_of(build)}")
    return finding


def _never_quiet(world: World) -> Finding:
    build = _begun(world, _tasks(world, stopped="echo 3 jobs are left; false"))
    finding = Finding()
    expect_told(finding, world, build, Moment.QUIESCED, applied=True)
    finding.expect("import still had work" in world.story_of(build),
                   f"nobody reads of it:\n{world.story_of(build)}")
    return finding


def _not_resumed(world: World) -> Finding:
    mended = world.sandbox.folder / "mended"
    mended.unlink(missing_ok=True)
    build = _begun(world, _tasks(world, resume=f"test -e '{mended}' && {_note(world, 'resumed')}"))
    ended = world.ended(build)
    finding = Finding(said=ended.state)
    finding.expect("tried again every minute" in world.story_of(build), f"nobody reads it:\n{world.story_of(build)}")
    finding.expect(_last(world) == "stopped", "the task was resumed by a command that fails")
    expect_whole(finding, world, applied=True)
    mended.touch()
    world.strike_master()
    world.restart_master()  # where every minute is too long: the next start tries at once
    until(lambda: _last(world) == "resumed", "the background task to be resumed")
    return finding


def _killed_while_stopping(world: World) -> Finding:
    late = f"{_note(world, 'stopping')}; sleep {LATE_SECONDS}; {_note(world, 'stopped')}"
    build = _begun(world, _tasks(world, stop=late))
    until(lambda: _last(world) == "stopping", "the background task to be told")
    finding = _killed(world, build)
    finding.expect("stopped" not in world.quiesced.read_text().split(),
                   "the command has outlived its buildmaster and stopped the task")
    return finding


def _killed_while_they_rest(world: World) -> Finding:
    build = _begun(world, {**_tasks(world), "lead_minutes": 60})
    until(lambda: "is stopped" in world.story_of(build), "the background task to rest")
    return _killed(world, build)


def _killed(world: World, build: Build) -> Finding:
    finding = measured(world, world.strike_master())
    world.restart_master()
    expect_not_repeated(finding, world, build, Moment.QUIESCED, applied=False)
    return finding


def _ended_untouched(world: World, build: Build) -> Finding:
    ended = world.ended(build)
    finding = Finding(said=ended.state)
    finding.expect(not ended.good, f"it should be refused:\n{world.story_of(build)}")
    expect_whole(finding, world, applied=False)
    until(lambda: _last(world) == "resumed", "the background task to be resumed")
    return finding


def _begun(world: World, quiesce: dict[str, Any]) -> Build:
    """A deployment with these tasks, approved."""
    change_settings(world, quiesce=quiesce)
    build = world.ask()
    world.approve(build)
    return build


def _tasks(world: World, *, stop: str = "", resume: str = "", stopped: str = "", **limits: float) -> dict[str, Any]:
    """One task, which notes what is done to it."""
    command = {"stop": stop or _note(world, "stopped"), "resume": resume or _note(world, "resumed")}
    if stopped:
        command["stopped"] = stopped
    return {"lead_minutes": 0, "tasks": [{"name": "import", "command": command, **limits}]}


def _note(world: World, word: str) -> str:
    return f"echo {word} >> '{world.quiesced}'"


def _last(world: World) -> str:
    """What was noted last."""
    words = world.quiesced.read_text().split() if world.quiesced.exists() else []
    return words[-1] if words else ""
