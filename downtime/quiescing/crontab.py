"""Takes the jobs of a block out of a crontab, and puts them back.

A block is what stands between the lines `# BEGIN name` and `# END name`. Its jobs are commented out with a mark of
ours, so that what somebody else has commented out stays so. Doing either twice changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from downtime.quiescing.programs import NotDone, end, run

MARK = "#fastdowntime# "

Change = Callable[[str], str]


def commented_out(crontab: str, block: str) -> str:
    """The crontab without the block's jobs. Raises NotDone where it has no such block, or not its end. Pure."""
    return _changed(crontab, block, lambda line: f"{MARK}{line}" if _is_job(line) else line)


def back_in(crontab: str, block: str) -> str:
    """The crontab with them again. Raises NotDone as `commented_out`. Pure."""
    return _changed(crontab, block, lambda line: line.removeprefix(MARK))


def _is_job(line: str) -> bool:
    """A job, or a variable for the jobs behind it."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _changed(crontab: str, block: str, change: Change) -> str:
    return "\n".join(_lines(crontab, block, change))


def _lines(crontab: str, block: str, change: Change) -> Iterator[str]:
    found, inside = False, False
    for line in crontab.split("\n"):
        if _is_bound(line, "BEGIN", block):
            if inside:
                raise NotDone(f"the crontab has “# BEGIN {block}” inside of that block")
            found = inside = True
        elif _is_bound(line, "END", block):
            inside = False
        yield change(line) if inside else line
    if not found:
        raise NotDone(f"the crontab has no line “# BEGIN {block}”")
    if inside:
        raise NotDone(f"the crontab has no line “# END {block}”")


def _is_bound(line: str, word: str, block: str) -> bool:
    return line.startswith("#") and line[1:].split() == [word, *block.split()]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing.crontab", description=__doc__)
    parser.add_argument("do", choices=["stop", "resume"])
    parser.add_argument("--block", required=True)
    parser.add_argument("--user", help="whose crontab (default: one's own)")
    parser.add_argument("--program", default="crontab", help="what reads and writes it (default: crontab)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> str:
    """What was done, in a sentence."""
    asked = _arguments(given)
    whose = ["-u", asked.user] if asked.user else []
    before = run(asked.program, [*whose, "-l"])
    after = (commented_out if asked.do == "stop" else back_in)(before, asked.block)
    if after != before:
        run(asked.program, [*whose, "-"], given=after)
        if run(asked.program, [*whose, "-l"]) != after:
            raise NotDone("somebody else has changed the crontab in this moment: look at it")
    changed = sum(old != new for old, new in zip(before.split("\n"), after.split("\n"), strict=True))
    return f"block {asked.block}: {changed} lines {'commented out' if asked.do == 'stop' else 'put back'}"


if __name__ == "__main__":
    end(main)
