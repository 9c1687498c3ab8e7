"""The databases of the settings file: where each is, and how a downtime treats the sessions on it.

Pure but for the password files, which are read once, while the settings are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Self

from pydantic import PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator

from downtime.settings.cluster import Fleet, Member, Poolers, Replicas, ReplicasOrList
from downtime.settings.quiesce import Quiesce
from downtime.settings.values import (
    Connection,
    CronLines,
    DateSpans,
    PositiveMinutes,
    PositiveSeconds,
    Seconds,
    Secret,
    Section,
    TimeZone,
    secret_warnings,
    surroundings,
)
from downtime.target import Target


class Gate(StrEnum):
    """How new connections are prevented."""

    HOLD = "hold"      # they wait and then succeed; needs the function a superuser installs once
    REFUSE = "refuse"  # they fail; for servers where no superuser is to be had


class Kick(StrEnum):
    """Which sessions are gone before the patch's first statement."""

    ALL = "all"                    # every one but the spared
    TRANSACTIONS = "transactions"  # those inside a transaction; idle ones are drained after the commit


class Windows(Section):
    """When a downtime may begin: for `minutes` from each instant the cron lines name, but for the blackout dates."""

    cron: CronLines
    minutes: PositiveMinutes
    timezone: TimeZone = "UTC"
    blackout: DateSpans = ()  # days of that time zone in which none begins


class Environment(Section):
    """One database, and how it is treated. `target` is what to connect to."""

    database: Connection
    password_file: Secret | None = None
    gate: Gate = Gate.HOLD
    kick: Kick = Kick.ALL
    drain_seconds: Seconds = 0.0
    long_transaction_seconds: PositiveSeconds = 60.0
    probe: bool = False  # measure Buildbot's deployments as a client sees them; costs two sessions and half a processor
    replicas: ReplicasOrList = Replicas()
    poolers: Poolers = ()
    windows: Windows | None = None
    quiesce: Quiesce = Quiesce()
    fleet: Fleet = Fleet()  # of databases that get the same patches after this one
    _name: str = PrivateAttr("")
    _title: str = PrivateAttr("")
    _password_of_environ: SecretStr | None = PrivateAttr(None)

    @property
    def name(self) -> str:
        return self._name

    @property
    def target(self) -> Target:
        """The database with its password: from the file, else from the environment, else from the DSN."""
        if self.password_file is not None:
            return replace(self.database, password=self.password_file.secret)
        if self._password_of_environ is not None:
            return replace(self.database, password=self._password_of_environ.get_secret_value())
        return self.database

    @property
    def member(self) -> str:
        """What its database is called among those that get the same patches."""
        return self.fleet.canary

    @property
    def title(self) -> str:
        """What messages call it: `production`, and of one of several databases `production tenant-7`."""
        return self._title or self._name

    def members(self) -> tuple[Environment, ...]:
        """Every database that gets the same patches, the canary first.

        Each is an environment with the rules of this one, and the only member of its own.
        """
        if not self.fleet.databases:
            return (self,)
        canary = self.model_copy(update={"fleet": Fleet(canary=self.fleet.canary)})
        canary._title = f"{self._name} {self.fleet.canary}"
        return (canary, *map(self._with, self.fleet.databases))

    def _with(self, member: Member) -> Environment:
        database = replace(member.target, password=member.target.password or self.target.password)
        its_own = self.model_copy(update={
            "database": database, "password_file": None, "poolers": member.poolers, "replicas": member.replicas,
            "fleet": Fleet(canary=member.name)})
        its_own._password_of_environ = None
        its_own._title = f"{self._name} {member.name}"
        return its_own

    @model_validator(mode="after")
    def _has_its_own_standbys(self) -> Self:
        self.replicas.must_be_of(self.database)
        return self

    @model_validator(mode="after")
    def _is_in_its_fleet_once(self) -> Self:
        for number, member in enumerate(self.fleet.databases):
            if _place(member.database) == _place(self.database):
                raise ValueError(f"fleet.databases[{number}] is the environment's own database, which is the canary")
        return self

    def _settle(self, name: str, password: str | None) -> None:
        self._name = name
        self._password_of_environ = SecretStr(password) if password else None
        if self.replicas.servers:
            self.replicas.take_password(self.target.password)
        for member in self.fleet.databases:
            if member.replicas.servers:
                member.replicas.take_password(member.target.password or self.target.password)

    def warnings(self, path: str) -> Iterator[str]:
        """What works but should not stay so: complete sentences, `path` being this section's YAML path."""
        yield from _connection_warnings(f"{path}.database", self.database, password_variable(self.name))
        yield from secret_warnings(f"{path}.password_file", self.password_file)
        for number, pooler in enumerate(self.poolers):
            yield from pooler.warnings(f"{path}.poolers[{number}]")
        yield from self.replicas.warnings(f"{path}.replicas")
        yield from self.quiesce.warnings(f"{path}.quiesce")
        for number, member in enumerate(self.fleet.databases):
            yield from member.warnings(f"{path}.fleet.databases[{number}]")
            yield from _way_warnings(f"{path}.fleet.databases[{number}].database", member.database)


class Environments(Section):
    """Where patches are rehearsed, and where they are deployed."""

    staging: Environment
    production: Environment

    @field_validator("production")
    @classmethod
    def _is_not_staging(cls, production: Environment, info: ValidationInfo) -> Environment:
        staging = info.data.get("staging")
        others = [production.database, *(member.database for member in production.fleet.databases)]
        if staging is not None and _place(staging.database) in map(_place, others):
            raise ValueError("is the same database as environments.staging; a rehearsal would be a deployment")
        return production

    @model_validator(mode="after")
    def _take_names_and_passwords(self, info: ValidationInfo) -> Self:
        environ = surroundings(info).environ
        for name in type(self).model_fields:
            getattr(self, name)._settle(name, environ.get(password_variable(name)))
        return self

    def warnings(self) -> Iterator[str]:
        for name in type(self).model_fields:
            yield from getattr(self, name).warnings(f"environments.{name}")
        if self.staging.fleet.databases:
            yield ("environments.staging.fleet: rehearsals are made in the environment's own database alone; only "
                   "python -m downtime --environment staging deploys to the others.")
        servers = {member.database.server for member in self.production.members()}
        if self.staging.gate is Gate.HOLD and self.staging.database.server in servers:
            yield ("environments.staging.gate: hold closes the whole server, and production is on the same one: "
                   "every rehearsal is an outage there; use refuse, or a server of its own.")


def _place(database: Target) -> tuple[str, str]:
    return database.server, database.database


def password_variable(environment: str) -> str:
    """The environment variable that may hold the password, for example FASTDOWNTIME_PRODUCTION_PASSWORD."""
    return f"FASTDOWNTIME_{environment.upper()}_PASSWORD"


def _connection_warnings(path: str, target: Target, variable: str) -> Iterator[str]:
    if target.password is not None:
        yield f"{path}: password in clear; move it to a file named by password_file, or to {variable}."
    yield from _way_warnings(path, target)


def _way_warnings(path: str, target: Target) -> Iterator[str]:
    if not target.stays_on_this_machine and not target.proves_its_server:
        yield (f"{path}: connects to another host without sslmode=verify-full, so another machine could pose as it; "
               "add ?sslmode=verify-full&sslrootcert=FILE.")
