"""The web side of the settings file: where the pages are, and how people sign in. Imports no Buildbot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator

from downtime.settings.values import (
    PathBesideSettings,
    Secret,
    Section,
    Text,
    UrlWithPassword,
    secret_warnings,
    target,
)
from downtime.target import Target, is_loopback

POSTGRESQL = "postgresql+psycopg2://"  # how SQLAlchemy's URLs name it with the driver that is installed
USERS_FILE: Any = {"users_file": "users"}  # judged like a given value, so that it is found beside the settings


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ValueError("should be the name of an HTTP header, for example X-Forwarded-User")
    return name


def _web_address(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ValueError("should start with http:// or https://, for example https://buildbot.example.org/")
    return url.rstrip("/") + "/"  # Buildbot builds its links by appending


def _state(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme in ("postgresql", "postgres"):  # to SQLAlchemy 2.1 it means psycopg 3, which is not installed
        raise ValueError(f"should begin with {POSTGRESQL} where it is on PostgreSQL")
    if scheme == POSTGRESQL.removesuffix("://"):
        _state_target(url)
    return url


def target_of_state(url: str) -> Target | None:
    """The PostgreSQL server and database that a SQLAlchemy URL means; None where it means a file or another product."""
    return _state_target(url) if url.startswith(POSTGRESQL) else None


def _state_target(url: str) -> Target:
    return target("postgresql://" + url.removeprefix(POSTGRESQL))


def _router_address(url: str) -> str:
    if not re.match(r"wss?://[^/]", url):
        raise ValueError("should start with ws:// or wss://, for example ws://127.0.0.1:8080/ws")
    return url


Header = Annotated[Text, AfterValidator(_header)]
WebAddress = Annotated[Text, AfterValidator(_web_address)]
RouterAddress = Annotated[Text, AfterValidator(_router_address)]
StateUrl = Annotated[UrlWithPassword, AfterValidator(_state)]


class OAuthClient(Section):
    """What the sign-in service gave out for this buildmaster."""

    client_id: Text
    client_secret_file: Secret


class GitHub(OAuthClient):
    url: WebAddress | None = None  # of a GitHub Enterprise server; none means github.com


class GitLab(OAuthClient):
    url: WebAddress = "https://gitlab.com/"


class Google(OAuthClient):
    """Anybody with a Google account can sign in, so people are known by their e-mail address alone."""


class ProxyHeader(Section):
    """The headers a trusted proxy sets, after removing what a visitor sent under the same names."""

    username: Header
    email: Header | None = None


class Auth(Section):
    """How people sign in: exactly one way."""

    users_file: PathBesideSettings | None = None
    github: GitHub | None = None
    gitlab: GitLab | None = None
    google: Google | None = None
    proxy_header: ProxyHeader | None = None

    @model_validator(mode="after")
    def _has_exactly_one(self) -> Self:
        given = [key for key in type(self).model_fields if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"should have exactly one of {', '.join(type(self).model_fields)}; "
                             f"here is {' and '.join(given) or 'none'}")
        return self

    def warnings(self, path: str) -> Iterator[str]:
        for key in ("github", "gitlab", "google"):
            client: OAuthClient | None = getattr(self, key)
            if client is not None:
                yield from secret_warnings(f"{path}.{key}.client_secret_file", client.client_secret_file)


class MultiMaster(Section):
    """Several buildmasters on one state database, and the WAMP router (crossbar) by which they talk to each other."""

    router: RouterAddress
    realm: Text = "buildbot"


class Buildmaster(Section):
    """Where the web pages are, where the state is kept, and how people sign in."""

    url: WebAddress = "http://localhost:8010/"
    listen: Text = "tcp:8010:interface=127.0.0.1"  # an endpoint as Twisted writes it
    state: StateUrl = "sqlite:///state.sqlite"
    multi_master: MultiMaster | None = None
    auth: Auth = USERS_FILE

    @field_validator("listen")
    @classmethod
    def _is_an_endpoint(cls, listen: str) -> str:
        if not re.match(r"[a-z][a-z0-9]*:.", listen):
            raise ValueError("should be an endpoint, for example tcp:8010:interface=127.0.0.1")
        return listen

    @property
    def state_target(self) -> Target | None:
        """Where the state is kept; None for a file."""
        return target_of_state(self.state)

    @field_validator("multi_master")
    @classmethod
    def _shares_a_server(cls, multi_master: MultiMaster | None, info: ValidationInfo) -> MultiMaster | None:
        state = info.data.get("state")
        if multi_master is not None and state is not None and target_of_state(state) is None:
            raise ValueError("needs buildmaster.state on a PostgreSQL server that all buildmasters reach, for example "
                             "postgresql+psycopg2://buildbot@db.example.org/buildbot")
        return multi_master

    @field_validator("auth")
    @classmethod
    def _trusts_only_a_proxy_on_loopback(cls, auth: Auth, info: ValidationInfo) -> Auth:
        listen = info.data.get("listen")
        if auth.proxy_header is not None and listen is not None and not _listens_on_loopback(listen):
            raise ValueError("proxy_header needs buildmaster.listen on loopback, for example "
                             "tcp:8010:interface=127.0.0.1; elsewhere anybody could send that header")
        return auth


def _listens_on_loopback(endpoint: str) -> bool:
    """Whether only this machine reaches a Twisted server endpoint; without `interface=` a port is open to all."""
    kind, *arguments = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", endpoint))
    interfaces = [argument.removeprefix("interface=") for argument in arguments if argument.startswith("interface=")]
    return kind == "unix" or any(map(is_loopback, interfaces))
