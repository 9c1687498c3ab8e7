"""Notices to people: against a real relay, and what a mail is made of."""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from downtime.announcements.kinds import Kind
from downtime.settings.notices import Encryption, Mail, Recipients
from master.announcing import mail
from master.announcing.mail import MailReceiver, letter, recipients_of
from master.announcing.receiver import NotDelivered, TryAgain
from tests.builders import pause
from tests.downtime.announcements.told import one_of_each
from tests.master.announcing.notices import a_notice
from tests.master.announcing.servers import encrypting_relay, relay, silence

DBA = Recipients(addresses=("dba@example.org",))
AUTHORS = Recipients(authors=True, kinds=(Kind.ABORTED, Kind.REFUSED))


def a_mail(*to: Recipients, **about: Any) -> Mail:
    return Mail.model_validate({"sender": "fast-downtime@example.org", "to": to or (DBA,), "relay": "127.0.0.1",
                                **about})


def receiver(port: int, *to: Recipients, **about: Any) -> MailReceiver:
    return MailReceiver(a_mail(*to, port=port, **about), reactor=reactor)


def read(text: str) -> EmailMessage:
    return cast(EmailMessage, message_from_string(text, policy=policy.default))


async def test_a_mail_arrives_with_subject_and_text() -> None:
    """Readable in any language, long lines and lone dots included."""

    async with relay() as server:
        await receiver(server.port).deliver(a_notice(reason="weiß nicht", explained=". " + "word " * 300))
        ((recipients, text),) = server.mails
    found = read(text)
    assert recipients == ("dba@example.org",)
    assert (found["From"], found["To"]) == ("fast-downtime@example.org", "dba@example.org")
    assert found["Subject"] == "patch-1 has closed the database: weiß nicht"
    assert found["Auto-Submitted"] == "auto-generated"
    assert "Reason:      weiß nicht\n" in found.get_content()
    assert found.get_content().split()[:2] == [".", "word"]
    assert max(map(len, found.get_content().splitlines())) <= 120


async def test_one_mail_goes_to_everybody_who_wants_it() -> None:
    """Each once, whoever names them."""

    async with relay() as server:
        await receiver(server.port, DBA, AUTHORS, Recipients(addresses=("DBA@example.org",))).deliver(
            a_notice(Kind.ABORTED, authors=("developer@example.org",)))
        assert [recipients for recipients, _ in server.mails] == [("dba@example.org", "developer@example.org")]


def test_authors_get_what_is_for_authors() -> None:
    """And whatever git has in place of an address is left out: anybody may write anything there."""

    hostile = ("", "root", "a b@example.org", "x@example.org\nBcc: all@example.org", "<x@example.org>", "-oQ@x.org",
               "a@b@c.org", '"x"@example.org', "x@[127.0.0.1]", "ö@example.org", "x" * 250 + "@example.org",
               "x@example.org, all@example.org")
    about = a_mail(DBA, AUTHORS)
    assert recipients_of(a_notice(Kind.ABORTED, authors=(*hostile, "d+x@example.org")), about) == (
        "dba@example.org", "d+x@example.org")
    assert recipients_of(a_notice(Kind.CLOSED, authors=("d@example.org",)), about) == ("dba@example.org",)


async def test_a_notice_for_authors_alone_without_an_author_is_nobodys() -> None:
    """No relay is asked."""

    await receiver(1, AUTHORS).deliver(a_notice(Kind.ABORTED))


@pytest.mark.parametrize("text", ["x\r\nBcc: all@example.org", "x\nBcc: all@example.org\n\nbody",
                                  "x\r\n.\r\nMAIL FROM:<>", "\u2028Bcc: all@example.org",
                                  "=?utf-8?q?=0ABcc:_all?=", "==??utf-8?q?=0ABcc:_all?=",
                                  "=?utf-8?b?CkJjYzogYWxs?= ö", "weiß " * 40])
