"""What Buildbot says of the deployments to come: who waits for whom. Asked once, with a deadline.

It is told beside what the ledgers say and decides nothing. The answer is as foreign as any other: it is bounded, and
what it says is taken as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol

from downtime.history.stages import Stage, Standing, Whose

PATH = "plugins/wsgi_dashboards/deployments/queue.json"
DEADLINE_SECONDS = 2.0         # from asking to the last byte: so much longer `status` takes on a bad day
LARGEST_BYTES = 4 * 1024 ** 2  # some thousand deployments
OK = 200


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("before or after all years") from error


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What it says of one deployment, as `downtime.history.queue.to_json` has it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")  # a later version may know more

    patch: str
    stage: Stage
    waits_for: Whose
    sentence: str = ""
    sha256: str = ""
    staging_seconds: Seconds | None = None
    begins_at: Instant | None = None
    behind: tuple[str, ...] = ()
    build_url: str = ""

    @property
    def standing(self) -> Standing:
        return Standing(stage=self.stage, whose=self.waits_for, sentence=self.sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    url: str
    told: Mapping[str, Told] = field(default_factory=dict)  # by patch
    silence: str = ""  # why there is no answer; empty where there is one

    @property
    def sentence(self) -> str:
        """For people, where it did not answer."""
        return f"Buildbot does not answer at {self.url} ({self.silence}): who waits for whom is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    entries: tuple[Told, ...]


_DOCUMENT = TypeAdapter(_Document)


class _NoAnswer(Exception):
    """The message says why."""


async def ask(base_url: str, *, reactor: Any) -> Answer:
    """Ask the buildmaster whose pages are at `base_url`. Never raises."""
    url = base_url.rstrip("/") + "/" + PATH
    try:
        body = await Deferred.fromCoroutine(_body(url, reactor)).addTimeout(
            DEADLINE_SECONDS, reactor, onTimeoutCancel=_too_late)
        entries = _DOCUMENT.validate_json(body).entries
    except ValidationError:
        return Answer(url=url, silence="what is there is no queue")
    except Exception as error:  # whatever the agent, TLS or the resolver raise: nothing depends on the answer
        return Answer(url=url, silence=_why(error))
    return Answer(url=url, told={each.patch: each for each in entries})


async def _body(url: str, reactor: Any) -> bytes:
    from twisted.web.client import Agent  # 0.1 s to import: only who asks pays

    response: Any = await Agent(reactor).request(b"GET", url.encode("ascii"))
    bounded = _Bounded()
    response.deliverBody(bounded)
    body = await bounded.finished
    if response.code != OK:
        raise _NoAnswer(f"HTTP status {response.code}")
    return body


def _too_late(_: object, seconds: float) -> NoReturn:
    raise _NoAnswer(f"nothing within {seconds:g} s")


def _why(error: Exception) -> str:
    if isinstance(error, (_NoAnswer, ConnectError, DNSLookupError)):
        return str(error).rstrip(".")
    return type(error).__name__


class _Bounded(Protocol):
    """Collects the body of an answer; one that was cut off is for whoever reads it to find out."""

    def __init__(self) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._close())
        self._parts: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        self._parts.append(data)
        if self._size > LARGEST_BYTES and not self.finished.called:
            self.finished.errback(_NoAnswer(f"more than {LARGEST_BYTES:,} bytes"))
            self._close()

    def connectionLost(self, reason: Any = None) -> None:
        if not self.finished.called:
            self.finished.callback(b"".join(self._parts))

    def _close(self) -> None:
        transport: Any = self.transport  # zope's interfaces say nothing to type checkers
        if transport is not None:
            transport.loseConnection()
