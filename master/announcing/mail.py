"""To people, by mail over a relay.

Twisted's SMTP client, and not the sending of Buildbot's MailNotifier that is built on it: that one waits for ever for
a relay that has stopped to answer, cannot be cancelled when the master stops, takes any certificate with TLS from the
beginning, and connects again six times at once. Its reporter is about builds, and an announcement is about none.
"""

from __future__ import annotations

import textwrap
from email.message import EmailMessage
from email.utils import format_datetime
from io import BytesIO
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.ssl import optionsForClientTLS
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice
from downtime.printable import cut, printable
from downtime.settings.notices import Encryption, Mail, is_address
from master.announcing.receiver import NotDelivered, TryAgain, within

ANSWER_SECONDS = 20     # for one answer of the relay
DEADLINE_SECONDS = 60.0  # for one mail, from the connection to its acceptance
PERMANENT = 500         # SMTP: codes from here on mean that another try is in vain
LONGEST_PROBLEM = 200   # characters of what the relay says
WIDTH = 100             # columns of the text; addresses of pages are not broken


class MailReceiver:
    """All who get a notice are in one mail."""

    name = "mail"

    def __init__(self, about: Mail, *, reactor: Any) -> None:
        self._about = about
        self._reactor = reactor

    def wants(self, kind: Kind) -> bool:
        return any(recipients.wants(kind) for recipients in self._about.to)

    async def deliver(self, notice: Notice) -> None:
        addresses = recipients_of(notice, self._about)
        if not addresses:
            return  # authors alone were to get it, and git has no address of theirs
        sent = self._send(letter(notice, self._about.sender, addresses), addresses)
        try:
            _, answers = await within(DEADLINE_SECONDS, sent, self._reactor)
        except TimeoutError:
            raise TryAgain(f"{self._about.relay} did not take it within {DEADLINE_SECONDS:g} s") from None
        except CancelledError:
            raise
        except SMTPClientError as error:
            kind = NotDelivered if error.code >= PERMANENT else TryAgain
            raise kind(f"{self._about.relay}: {_worded(error.resp)}") from None
        except Exception as error:  # connections end in many ways
            raise TryAgain(f"{self._about.relay}: {_worded(error)}") from None
        refused = [_worded(address) for address, code, _ in answers if not 200 <= code < 300]
        if refused:
            raise NotDelivered(f"{self._about.relay} does not take mail for {', '.join(refused)}")

    def _send(self, message: EmailMessage, addresses: tuple[str, ...]) -> Deferred[Any]:
        """Fires with how many addresses were accepted, and the answer for each."""
        about = self._about
        password = about.password_file.secret.encode() if about.password_file is not None else b""
        sent: Deferred[Any] = Deferred(lambda _: _give_up(factory, connector))
        factory = ESMTPSenderFactory(
            (about.user or "").encode(), password, about.sender, addresses, BytesIO(message.as_bytes()), sent,
            retries=0, timeout=ANSWER_SECONDS, heloFallback=about.user is None,
            requireAuthentication=about.user is not None,
            requireTransportSecurity=about.encryption is Encryption.STARTTLS,
            hostname=about.relay if about.encryption is Encryption.STARTTLS else None)
        if about.encryption is Encryption.TLS:
            connector = self._reactor.connectSSL(about.relay, about.port, factory, optionsForClientTLS(about.relay))
        else:
            connector = self._reactor.connectTCP(about.relay, about.port, factory)
        return sent


def recipients_of(notice: Notice, about: Mail) -> tuple[str, ...]:
    """Everybody who gets it, each once. Addresses from git that are none are left out."""
    found: dict[str, str] = {}
    for recipients in about.to:
        if recipients.wants(notice.kind):
            authors = filter(is_address, notice.authors) if recipients.authors else ()
            for address in (*recipients.addresses, *authors):
                found.setdefault(address.casefold(), address)
    return tuple(found.values())


def letter(notice: Notice, sender: str, addresses: tuple[str, ...]) -> EmailMessage:
    """The notice as a mail."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(addresses)
    # an encoded word in it would be decoded, line ends and all, when the mail is written (Python 3.11.7)
    message["Subject"] = notice.subject.replace("=?", "= ?")
    message["Date"] = format_datetime(notice.at)
    message["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is told to us
    message["X-Fastdowntime-Kind"] = notice.kind.value
    message.set_content("\n".join(_wrapped(line) for line in notice.text.splitlines()) + "\n")
    return message


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False)


def _give_up(factory: Any, connector: Any) -> None:
    factory.sendFinished = True  # the end of the connection is no news any more
    if factory.currentProtocol is not None and factory.currentProtocol.transport is not None:
        factory.currentProtocol.transport.abortConnection()
    else:
        connector.disconnect()


def _worded(said: object) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return cut(printable(" ".join(text.split())), LONGEST_PROBLEM)
