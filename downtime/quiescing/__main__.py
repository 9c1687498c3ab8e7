"""Prints the commands of the background tasks: to try one out, or to resume them when no buildmaster is there to do so.

    python -m downtime.quiescing --settings settings.yaml [--environment production]

Runs nothing. Exit status 2 where the settings are wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from downtime.errors import SettingsError
from downtime.printable import printable
from downtime.quiescing.tasks import Task, tasks_of
from downtime.settings import load


def in_order(tasks: Sequence[Task]) -> str:
    """Every command, a line each under its task, and at the end those that resume, in their order. Pure."""
    lines = []
    for task in tasks:
        lines += [f"# {task.name}: {task.lead_seconds / 60:.0f} min before the downtime", task.stop.command]
        lines += ["# exit status 0: quiet", task.stopped.command] if task.stopped is not None else []
        lines += [f"# quiet without a session of {', '.join(task.users)}"] if task.users else []
        lines.append("")
    lines.append("# after the downtime")
    return "\n".join([*lines, *(task.owed.command for task in reversed(tasks))])


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", type=Path, default=Path("settings.yaml"))
    parser.add_argument("--environment", default="production", choices=["staging", "production"])
    asked = parser.parse_args(given)
    try:
        environment = load(asked.settings).environment(asked.environment)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(printable(in_order(tasks_of(environment.quiesce))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
