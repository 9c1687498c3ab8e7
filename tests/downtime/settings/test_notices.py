"""Who is told, as the settings have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.announcements.kinds import Kind
from downtime.settings import Settings
from downtime.settings.notices import is_address

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

TO = [{"addresses": ["dba@example.org"]}]


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return str(path)


def test_nobody_is_told_by_default(load_with: LoadWith) -> None:
    """And the database is said to close 15, 5 and 1 minutes before it does, should anybody listen."""

    notices = load_with().notices
    assert (notices.closing_minutes, notices.mail, notices.webhooks, notices.commands) == ((15, 5, 1), None, (), ())


def test_a_receiver_gets_every_kind_or_those_it_names(load_with: LoadWith) -> None:
    """By the words that people read."""

    first, second = load_with({"notices.commands": [
        {"command": "true"}, {"command": ["logger", "a b"], "kinds": ["closing soon", "aborted"]}]}).notices.commands
    assert all(map(first.wants, Kind))
    assert [kind for kind in Kind if second.wants(kind)] == [Kind.CLOSING_SOON, Kind.ABORTED]
    assert second.command == "logger 'a b'"


@pytest.mark.parametrize(("notices", "problem"), [
    ({"mails": {}}, "notices.mails: unknown key; did you mean `mail`?"),
    ({"webhooks": [{"url": "https://x.org/", "secret": "s"}]},
     "notices.webhooks[0].secret: unknown key; did you mean `secret_file`?"),
    ({"mail": {"sender": "a@x.org", "to": [{"authors": True, "address": ["b@x.org"]}]}},
     "notices.mail.to[0].address: unknown key; did you mean `addresses`?"),
    ({"webhooks": [{"url": "https://x.org/"}, {"url": "ftp://x.org/"}]},
     "notices.webhooks[1].url: should start with http:// or https:// and name a host."),
    ({"webhooks": [{"url": "https://"}]},
     "notices.webhooks[0].url: should start with http:// or https:// and name a host."),
    ({"webhooks": [{"url": "https://x.org:port/"}]},
     "notices.webhooks[0].url: should start with http:// or https:// and name a host."),
    ({"webhooks": [{"url": "https://me:s3cret@x.org/"}]},
     "notices.webhooks[0].url: has a user name or a password in it; sign notices with secret_file instead."),
    ({"webhooks": [{"url": "https://x.org/", "kinds": []}]},
     "notices.webhooks[0].kinds: is an empty list; name some, or leave the key out."),
    ({"webhooks": [{"url": "https://x.org/", "kinds": ["close"]}]}, "notices.webhooks[0].kinds[0]: "),
    ({"webhooks": [{"url": "https://x.org/", "kinds": "closed"}]}, "notices.webhooks[0].kinds: should be a list."),
    ({"webhooks": [{"url": "https://x.org/", "deadline_seconds": 0}]}, "notices.webhooks[0].deadline_seconds: "),
    ({"closing_minutes": [5, 0]}, "notices.closing_minutes[1]: "),
    ({"commands": [{"command": ""}]}, "notices.commands[0].command: should be a command"),
    ({"mail": {"sender": "a@x.org"}}, "notices.mail.to: is required."),
    ({"mail": {"sender": "a@x.org", "to": []}}, "notices.mail.to: is an empty list"),
    ({"mail": {"sender": "a@x.org", "to": [{"kinds": ["closed"]}]}},
     "notices.mail.to[0]: names nobody; give addresses, or authors: true."),
    ({"mail": {"sender": "Fast <a@x.org>", "to": TO}},
     "notices.mail.sender: should be an e-mail address alone, for example dba@example.org."),
    ({"mail": {"sender": "a@x.org", "to": TO, "user": "me"}},
     "notices.mail: user and password_file belong together; give both or neither."),
    ({"mail": {"sender": "a@x.org", "to": TO, "port": 70000}}, "notices.mail.port: "),
    ({"mail": {"sender": "a@x.org", "to": TO, "encryption": "ssl"}}, "notices.mail.encryption: "),
])
def test_mistakes_are_told_with_their_path(notices: Any, problem: str, problems_with: ProblemsWith) -> None:
    """A receiver that is never told because of a typing mistake would be missed when it matters."""

    (found,) = problems_with({"notices": notices})
    assert found.startswith(problem)
    assert "s3cret" not in found


def test_a_password_does_not_leave_the_machine_in_clear(
    load_with: LoadWith, problems_with: ProblemsWith, secret: str,
) -> None:
    """It would be read by whoever is on the way."""

    mail = {"sender": "a@x.org", "to": TO, "user": "me", "password_file": secret, "relay": "mail.example.org"}
    assert problems_with({"notices.mail": mail}) == (
        "notices.mail: would send a password in clear to another host; give encryption: starttls or tls.",)
    for good in ({"encryption": "tls"}, {"relay": "localhost"}):
        assert load_with({"notices.mail": {**mail, **good}}).notices.mail is not None


def test_secrets_and_addresses_of_webhooks_are_not_shown(load_with: LoadWith, secret: str) -> None:
    """Some services put a token into the path."""

    settings = load_with({"notices": {
        "mail": {"sender": "a@x.org", "to": TO, "user": "me", "password_file": secret},
        "webhooks": [{"url": "https://hooks.example.org/T0KEN#top", "secret_file": secret}]}})
    assert settings.notices.webhooks[0].url == "https://hooks.example.org/T0KEN"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret" not in shown
        assert "T0KEN" not in shown


def test_what_should_not_stay_so_is_a_warning(load_with: LoadWith, secret: str) -> None:
    """Notices in clear to another host, and secrets that others may read."""

    Path(secret).chmod(0o644)
    found = load_with({"notices.webhooks": [
        {"url": "http://status.example.org/", "secret_file": secret}, {"url": "http://127.0.0.1:8080/"}]}).warnings
    assert found == (
        f"notices.webhooks[0].secret_file: {secret} is open to other users of this machine; chmod 600 {secret}.",
        "notices.webhooks[0].url: goes to another host in clear; use https.")


def test_an_address_is_an_address_and_nothing_else() -> None:
    """What git has in its place may be anything."""

    assert all(map(is_address, ("a@b", "first.last+tag@mail.example.org", "o'neill@x.org")))
    assert not any(map(is_address, ("", "a", "a@", "@b", "a@b@c", "a b@c", "-a@b", "a@-b", "a@b\n", "a,b@c", ".a@b")))
