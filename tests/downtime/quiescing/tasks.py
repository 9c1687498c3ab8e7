"""What several tests build: tasks of the settings and what becomes of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from downtime.quiescing.kinds import Commands, commands_of
from downtime.quiescing.tasks import Task, tasks_of
from downtime.settings.quiesce import Quiesce
from downtime.settings.quiesce import Task as Given
from downtime.settings.values import Surroundings


def a_quiesce(*tasks: dict[str, Any], **section: Any) -> Quiesce:
    return Quiesce.model_validate({"tasks": list(tasks), **section})


def a_task(*, name: str = "import", stopped: str | None = None, **keys: Any) -> Task:
    command = {"stop": "true", "resume": "true", **({"stopped": stopped} if stopped is not None else {})}
    (task,) = tasks_of(a_quiesce({"name": name, "command": command, **keys}))
    return task


def commands(folder: Path, **kind: dict[str, Any]) -> Commands:
    """Of a task of this kind, its files being in the folder."""
    return commands_of(Given.model_validate({"name": "task", **kind}, context=Surroundings(folder=folder, environ={})))


def shell(command: str, **environ: str) -> tuple[int, str]:
    """Exit status and all that it prints."""
    done = subprocess.run(["/bin/sh", "-c", command], env={**os.environ, **environ}, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout
