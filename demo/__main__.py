"""The demo's commands: play the story, keep the demo running, measure, break things.

    python -m demo story     plays the whole story on real servers and says what came of it (make demo)
    python -m demo up        starts everything and keeps it running (make up)
    python -m demo down      ends it (make down)
    python -m demo status    what is running, and how to sign in
    python -m demo pictures  takes the pictures of the pages that docs/ shows, of the demo that is up
    python -m demo faults    kills, cuts and breaks everything on purpose and prints the table (make faults)
    python -m demo chance    the same by lot, with writers that check themselves (make faults-nightly)

Exit status 0: as told; 1: not; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demo import pictures, programme, story, upkeep
from demo.buildmaster import MasterError
from demo.companions import CompanionError
from demo.faults import chance, table
from demo.gitrepo import GitError
from demo.installations import ServerError
from demo.programme import StoryError
from demo.sandbox import FOLDER, SandboxError, clear, refuse_what_is_not_ours, take
from demo.stage import Stage
from demo.web import WebError

KNOWN = (StoryError, WebError, MasterError, SandboxError, ServerError, GitError, CompanionError)


class Narrator:
    """Prints what happens, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, text: str) -> None:
        stripped = text.lstrip("\n")
        print("\n" * (len(text) - len(stripped)) + f"[{self.seconds:6.1f} s] {stripped}", flush=True)


def play_story(arguments: argparse.Namespace) -> int:
    """The whole story; the sandbox is removed at its end, but for summary.json and the buildmaster's log."""
    tell, folder = Narrator(), arguments.folder
    refuse_what_is_not_ours(folder)
    upkeep.refuse_if_up(folder)
    stage, failure = None, "interrupted"
    try:
        stage = Stage(upkeep.start(folder, tell), tell)
        story.play(stage)
        failure = ""
    except KNOWN as error:
        failure = f"{type(error).__name__}: {error}"
    finally:
        log = _take_down(folder, stage)
        _write_summary(folder, stage, tell.seconds, failure, log)
    _print_outcome(stage, tell.seconds, failure, folder)
    return 1 if failure else 0


def _take_down(folder: Path, stage: Stage | None) -> str:
    """End everything; the buildmaster's log."""
    log = ""
    if stage is not None:
        stage.close()
        stage.master.stop()
        log = stage.master.log.read_text(errors="replace")
    clear(folder)
    return log


def _write_summary(folder: Path, stage: Stage | None, seconds: float, failure: str, log: str) -> None:
    take(folder)
    (folder / "twistd.log").write_text(log)
    programme.write(folder / "summary.json", programme.summary(
        stage.attempts if stage else (), seconds=seconds, failure=failure,
        verdict_seconds=stage.verdict_seconds if stage else {}))


def _print_outcome(stage: Stage | None, seconds: float, failure: str, folder: Path) -> None:
    if stage is not None and stage.attempts:
        print("\n" + programme.table(stage.attempts))
        print("\noutage: the longest gap between two new connections, as an independent client saw it; "
              f"usually it is {stage.attempts[0].resolution_seconds or 0:.3f} s")
    if stage is not None and story.COLD in stage.verdict_seconds:
        print(f"from git push to staging's verdict: {stage.verdict_seconds[story.COLD]:.1f} s (trivial patch)")
    print(f"the same figures: {folder / 'summary.json'}")
    if failure:
        print(f"\nNot as told, after {seconds:.0f} s. {failure}\nThe buildmaster's log: {folder / 'twistd.log'}",
              file=sys.stderr)
    else:
        print(f"\nEverything was as told, in {seconds:.0f} s.")


def go_up(arguments: argparse.Namespace) -> int:
    refuse_what_is_not_ours(arguments.folder)
    upkeep.refuse_if_up(arguments.folder)
    try:
        print(upkeep.up(arguments.folder, Narrator()))
    except BaseException:
        clear(arguments.folder)  # half a demo is no use, and nobody would look for its processes
        raise
    return 0


def go_down(arguments: argparse.Namespace) -> int:
    ended = clear(arguments.folder)
    print("ended " + ", ".join(ended) if ended else "nothing was running")
    return 0


def show_status(arguments: argparse.Namespace) -> int:
    print(upkeep.status(arguments.folder))
    return 0


def take_pictures(arguments: argparse.Namespace) -> int:
    for taken in pictures.take(arguments.folder):
        print(f"{taken}, {taken.stat().st_size / 1000:.0f} kB", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Real servers to look at fast downtimes on.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept (default: .demo)")
    commands = parser.add_subparsers(required=True, metavar="story|up|down|status|pictures|faults|chance")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("story", "play the whole story on real servers and say what came of it", play_story)
    command("up", "start everything and keep it running", go_up)
    command("down", "end what `up` has started", go_down)
    command("status", "what is running, and how to sign in", show_status)
    command("pictures", "take the pictures of the pages that docs/ shows, of the demo that is up", take_pictures)
    table.add_arguments(command("faults", "play every row of the table of faults and print it", table.run))
    chance.add_arguments(command("chance", "faults at random instants while writers check themselves", chance.run))
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    arguments.folder = arguments.folder.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended or interrupted: nothing is left behind
    try:
        status: int = arguments.run(arguments)
        return status
    except KNOWN as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was stopped", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
