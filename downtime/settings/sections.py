"""What the settings file may say: one frozen model per section, with the defaults and the rules between keys.

The databases (`environments`) and the web side (`buildmaster`) have a module each. Passwords are in no `repr`,
`str` or `model_dump` of any of these models.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationInfo, field_validator, model_validator

from downtime import squawk_rules
from downtime.settings.buildmaster import Buildmaster
from downtime.settings.environments import Environment, Environments, Gate
from downtime.settings.notices import Notices
from downtime.settings.values import (
    Days,
    Fraction,
    PathInRepository,
    PositiveHours,
    PositiveMinutes,
    PositiveSeconds,
    Regex,
    Section,
    Text,
    Times,
    UrlWithPassword,
    Words,
    surroundings,
    without_password,
)
from downtime.target import Target

NOTHING_GIVEN: Any = {}  # judged like a section left empty, so that its paths are found beside the settings


class UndeclaredLane(StrEnum):
    """What a patch without a line `-- apply: …` is taken for."""

    COLD = "cold"      # needs the database to itself
    LIVE = "live"      # may be applied while clients work
    REFUSE = "refuse"  # nothing: it must declare itself


class Unlike(StrEnum):
    """What follows when staging is too unlike production."""

    TELL = "tell"        # the verdict says so
    SIGNOFF = "signoff"  # the patch needs a sign-off, too


class Role(StrEnum):
    """What a person may do, named as the key under `people`."""

    DEVELOPER = "developers"  # reads logs
    OPERATOR = "operators"    # forces, stops and reopens
    APPROVER = "approvers"    # lets a patch into production
    SIGNOFF = "signoff"       # lets in what is over the limit or lands mixed with code


class Repository(Section):
    """The git repository that patches land in."""

    url: UrlWithPassword
    branch: Text = "devel"
    poll_seconds: PositiveSeconds = 5

    @field_validator("branch")
    @classmethod
    def _is_no_option(cls, branch: str) -> str:
        if branch.startswith("-"):
            raise ValueError("should be the name of a branch, which never starts with -")
        return branch


class Patches(Section):
    """Which files of the repository are patches; `pattern` is a glob below `directory`."""

    directory: PathInRepository
    pattern: Text = "patch-*.sql"
    undeclared_lane: UndeclaredLane = UndeclaredLane.COLD
    number: Regex | None = None   # the part of the path that is the patch's place in the order
    begin: Text | None = None     # a line that starts so: what stands above it is not applied
    end: Text | None = None       # a line that starts so: what stands below it is not applied
    live_lines: Words = ()        # lines that, like `-- apply: live`, declare the lane


class Landing(Section):
    """What may land together with a patch: globs from the top of the repository."""

    code: Words = ()        # may not
    beside: Words = ()      # may, even where `code` matches too
    not_schema: Words = ()  # grants, comments: no schema change, wherever they lie


class Budget(Section):
    """How long a patch may take, in seconds of its own and of outage."""

    target_seconds: PositiveSeconds = 10
    limit_seconds: PositiveSeconds = 15
    outage_limit_seconds: PositiveSeconds = 60

    @field_validator("limit_seconds")
    @classmethod
    def _is_not_below_target(cls, limit: float, info: ValidationInfo) -> float:
        return _at_least(limit, "target_seconds", info)

    @field_validator("outage_limit_seconds")
    @classmethod
    def _is_not_below_limit(cls, limit: float, info: ValidationInfo) -> float:
        return _at_least(limit, "limit_seconds", info)


class Rehearsal(Section):
    """How a patch is measured on staging, and when staging is too unlike production to judge."""

    repeat: Times = 1                  # runs; the slowest one counts, all but the last are rolled back
    least_size: Fraction = 0.5         # of a table on production, that its copy on staging must have
    copy_days: Days = 30               # how old the copy may be
    unlike: Unlike = Unlike.TELL


class Live(Section):
    """How a live patch waits for its locks, and how long it may hold those that keep clients out."""

    lock_seconds: PositiveSeconds = 0.5       # in the queue for a lock, where clients queue behind
    moment_seconds: PositiveSeconds = 0.5     # with a lock that blocks clients; longer is no live patch
    wait_minutes: PositiveMinutes = 10        # for the locks of one statement, all attempts together
    concurrently_hours: PositiveHours = 4.0   # for one statement outside transactions


class Lint(Section):
    """What squawk, the linter, finds in a patch: rules by squawk's own names."""

    block: Words = ()  # a finding refuses the patch, unless a line waives it with a reason
    off: Words = ()    # not looked for, beside its rules of style

    @field_validator("block", "off")
    @classmethod
    def _are_rules(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        mistakes = [f"{name} {wrong}" for name in names if (wrong := squawk_rules.unknown(name))]
        both = sorted(set(names) & set(info.data.get("block", ())))
        mistakes += [f"{name} cannot be in lint.block too; decide for one of the two lists" for name in both]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return names


class Approval(Section):
    """What it takes to let a patch into production."""

    count: Times = 1                     # approvals, each of somebody else
    expires_hours: PositiveHours = 72.0  # after which one counts no longer
    overdue_hours: PositiveHours = 24.0  # after which waiting for one is told


class Users(Section):
    """Database users with a rule of their own."""

    fragile: Words = ()  # a downtime aborts while one is in the middle of a transaction
    spared: Words = ()   # never kicked, never counted

    @field_validator("spared")
    @classmethod
    def _is_not_fragile(cls, spared: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        both = sorted(set(spared) & set(info.data.get("fragile", ())))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be in users.fragile too; decide for one of the two lists")
        return spared


class People(Section):
    """Who may do what: user names, or e-mail addresses (compared without regard to case)."""

    developers: Words = ()
    operators: Words = ()
    approvers: Words = ()
    signoff: Words = ()

    def roles_of(self, *names: str) -> frozenset[Role]:
        """The roles of somebody known under these names: the user name and the e-mail address of a sign-in.

        Empty names match nobody. User names are compared exactly.
        """
        known_as = {_comparable(name) for name in names if name}
        return frozenset(role for role in Role if known_as.intersection(map(_comparable, getattr(self, role))))


class Settings(Section):
    """The whole file."""

    repository: Repository
    patches: Patches
    landing: Landing = NOTHING_GIVEN
    budget: Budget = NOTHING_GIVEN
    rehearsal: Rehearsal = NOTHING_GIVEN
    live: Live = NOTHING_GIVEN
    lint: Lint = NOTHING_GIVEN
    users: Users = NOTHING_GIVEN
    people: People = NOTHING_GIVEN
    approval: Approval = NOTHING_GIVEN
    notices: Notices = NOTHING_GIVEN
    environments: Environments
    buildmaster: Buildmaster = NOTHING_GIVEN
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _take_folder(self, info: ValidationInfo) -> Self:
        self._folder = surroundings(info).folder
        return self

    @model_validator(mode="after")
    def _names_people_as_google_does(self) -> Self:
        named = {name for role in Role for name in getattr(self.people, role) if "@" not in name}
        if self.buildmaster.auth.google is not None and named:
            raise ValueError(f"people: {', '.join(sorted(named))}: write the e-mail address; a Google sign-in proves "
                             "nothing else")
        return self

    @model_validator(mode="after")
    def _keeps_its_state_elsewhere(self) -> Self:
        """While the gate is closed Buildbot could open no connection to its own state there."""
        state = self.buildmaster.state_target
        if state is not None and (closing := self._closing(state)):
            raise ValueError(f"buildmaster.state: is on a server that environments.{closing} closes; keep it on "
                             "another server, or in a file")
        return self

    def _closing(self, state: Target) -> str | None:
        """The environment whose gate would keep new connections from the database of the state."""
        for name in self.environment_names:
            environment = self.environment(name)
            for database in (member.database for member in environment.members()):
                if database.server == state.server and (
                        environment.gate is Gate.HOLD or database.database == state.database):
                    return name
        return None

    @property
    def folder(self) -> Path:
        """The folder of the file: relative paths in it are relative to that."""
        return self._folder

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works but should not stay so: complete sentences, each with its YAML path."""
        urls = (("repository.url", self.repository.url), ("buildmaster.state", self.buildmaster.state))
        return (
            *(f"{path}: password in clear; use a key or a credential helper." for path, url in urls
              if without_password(url) != url),
            *self.environments.warnings(),
            *self.buildmaster.auth.warnings("buildmaster.auth"),
            *self.notices.warnings("notices"),
        )

    @property
    def environment_names(self) -> tuple[str, ...]:
        return tuple(Environments.model_fields)

    def environment(self, name: str) -> Environment:
        """The environment of this name; KeyError for another name."""
        if name not in self.environment_names:
            raise KeyError(name)
        found: Environment = getattr(self.environments, name)
        return found


def _at_least(value: float, other: str, info: ValidationInfo) -> float:
    least = info.data.get(other)
    if least is not None and value < least:
        raise ValueError(f"is {value:g}, which is less than {other} ({least:g})")
    return value


def _comparable(name: str) -> str:
    return name.casefold() if "@" in name else name
