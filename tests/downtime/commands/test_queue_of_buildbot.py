"""Asking Buildbot for the deployments to come, over HTTP: what it says, and every way in which it may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from downtime.commands import queue_of_buildbot
from downtime.commands.queue_of_buildbot import PATH, Answer, Told
from downtime.history.queue import Entry, Queue, to_json
from downtime.history.stages import Stage, Standing, Whose
from downtime.lanes import Lane

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)
WAITING = Standing(stage=Stage.WAITING, whose=Whose.APPROVER, sentence="waits for an approval")
ENTRY = Entry(place=1, patch_id="patch-1", lane=Lane.COLD, standing=WAITING, sha256="a" * 64, staging_seconds=1.5,
              expected_seconds=3.0, begins_at=AT, behind=("patch-0",), build_url="http://b/#/builds/1")


class Page(Resource):
    """Answers every request with these bytes; None: never, "begun": with half an answer, and then never."""

    isLeaf = True

    def __init__(self, body: bytes | None, *, status: int = 200, begun: bytes = b"") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._body, self._status, self._begun = body, status, begun

    def render_GET(self, request: Request) -> bytes | int:
        self.asked.append(request.uri.decode())
        request.setResponseCode(self._status)
        if self._body is not None:
            return self._body
        if self._begun:
            request.write(self._begun)
        return NOT_DONE_YET


@asynccontextmanager
async def served(page: Resource) -> AsyncIterator[str]:
    """The address of a web server with this page below the path /bb/."""
    net: Any = reactor
    site = Site(page)
    connections: list[Any] = []
    build = site.buildProtocol

    def remembered(address: Any) -> Any:
        connections.append(build(address))
        return connections[-1]

    site.buildProtocol = remembered
    port = net.listenTCP(0, site, interface="127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port.getHost().port}/bb"
    finally:
        for connection in connections:
            if connection._channel.transport is not None:
                connection._channel.transport.loseConnection()
        await port.stopListening()


async def asked_of(page: Resource) -> Answer:
    async with served(page) as address:
        return await queue_of_buildbot.ask(address, reactor=reactor)


def a_document(**fields: Any) -> bytes:
    document = to_json(Queue(entries=(ENTRY,)), now=AT)
    document["entries"][0] |= fields
    return json.dumps(document).encode()


async def test_what_the_pages_write_is_what_the_command_reads() -> None:
    """Below whatever path the buildmaster lives."""
    page = Page(a_document())

    answer = await asked_of(page)

    assert page.asked == [f"/bb/{PATH}"]
    assert answer.silence == ""
    assert answer.told == {"patch-1": Told(
        patch="patch-1", stage=Stage.WAITING, waits_for=Whose.APPROVER, sentence="waits for an approval",
        sha256="a" * 64, staging_seconds=1.5, begins_at=AT, behind=("patch-0",), build_url="http://b/#/builds/1")}
    assert answer.told["patch-1"].standing == WAITING


async def test_fields_of_a_later_version_are_passed_over() -> None:
    """The command line may be older than the buildmaster."""

    assert (await asked_of(Page(a_document(mood="good")))).silence == ""


@pytest.mark.parametrize("body", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"<html>sign in</html>", id="a page"),
    pytest.param(b"\xff\xfe{}", id="no text"),
    pytest.param(b"[]", id="another document"),
    pytest.param(b'{"entries": 7}', id="no entries"),
    pytest.param(a_document(stage="asleep"), id="a stage that there is not"),
    pytest.param(a_document(staging_seconds=-1), id="a negative time"),
    pytest.param(a_document(staging_seconds=float("nan")), id="a time that is no number"),
    pytest.param(a_document(begins_at="2026-03-04T08:30:00"), id="a time of no zone"),
    pytest.param(a_document(begins_at="9999-12-31T23:59:59-12:00"), id="a time behind all years"),
    pytest.param(a_document()[:-9], id="cut off"),
])
async def test_what_is_no_queue_is_not_half_believed(body: bytes) -> None:
    """Another program may listen there, or a proxy that wants a sign-in."""

    answer = await asked_of(Page(body))
    assert (answer.silence, answer.told) == ("what is there is no queue", {})


async def test_a_status_that_is_no_success_is_told() -> None:
    """A buildmaster without these pages, or one that shows them to nobody unknown."""

    assert (await asked_of(Page(b"no", status=404))).silence == "HTTP status 404"


async def test_nobody_listening_is_told() -> None:
    """The day when Buildbot is down is the day when somebody types `status`."""
    async with served(Page(b"")) as address:
        pass

    answer = await queue_of_buildbot.ask(address, reactor=reactor)

    assert "refused" in answer.silence
    assert answer.sentence.startswith(f"Buildbot does not answer at {address}/{PATH} (")


@pytest.mark.parametrize("page", [Page(None), Page(None, begun=b'{"entries": [')], ids=["silent", "half way"])
async def test_an_answer_that_does_not_come_ends_after_two_seconds(page: Page) -> None:
    """And nothing of it stays open."""

    assert (await asked_of(page)).silence == "nothing within 2 s"


async def test_an_answer_without_end_is_cut_off() -> None:
    """A terminal's memory is not the buildmaster's to fill."""

    assert (await asked_of(Page(b" " * (queue_of_buildbot.LARGEST_BYTES + 1)))).silence == "more than 4,194,304 bytes"


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/", "gopher://localhost/", "http://lo\u00e7al/"])
async def test_an_address_that_leads_nowhere_is_no_reason_to_fail(url: str) -> None:
    """Whatever stands in the settings."""

    assert (await queue_of_buildbot.ask(url, reactor=reactor)).silence != ""