def test_no_text_adds_a_header(text: str) -> None:
    """Names and reasons are written by whoever may push or decide."""

    for notice in one_of_each(text):
        made = letter(notice, "fast-downtime@example.org", ("dba@example.org",))
        found = message_from_bytes(made.as_bytes(), policy=policy.default)
        assert sorted(found.keys()) == sorted([
            "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Fastdowntime-Kind", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding"])
        assert "\nBcc" not in made.as_string()


async def test_a_relay_that_refuses_for_good_is_not_asked_again() -> None:
    """Its own words say why."""

    async with relay(broken="550 no mail from you") as server:
        with pytest.raises(NotDelivered, match="no mail from you") as caught:
            await receiver(server.port).deliver(a_notice())
    assert not isinstance(caught.value, TryAgain)


async def test_a_relay_that_is_busy_is_asked_again() -> None:
    """A code from 400 to 499 means that."""

    async with relay(broken="451 greylisted") as server:
        with pytest.raises(TryAgain, match="greylisted"):
            await receiver(server.port).deliver(a_notice())


async def test_an_address_that_is_refused_is_named_and_the_others_get_their_mail() -> None:
    """A wrong address must not go unnoticed for ever, nor keep it from the rest."""

    to = Recipients(addresses=("dba@example.org", "gone@example.org"))
    async with relay(refused=("gone@example.org",)) as server:
        with pytest.raises(NotDelivered, match=r"gone@example\.org"):
            await receiver(server.port, to).deliver(a_notice())
        assert [recipients for recipients, _ in server.mails] == [("dba@example.org",)]


async def test_a_relay_that_is_not_there_is_asked_again() -> None:
    """It is being restarted."""

    async with relay() as server:
        port = server.port
    with pytest.raises(TryAgain, match="refused"):
        await receiver(port).deliver(a_notice())


async def test_a_relay_that_says_nothing_costs_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no connection is left."""

    monkeypatch.setattr(mail, "DEADLINE_SECONDS", 0.2)
    async with silence() as port:
        with pytest.raises(TryAgain, match=r"within 0\.2 s"):
            await receiver(port).deliver(a_notice())


async def test_a_mail_can_be_cancelled() -> None:
    """The master stops, whatever the relay does; the end of the connection is nobody's error."""

    errors: list[object] = []

    def observe(event: Mapping[str, Any]) -> None:
        if event.get("log_failure") is not None:
            errors.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        async with silence() as port:
            sending = Deferred.fromCoroutine(receiver(port).deliver(a_notice()))
            await pause()
            sending.cancel()
            with pytest.raises(CancelledError):
                await sending
    finally:
        globalLogPublisher.removeObserver(observe)
    assert errors == []


@pytest.mark.parametrize("encryption", [Encryption.STARTTLS, Encryption.TLS])
async def test_what_is_to_be_encrypted_never_goes_in_clear(encryption: Encryption) -> None:
    """Not even to a relay that offers nothing else."""

    async with relay() as server:
        with pytest.raises(NotDelivered):
            await receiver(server.port, encryption=encryption).deliver(a_notice())
        assert server.mails == []


@pytest.mark.parametrize("encryption", [Encryption.STARTTLS, Encryption.TLS])
async def test_a_relay_has_to_prove_its_name(
    encryption: Encryption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine on the way would get the mails, and the password."""

    async with encrypting_relay(tmp_path, at_once=encryption is Encryption.TLS) as (server, certificate):
        with pytest.raises(TryAgain, match="certificate verify failed"):
            await receiver(server.port, encryption=encryption).deliver(a_notice())
        assert server.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await receiver(server.port, encryption=encryption).deliver(a_notice())
        assert len(server.mails) == 1
        with pytest.raises(TryAgain, match="localhost"):
            await receiver(server.port, encryption=encryption, relay="localhost").deliver(a_notice())
        assert len(server.mails) == 1
