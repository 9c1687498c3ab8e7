"""Whom the settings file wants to be told of deployments: by mail, by webhook, by a command. Imports no Buildbot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from downtime.announcements.kinds import Kind
from downtime.settings.values import (
    CommandLine,
    PositiveMinutes,
    PositiveSeconds,
    Secret,
    Section,
    Text,
    secret_warnings,
)
from downtime.target import is_loopback

# The local part as mailers take it without quotes. An address also comes from git, where anybody may write anything.
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
                     r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
LONGEST_ADDRESS = 254

T = TypeVar("T")


class Encryption(StrEnum):
    """How a mail gets to the relay."""

    NONE = "none"          # in clear
    STARTTLS = "starttls"  # begins in clear and must turn to TLS, usually on port 587
    TLS = "tls"            # TLS from the beginning, usually on port 465


def is_address(text: str) -> bool:
    """Whether it is an e-mail address that cannot be anything else in a header or on a command line."""
    return len(text) <= LONGEST_ADDRESS and ADDRESS.fullmatch(text) is not None and not text.startswith("-")


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("should be an e-mail address alone, for example dba@example.org")
    return text


def _webhook_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError("should start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError("has a user name or a password in it; sign notices with secret_file instead")
    return url.partition("#")[0]


def _host_of(url: str) -> str:
    """All of a webhook's address that may be shown: some services put a secret into its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    # not min_length: pydantic counts the good ones alone, and tells of each bad one that the list is too short
    if not values:
        raise ValueError("is an empty list; name some, or leave the key out")
    return values


Address = Annotated[Text, AfterValidator(_address)]
Kinds = Annotated[tuple[Kind, ...], AfterValidator(_some)]
WebhookUrl = Annotated[Text, AfterValidator(_webhook_url), Field(repr=False), PlainSerializer(_host_of)]


class Receiver(Section):
    """What all receivers have."""

    kinds: Kinds | None = None  # None: all

    def wants(self, kind: Kind) -> bool:
        return self.kinds is None or kind in self.kinds


class Recipients(Receiver):
    """Some people who get some notices by mail."""

    addresses: tuple[Address, ...] = ()
    authors: bool = False  # of the patch, by the addresses that git has

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not self.addresses and not self.authors:
            raise ValueError("names nobody; give addresses, or authors: true")
        return self


class Mail(Section):
    """How mails get out, and who gets which."""

    sender: Address
    to: Annotated[tuple[Recipients, ...], AfterValidator(_some)]
    relay: Text = "localhost"
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 25
    encryption: Encryption = Encryption.NONE
    user: Text | None = None
    password_file: Secret | None = None

    @model_validator(mode="after")
    def _keeps_the_password_to_itself(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together; give both or neither")
        if self.user is not None and self.encryption is Encryption.NONE and not is_loopback(self.relay):
            raise ValueError("would send a password in clear to another host; give encryption: starttls or tls")
        return self


class Webhook(Receiver):
    """A program that gets notices as JSON over HTTP."""

    url: WebhookUrl
    secret_file: Secret | None = None  # signs every notice
    deadline_seconds: PositiveSeconds = 10

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def shown(self) -> str:
        return _host_of(self.url)


class Hook(Receiver):
    """A command on the buildmaster's machine, run for each notice."""

    command: CommandLine
    deadline_seconds: PositiveSeconds = 30


class Notices(Section):
    """Who is told what."""

    closing_minutes: tuple[PositiveMinutes, ...] = (15, 5, 1)
    mail: Mail | None = None
    webhooks: tuple[Webhook, ...] = ()
    commands: tuple[Hook, ...] = ()

    def warnings(self, path: str) -> Iterator[str]:
        """What works but should not stay so: complete sentences, `path` being this section's YAML path."""
        if self.mail is not None:
            yield from secret_warnings(f"{path}.mail.password_file", self.mail.password_file)
        for number, webhook in enumerate(self.webhooks):
            yield from secret_warnings(f"{path}.webhooks[{number}].secret_file", webhook.secret_file)
            if webhook.url.startswith("http:") and not is_loopback(urlsplit(webhook.url).hostname or ""):
                yield f"{path}.webhooks[{number}].url: goes to another host in clear; use https."
