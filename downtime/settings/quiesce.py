"""The background tasks of the settings: what stops each before a downtime, tells that it is quiet, and resumes it.

Pure but for the files with secrets, which are read once, while the settings are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from downtime.settings.values import (
    CommandLine,
    Minutes,
    PathBesideSettings,
    PositiveSeconds,
    Secret,
    Section,
    Text,
    Words,
    secret_warnings,
)
from downtime.target import is_loopback

LONGEST_NAME = 30  # characters: Buildbot keeps 50 of a log's name, and says "resume" before it
KINDS = ("command", "systemd", "crontab", "celery", "rq", "http", "maintenance_file")


class Method(StrEnum):
    """Of an HTTP request."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


def _url(schemes: tuple[str, ...], url: str) -> str:
    try:
        parts = urlsplit(url)
        host, password, _ = parts.hostname, parts.password, parts.port
    except ValueError:
        host = password = None
    if not host or parts.scheme not in schemes or not url.isprintable() or " " in url:
        raise ValueError(f"should start with {' or '.join(f'{scheme}://' for scheme in schemes)} and name a host")
    if password is not None or ("@" in parts.netloc and "http" in schemes):
        raise ValueError("has a user name or a password in it; everybody would see it in the list of processes: "
                         "put it into a file")
    return url


def _some(queues: tuple[str, ...]) -> tuple[str, ...]:
    # not min_length: pydantic counts the good ones alone, and tells of each bad one that the list is too short
    if not queues:
        raise ValueError("is an empty list; name some")
    return queues


HttpUrl = Annotated[Text, AfterValidator(lambda url: _url(("http", "https"), url))]
RedisUrl = Annotated[Text, AfterValidator(lambda url: _url(("redis", "rediss"), url))]
Name = Annotated[Text, Field(pattern=rf"^\w[\w .@:-]{{0,{LONGEST_NAME - 1}}}$")]
UnitName = Annotated[Text, Field(pattern=r"^[A-Za-z0-9_@:.\\][A-Za-z0-9_@:.\\-]*$")]
AppName = Annotated[Text, Field(pattern=r"^[A-Za-z_][\w.:]*$")]
QueueName = Annotated[Text, Field(pattern=r"^\w[\w.:/-]*$")]
UserName = Annotated[Text, Field(pattern=r"^[A-Za-z_][\w.-]*$")]
HeaderName = Annotated[Text, Field(pattern=r"^[A-Za-z0-9-]+$")]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]


class Command(Section):
    """Shell commands of one's own."""

    stop: CommandLine
    stopped: CommandLine | None = None  # exit status 0: quiet
    resume: CommandLine


class Systemd(Section):
    """A unit, or a timer and what it starts."""

    unit: UnitName | None = None
    timer: UnitName | None = None
    program: CommandLine = "systemctl"

    @field_validator("timer")
    @classmethod
    def _is_a_timer(cls, timer: str | None) -> str | None:
        if timer is not None and not timer.endswith(".timer"):
            raise ValueError(f"should end in .timer; write {timer}.timer, or name a service as unit")
        return timer

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.unit is None) == (self.timer is None):
            raise ValueError("should have either unit or timer")
        return self


class Crontab(Section):
    """The lines of a crontab between `# BEGIN block` and `# END block`."""

    block: Name
    user: UserName | None = None  # None: whoever runs the buildmaster
    program: CommandLine = "crontab"


class Celery(Section):
    """Queues that the workers of an application stop taking tasks from."""

    app: AppName
    queues: Annotated[tuple[QueueName, ...], AfterValidator(_some)]
    program: CommandLine = "celery"


class Rq(Section):
    """All workers of one Redis."""

    url: RedisUrl
    password_file: Secret | None = None
    queues: tuple[QueueName, ...] = ()  # whose workers must be idle; none: all
    program: CommandLine = "rq"


class Request(Section):
    """One HTTP request and what counts as success."""

    url: HttpUrl
    method: Method = Method.POST
    status: tuple[Status, ...] = ()  # none: any from 200 to 299


class Question(Request):
    """The same, asked again and again."""

    method: Method = Method.GET


class Http(Section):
    """A service that can be told."""

    stop: Request
    stopped: Question | None = None
    resume: Request
    header: HeaderName | None = None  # its value, a secret, is in the file
    secret_file: Secret | None = None

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.header is None) != (self.secret_file is None):
            raise ValueError("header and secret_file belong together; give both or neither")
        return self


class MaintenanceFile(Section):
    """A file that tells programs to rest while it is there."""

    path: PathBesideSettings
    text: Annotated[str, Field(min_length=1)] = "a database deployment is under way"


class Task(Section):
    """One background task: of exactly one kind."""

    name: Name
    lead_minutes: Minutes | None = None  # None: as the section says
    users: Words = ()                    # database users: quiet means that none has a session
    stop_seconds: PositiveSeconds = 60
    stopped_seconds: PositiveSeconds = 10
    resume_seconds: PositiveSeconds = 60
    command: Command | None = None
    systemd: Systemd | None = None
    crontab: Crontab | None = None
    celery: Celery | None = None
    rq: Rq | None = None
    http: Http | None = None
    maintenance_file: MaintenanceFile | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"is of {len(given)} kinds ({', '.join(given)})" if given else "is of no kind"
            raise ValueError(f"{found}; give one of {', '.join(KINDS)}")
        return self

    def warnings(self, path: str) -> Iterator[str]:
        """What works but should not stay so: complete sentences, `path` being this section's YAML path."""
        if self.rq is not None:
            yield from secret_warnings(f"{path}.rq.password_file", self.rq.password_file)
        if self.http is None or self.http.secret_file is None:
            return
        yield from secret_warnings(f"{path}.http.secret_file", self.http.secret_file)
        for name, request in (("stop", self.http.stop), ("stopped", self.http.stopped), ("resume", self.http.resume)):
            parts = urlsplit(request.url) if request is not None else None
            if parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                yield f"{path}.http.{name}.url: sends a secret to another host in clear; use https."


class Quiesce(Section):
    """The background tasks that rest while a downtime lasts."""

    lead_minutes: Minutes = 60
    tasks: tuple[Task, ...] = ()

    @field_validator("tasks")
    @classmethod
    def _have_names_of_their_own(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        names = [task.name for task in tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"has the name {', '.join(twice)} more than once")
        return tasks

    @property
    def lead_seconds(self) -> float:
        """How long before the downtime the first task is stopped; 0 where there is none."""
        return max((self.lead_minutes_of(task) * 60.0 for task in self.tasks), default=0.0)

    def lead_minutes_of(self, task: Task) -> int:
        return self.lead_minutes if task.lead_minutes is None else task.lead_minutes

    def warnings(self, path: str) -> Iterator[str]:
        """As for `Task`."""
        for number, task in enumerate(self.tasks):
            yield from task.warnings(f"{path}.tasks[{number}]")
