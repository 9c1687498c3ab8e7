"""Sign-in to the web pages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from threading import Event
from typing import Any

from buildbot.www.auth import AuthBase
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from downtime.settings import Auth
from downtime.settings.buildmaster import ProxyHeader
from master.people import Users, add_user, remove_user
from master.sign_in import NotVouchedFor, ProxyHeaderAuth, UsersFileAuth, auth_from


class Session:
    """A visitor's session as Buildbot keeps it."""

    def __init__(self) -> None:
        self.user_info: dict[str, Any] = {"anonymous": True}

    def updateSession(self, request: object) -> None:
        pass


class Request:
    """A visitor's request with these headers."""

    def __init__(self, headers: dict[str, list[str]]) -> None:
        self.requestHeaders = Headers(headers)
        self.session = Session()

    def getSession(self) -> Session:
        return self.session


class SlowFile:
    """A users file that takes as long as the test wants, and knows nobody."""

    def __init__(self, go_on: Event) -> None:
        self._go_on = go_on

    def current(self) -> Users:
        self._go_on.wait(60)
        return Users(by_name={})


class UsersFileSignIn(TestCase):  # type: ignore[misc]
    """A password of the users file opens the door, as soon as it is in the file and as long as it stays there."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "users"
        self.auth = auth_from(Auth(users_file=self.path))

    async def signs_in(self, name: bytes, password: bytes) -> bool:
        try:
            return bool(await self.auth.requestAvatarId(UsernamePassword(name, password)) == name)
        except UnauthorizedLogin:
            return False

    async def test_file_is_read_again_when_it_has_changed(self) -> None:
        """Adding, changing and removing a user needs no restart."""

        self.assertFalse(await self.signs_in(b"operator", b"first"))
        add_user(self.path, "operator", "operator@example.org", "first")
        self.assertTrue(await self.signs_in(b"operator", b"first"))
        add_user(self.path, "operator", "operator@example.org", "second")
        self.assertFalse(await self.signs_in(b"operator", b"first"))
        self.assertTrue(await self.signs_in(b"operator", b"second"))
        remove_user(self.path, "operator")
        self.assertFalse(await self.signs_in(b"operator", b"second"))

    async def test_address_comes_with_the_name(self) -> None:
        """Roles can be given to the address."""

        add_user(self.path, "operator", "operator@example.org", "first")
        self.assertEqual(await self.auth.userInfoProvider.getUserInfo("operator"), {"email": "operator@example.org"})

    async def test_broken_file_lets_nobody_in(self) -> None:
        """Also nobody who was in it before it broke."""

        add_user(self.path, "operator", "operator@example.org", "first")
        self.assertTrue(await self.signs_in(b"operator", b"first"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write("broken\n")
        self.assertFalse(await self.signs_in(b"operator", b"first"))

    async def test_guessing_passwords_leaves_the_threads_to_deployments(self) -> None:
        """However many are asked about at once: names of servers are resolved in the same ten threads."""

        go_on = Event()
        self.addCleanup(go_on.set)
        self.auth.file = SlowFile(go_on)
        asked = [Deferred.fromCoroutine(self.signs_in(b"operator", b"guess")) for _ in range(30)]
        self.assertEqual(await deferToThread(lambda: "resolved"), "resolved")
        go_on.set()
        self.assertEqual({answer for _, answer in await DeferredList(asked)}, {False})

    test_guessing_passwords_leaves_the_threads_to_deployments.timeout = 20  # type: ignore[attr-defined]  # seconds

    async def test_bytes_that_are_no_text_are_a_wrong_password(self) -> None:
        """They are refused like any other, not answered by an error page."""

        add_user(self.path, "operator", "operator@example.org", "first")
        self.assertFalse(await self.signs_in(b"operator", b"\xff"))
        self.assertFalse(await self.signs_in(b"\xff", b"first"))


class ProxyHeaderSignIn(TestCase):  # type: ignore[misc]
    """A trusted proxy says who the visitor is."""

    def setUp(self) -> None:
        self.auth = ProxyHeaderAuth(ProxyHeader(username="X-Forwarded-User", email="X-Forwarded-Email"))

    async def test_name_and_address_come_from_the_headers(self) -> None:
        """Both are in the session afterwards."""

        request = Request({"X-Forwarded-User": ["operator"], "X-Forwarded-Email": ["operator@example.org"]})
        await self.auth.maybeAutoLogin(request)
        self.assertEqual(request.session.user_info, {"username": "operator", "email": "operator@example.org"})

    async def test_anything_but_one_word_in_one_header_is_refused(self) -> None:
        """A visitor's own header that the proxy passed on does not win, and nobody becomes a user without a name."""

        for names in ([], [""], ["operator", "visitor"], ["operator, visitor"], ["operator visitor"]):
            request = Request({"X-Forwarded-User": names, "X-Forwarded-Email": ["operator@example.org"]})
            await self.assertFailure(self.auth.maybeAutoLogin(request), NotVouchedFor)
            self.assertEqual(request.session.user_info, {"anonymous": True})

    async def test_missing_address_is_refused_where_one_was_promised(self) -> None:
        """Roles given to an address cannot be lost without notice."""

        refusal = await self.assertFailure(
            self.auth.maybeAutoLogin(Request({"X-Forwarded-User": ["operator"]})), NotVouchedFor)
        self.assertEqual(refusal.message, "the proxy should send the header X-Forwarded-Email once, with one word")


def test_settings_choose_the_way_to_sign_in(tmp_path: Path) -> None:
    """Each of the two ways that need no other service is what Buildbot takes as its `auth`."""

    ways: list[AuthBase] = [auth_from(Auth(users_file=tmp_path / "users")),
                            auth_from(Auth(proxy_header=ProxyHeader(username="X-Forwarded-User")))]
    assert [type(way) for way in ways] == [UsersFileAuth, ProxyHeaderAuth]
