"""What stands around a database in the settings: poolers before it, replicas beside it, other databases like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from downtime.settings.values import (
    Connection,
    Connections,
    PositiveSeconds,
    Secret,
    Section,
    Words,
    secret_warnings,
)
from downtime.target import Target

LONGEST_WAVE = 50  # databases at a time: each has two sessions here and a patch under way on its server


class SessionPools(StrEnum):
    """What happens to pools in session mode, whose clients keep their server connection for as long as they like."""

    REFUSE = "refuse"  # the deployment is refused: PAUSE would wait until every client has gone
    END = "end"        # new clients wait; those with a server connection keep it until they are kicked


class Pooler(Section):
    """One PgBouncer, by the connection to its console."""

    console: Connection
    password_file: Secret | None = None
    databases: Words = ()               # its names for this database; none: all that lead to one of that name
    pause_seconds: PositiveSeconds = 5  # for transactions behind it to end, in which its clients wait
    session_pools: SessionPools = SessionPools.REFUSE

    @property
    def target(self) -> Target:
        """The console with its password."""
        if self.password_file is None:
            return self.console
        return replace(self.console, password=self.password_file.secret)

    def warnings(self, path: str) -> Iterator[str]:
        """What works but should not stay so: complete sentences, `path` being this section's YAML path."""
        if self.console.password is not None:
            yield f"{path}.console: password in clear; move it to a file named by password_file."
        yield from secret_warnings(f"{path}.password_file", self.password_file)


class Replicas(Section):
    """The hot standbys of the database; they are connected to as the environment's own role."""

    servers: Connections = ()
    serve_reads: bool = False              # keep the old schema readable there while the primary is closed
    lag_seconds: PositiveSeconds = 10      # a standby that is further behind refuses the deployment
    catch_up_seconds: PositiveSeconds = 30  # after the patch, for every standby to have it
    _password: str | None = PrivateAttr(None)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Where they are, with the password of the environment."""
        return tuple(replace(server, password=self._password or server.password) for server in self.servers)

    @field_validator("servers")
    @classmethod
    def _are_different(cls, servers: tuple[Target, ...]) -> tuple[Target, ...]:
        places = [each.server for each in servers]
        if twice := sorted({each for each in places if places.count(each) > 1}):
            raise ValueError(f"has the server {', '.join(twice)} more than once")  # one session would kick the other
        return servers

    @model_validator(mode="after")
    def _serve_from_somewhere(self) -> Self:
        if self.serve_reads and not self.servers:
            raise ValueError("has serve_reads, and no servers that could: name them in servers")
        return self

    def must_be_of(self, database: Target) -> None:
        """Raise ValueError where a standby is given another database or another role than its primary.

        Nobody would be kicked in the database that is patched, or as a role that may not kick.
        """
        for number, server in enumerate(self.servers):
            for key, what in (("dbname", "database"), ("user", "user")):
                there, here = server.parameters.get(key), database.parameters.get(key)
                if there and here and there != here:
                    raise ValueError(f"replicas.servers[{number}] names the {what} {there}; a standby is asked about"
                                     f" the {what} of its primary: write {here}")

    def take_password(self, password: str | None) -> None:
        """The environment's own: the role is the same there."""
        self._password = password

    def warnings(self, path: str) -> Iterator[str]:
        """As for `Pooler`."""
        for number, server in enumerate(self.servers):
            if server.password is not None:
                yield f"{path}.servers[{number}]: password in clear; take it out, the environment's is used."


def _consoles(given: Any) -> Any:
    """A list in which a pooler may be written as a connection string alone."""
    if not isinstance(given, list | tuple):
        raise ValueError("should be a list; write [one, two] or a line with a dash for each")
    return [{"console": each} if isinstance(each, str) else each for each in given]


def _servers(given: Any) -> Any:
    """Replicas that are written as a list of connection strings alone."""
    if isinstance(given, str):
        raise ValueError("should be a list; write [one, two] or a line with a dash for each")
    return {"servers": given} if isinstance(given, list) else given


def _not_twice(poolers: tuple[Pooler, ...]) -> tuple[Pooler, ...]:
    """Of one that is listed twice, whoever resumes it second would find nothing paused."""
    places = [each.console.server for each in poolers]
    if twice := sorted({each for each in places if places.count(each) > 1}):
        raise ValueError(f"has the pooler {', '.join(twice)} more than once")
    return poolers


Poolers = Annotated[tuple[Pooler, ...], BeforeValidator(_consoles), AfterValidator(_not_twice)]
ReplicasOrList = Annotated[Replicas, BeforeValidator(_servers)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]


class Member(Section):
    """One more database that gets the same patches: a tenant, a shard."""

    name: Name
    database: Connection
    password_file: Secret | None = None  # none: the password of the environment
    poolers: Poolers = ()
    replicas: ReplicasOrList = Replicas()

    @model_validator(mode="after")
    def _has_its_own_standbys(self) -> Self:
        self.replicas.must_be_of(self.database)
        return self

    @property
    def target(self) -> Target:
        """Where it is, with a password where it has one of its own."""
        if self.password_file is None:
            return self.database
        return replace(self.database, password=self.password_file.secret)

    def warnings(self, path: str) -> Iterator[str]:
        """As for `Pooler`."""
        if self.database.password is not None:
            yield f"{path}.database: password in clear; move it to a file named by password_file."
        yield from secret_warnings(f"{path}.password_file", self.password_file)
        for number, pooler in enumerate(self.poolers):
            yield from pooler.warnings(f"{path}.poolers[{number}]")
        yield from self.replicas.warnings(f"{path}.replicas")


class Fleet(Section):
    """The databases beside the environment's own, which is the canary: it is deployed to first and alone."""

    canary: Name = "canary"  # what the environment's own database is called among the others
    databases: tuple[Member, ...] = ()
    at_once: Annotated[int, Field(strict=True, ge=1, le=LONGEST_WAVE)] = 1

    @field_validator("databases")
    @classmethod
    def _are_different(cls, members: tuple[Member, ...], info: ValidationInfo) -> tuple[Member, ...]:
        names = [info.data.get("canary", ""), *(each.name for each in members)]
        places = [f"{each.database.server}/{each.database.database}" for each in members]
        for what, seen in (("name", names), ("database", places)):
            twice = sorted({each for each in seen if seen.count(each) > 1})
            if twice:
                raise ValueError(f"has the {what} {', '.join(twice)} more than once")
        return members
