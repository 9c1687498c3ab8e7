"""The kinds of value a settings file is made of, each checked on its own: connections, secrets, paths, commands.

A check that fails raises ValueError with half a sentence; `downtime.settings.file` puts the YAML path before it.
No message and no `repr` repeats a connection string as it was written, because a password may be in it.
"""

from __future__ import annotations

import os
import re
import shlex
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import psycopg2.extensions
from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
)

from downtime.target import Target

READABLE_BY_OTHERS = 0o077  # any right of group or world
MOST_TIMES = 20  # that a patch is run on staging: one of a minute keeps it busy for twenty
LONGEST_SECRET_BYTES = 64 * 1024  # more is a wrong path (a log, a device), not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a settings file is judged with besides its text: the folder it lies in, and the environment."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)


class Section(BaseModel):
    """A mapping of the settings file: frozen, its unknown keys forbidden, its defaults judged like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True,
                              arbitrary_types_allowed=True)


def surroundings(info: ValidationInfo) -> Surroundings:
    """The surroundings handed to `model_validate` as its context; without one, the current folder alone."""
    given = info.context
    return given if isinstance(given, Surroundings) else Surroundings(folder=Path.cwd(), environ={})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file with one secret in it, already read. The secret is never shown."""

    path: Path
    secret: str = field(repr=False)
    open_to_others: bool   # group or world may read or write it


def _beside_settings(path: Path, info: ValidationInfo) -> Path:
    return Path(os.path.normpath(surroundings(info).folder / path.expanduser()))


def _read_secret(given: Any, info: ValidationInfo) -> SecretFile:
    if not isinstance(given, str) or not given:
        raise ValueError("should be the path of a file")
    path = _beside_settings(Path(given), info)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LONGEST_SECRET_BYTES + 1)
        secret = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not secret:
        raise ValueError(f"{path} is empty; write the secret into it")
    if len(secret.splitlines()) > 1 or len(content) > LONGEST_SECRET_BYTES:
        raise ValueError(f"{path} should hold one line, the secret")
    return SecretFile(path=path, secret=secret, open_to_others=bool(mode & READABLE_BY_OTHERS))


def secret_warnings(path: str, file: SecretFile | None) -> Iterator[str]:
    """A complete sentence where the file's permissions should be narrower; `path` is its key in the YAML file."""
    if file is not None and file.open_to_others:
        yield f"{path}: {file.path} is open to other users of this machine; chmod 600 {file.path}."


def target(given: Any) -> Target:
    """The connection without its password, and the password apart from it."""
    if not isinstance(given, str) or not given.strip():
        raise ValueError("should be a connection string, for example postgresql://user@host:5432/database")
    try:
        parts = dict(psycopg2.extensions.parse_dsn(given))
    except psycopg2.Error:  # its message quotes what was written
        raise ValueError(
            "libpq cannot read this connection string; write postgresql://user@host:5432/database, with special "
            "characters percent-encoded (@ is %40, / is %2F)") from None
    if "sslpassword" in parts:
        raise ValueError("sslpassword cannot be given here; use a client key without a passphrase")
    _refuse_spilt_password(parts)
    missing = [] if "service" in parts else [word for key, word in (("dbname", "database"), ("user", "user"))
                                             if not parts.get(key)]
    if missing:
        raise ValueError(f"names no {' and no '.join(missing)}; write postgresql://user@host:5432/database")
    password = parts.pop("password", None)
    return Target(dsn=psycopg2.extensions.make_dsn(**parts), password=password)


def _refuse_spilt_password(parts: Mapping[str, str]) -> None:
    """libpq reads `//user:a/b@host` as host `user`, port `a`: the password would show up in every message."""
    host = parts.get("host", "").lstrip("@")  # a leading @ is an abstract Unix socket
    port = parts.get("port", "")
    if "@" in host or "@" in parts.get("dbname", "") or re.search(r"[^0-9,]", port):
        raise ValueError("host, port and database cannot be told apart; percent-encode special characters "
                         "(@ is %40, / is %2F), or keep the password out of it with password_file")


def without_password(url: str) -> str:
    """The URL as it may be shown: `https://user@host/path`."""
    parts = urlsplit(url)
    name, colon, _ = parts.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return url
    return urlunsplit(parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}"))


def _path_in_repository(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("should be a path inside the repository, without a leading / or any `..`")
    return path.removeprefix("./").rstrip("/")


def _command(given: Any) -> str:
    """A command as the shell reads it, given as one string or as a list of words."""
    if isinstance(given, str) and given.strip():
        return given
    if isinstance(given, list | tuple) and given and all(isinstance(word, str) for word in given):
        return shlex.join(given)
    raise ValueError("should be a command: one string, or a list of words (quote numbers)")


def _five_fields(expression: str) -> str:
    # a sixth field is seconds to croniter and a command to cron: five have one meaning
    if len(expression.split()) != 5 or not croniter.is_valid(expression, strict=True):
        raise ValueError("should be five cron fields that name a possible time, for example 30 8 * * mon-fri")
    return expression


@dataclass(frozen=True, slots=True, order=True)
class DateSpan:
    """Some days, both ends among them."""

    first: date
    last: date

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}/{self.last}"

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


def _date_span(given: Any) -> DateSpan:
    """`2026-12-24`, or `2026-12-24/2027-01-02`; YAML makes a date of the first."""
    try:
        if isinstance(given, date) and not isinstance(given, datetime):
            return DateSpan(given, given)
        first, _, last = str(given).partition("/")
        span = DateSpan(date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip()))
    except ValueError:
        raise ValueError("should be a day, 2026-12-24, or the first and the last of some, "
                         "2026-12-24/2027-01-02") from None
    if span.last < span.first:
        raise ValueError(f"ends before it begins; write {span.last}/{span.first}")
    return span


def _regex(pattern: str) -> str:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if found.groups > 1:
        raise ValueError("has more than one group; write (?:…) for those that do not hold the number")
    return pattern


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no known time zone; write one like UTC or Europe/Berlin") from None
    return name


def _no_list(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError("should be a list; write [one, two] or a line with a dash for each")
    return given


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_no_list)]
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Minutes = Annotated[int, Field(strict=True, ge=0)]
PositiveMinutes = Annotated[int, Field(strict=True, gt=0)]
Times = Annotated[int, Field(strict=True, ge=1, le=MOST_TIMES)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
PositiveHours = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Days = Annotated[int, Field(strict=True, gt=0)]
Regex = Annotated[Text, AfterValidator(_regex)]
PathBesideSettings = Annotated[Path, AfterValidator(_beside_settings)]
PathInRepository = Annotated[Text, AfterValidator(_path_in_repository)]
UrlWithPassword = Annotated[Text, Field(repr=False), PlainSerializer(without_password)]  # it may contain one
Secret = Annotated[SecretFile, PlainValidator(_read_secret), PlainSerializer(lambda file: str(file.path))]
Connection = Annotated[Target, PlainValidator(target), PlainSerializer(lambda found: found.dsn)]
Connections = Annotated[tuple[Connection, ...], BeforeValidator(_no_list)]
CommandLine = Annotated[str, PlainValidator(_command)]
Commands = Annotated[tuple[CommandLine, ...], BeforeValidator(_no_list)]
Cron = Annotated[Text, AfterValidator(_five_fields)]
CronLines = Annotated[tuple[Cron, ...], BeforeValidator(_no_list), Field(min_length=1)]
DateSpans = Annotated[tuple[Annotated[DateSpan, PlainValidator(_date_span), PlainSerializer(str)], ...],
                      BeforeValidator(_no_list)]
TimeZone = Annotated[Text, AfterValidator(_time_zone)]
