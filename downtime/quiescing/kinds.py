"""What stops a task of each kind, tells that it is quiet, and resumes it, as shell commands. Pure.

They are run by a shell beside the buildmaster, are shown in its logs, and can be run by hand. No secret is in them:
the programs are told the file that has it.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from downtime.settings import quiesce as settings

ROOT = Path(__file__).resolve().parents[2]  # where `python -m` finds this package


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Of one task; `stopped` ends with status 0 when it is quiet, and is None where nothing can be asked."""

    stop: str
    stopped: str | None
    resume: str


def commands_of(task: settings.Task) -> Commands:
    """Of a task of whichever kind."""
    if task.command is not None:
        return Commands(stop=task.command.stop, stopped=task.command.stopped, resume=task.command.resume)
    if task.systemd is not None:
        return _systemd(task.systemd)
    if task.crontab is not None:
        return _crontab(task.crontab)
    if task.celery is not None:
        return _celery(task.celery)
    if task.rq is not None:
        return _rq(task.rq)
    if task.http is not None:
        return _http(task.http)
    assert task.maintenance_file is not None, "a task is of one kind"
    return _maintenance_file(task.maintenance_file)


def _systemd(about: settings.Systemd) -> Commands:
    """A timer is quiet when what it starts has ended, too: stopping it does not end that."""
    program, name = about.program, shlex.quote(about.timer or about.unit or "")
    ended = "case $({program} is-active {name}) in inactive|failed) ;; *) exit 1 ;; esac"
    stopped = ended.format(program=program, name=name)
    if about.timer is not None:
        started = f'"$({program} show --property=Unit --value {name})"'
        stopped = f"{stopped}; {ended.format(program=program, name=started)}"
    return Commands(stop=f"{program} stop {name}", stopped=stopped, resume=f"{program} start {name}")


def _crontab(about: settings.Crontab) -> Commands:
    arguments = ["--block", about.block, *_option("--user", about.user), *_program(about.program, "crontab")]
    return Commands(stop=_ours("crontab", "stop", *arguments), stopped=None,
                    resume=_ours("crontab", "resume", *arguments))


def _celery(about: settings.Celery) -> Commands:
    arguments = ["--app", about.app, *_program(about.program, "celery"), *about.queues]
    return Commands(stop=_ours("celery_queues", "stop", *arguments),
                    stopped=_ours("celery_queues", "stopped", *arguments),
                    resume=_ours("celery_queues", "resume", *arguments))


def _rq(about: settings.Rq) -> Commands:
    secret = _option("--password-file", str(about.password_file.path) if about.password_file is not None else None)
    arguments = ["--url", about.url, *secret, *_program(about.program, "rq")]
    queues = [word for queue in about.queues for word in ("--queue", queue)]
    return Commands(stop=_ours("rq_workers", "stop", *arguments),
                    stopped=_ours("rq_workers", "stopped", *arguments, *queues),
                    resume=_ours("rq_workers", "resume", *arguments))


def _http(about: settings.Http) -> Commands:
    secret = ([] if about.secret_file is None or about.header is None
              else ["--header", about.header, "--secret-file", str(about.secret_file.path)])

    def call(request: settings.Request) -> str:
        status = [word for number in request.status for word in ("--status", str(number))]
        return _ours("http_call", request.method.value, request.url, *status, *secret)
    return Commands(stop=call(about.stop), stopped=call(about.stopped) if about.stopped is not None else None,
                    resume=call(about.resume))


def _maintenance_file(about: settings.MaintenanceFile) -> Commands:
    arguments = [str(about.path), f"--text={about.text}"]
    return Commands(stop=_ours("maintenance_file", "create", *arguments), stopped=None,
                    resume=_ours("maintenance_file", "remove", *arguments))


def _option(name: str, value: str | None) -> list[str]:
    return [] if value is None else [name, value]


def _program(given: str, usual: str) -> list[str]:
    return _option("--program", None if given == usual else given)


def _ours(module: str, *arguments: str) -> str:
    """One of the programs beside this module, whatever folder the shell is in."""
    return f"cd {shlex.quote(str(ROOT))} && " + shlex.join(
        [sys.executable, "-m", f"downtime.quiescing.{module}", *arguments])
