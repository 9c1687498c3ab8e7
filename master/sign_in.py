"""How people sign in to the web pages: Buildbot's own ways, chosen by the settings, and the users file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.www.auth import AuthBase, CustomAuth, RemoteUserAuth, UserInfoProviderBase
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.threads import deferToThread
from twisted.python import log
from twisted.web.error import Error

from downtime.errors import SettingsError
from downtime.settings import Auth
from downtime.settings.buildmaster import ProxyHeader
from master.people import Users, read_users

CHECKS_AT_ONCE = 2  # of ten threads, which deployments need as well: a guesser of passwords must not fill them


def auth_from(auth: Auth) -> AuthBase:
    """What Buildbot wants as `c['www']['auth']`. Raises SettingsError where a package it needs is missing."""
    if auth.users_file is not None:
        return UsersFileAuth(auth.users_file)
    if auth.proxy_header is not None:
        return ProxyHeaderAuth(auth.proxy_header)
    try:
        from master import oauth
    except ModuleNotFoundError as error:
        raise SettingsError("settings", [f"buildmaster.auth: this way to sign in needs the package {error.name}; "
                                         f"pip install {error.name}."]) from error
    return oauth.auth_from(auth)


class UsersFile:
    """The users file, read again whenever it has changed: adding a user needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[object, Users] | None = None

    def current(self) -> Users:
        """The users as they are now. Nobody, with a line in the log, while the file cannot be read."""
        try:
            state = self._state()
            if self._read is None or self._read[0] != state:
                users = read_users(self.path)
                for warning in users.warnings:
                    log.msg(warning)
                self._read = (state, users)
            return self._read[1]
        except (SettingsError, OSError) as error:
            log.msg(f"nobody can sign in: {error}")
            self._read = None
            return Users(by_name={})

    def _state(self) -> object:
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


class EmailFromUsersFile(UserInfoProviderBase):  # type: ignore[misc]
    """Tells Buildbot the address that goes with a user name."""

    def __init__(self, file: UsersFile) -> None:
        self.file = file

    def getUserInfo(self, username: str) -> Deferred[dict[str, str]]:
        return succeed({"email": self.file.current().email_of(username)})


class UsersFileAuth(CustomAuth):  # type: ignore[misc]
    """Signs in whom the users file knows."""

    def __init__(self, path: Path) -> None:
        self.file = UsersFile(path)
        self._checks = DeferredSemaphore(CHECKS_AT_ONCE)
        super().__init__(userInfoProvider=EmailFromUsersFile(self.file))

    def requestAvatarId(self, cred: Any) -> Deferred[bytes]:
        # in a thread, because a check takes 50 ms on purpose and the reactor has an outage to run
        checking = self._checks.run(deferToThread, self.check_credentials, cred.username, cred.password)
        return checking.addCallback(_name_or_refusal, cred.username)

    def check_credentials(self, username: bytes, password: bytes) -> bool:
        try:
            return self.file.current().check(username.decode("utf-8"), password.decode("utf-8"))
        except UnicodeDecodeError:
            return False  # add_user takes text only


def _name_or_refusal(matches: bool, name: bytes) -> bytes:
    if not matches:
        raise UnauthorizedLogin()
    return name


class NotVouchedFor(Error):
    """The proxy did not say who the visitor is. Buildbot shows `message` on its page, and only text arrives there."""

    def __init__(self, message: str) -> None:
        super().__init__(403)
        self.message: Any = message

    def __str__(self) -> str:
        return str(self.message)


class ProxyHeaderAuth(RemoteUserAuth):  # type: ignore[misc]
    """Takes the word of a proxy on this machine. The settings see to it that nobody else reaches the port."""

    def __init__(self, headers: ProxyHeader) -> None:
        super().__init__(header=headers.username, headerRegex=r"(?P<username>[^\s,]+)\Z")
        self.email_header = headers.email

    async def _sign_in(self, request: Any) -> None:
        user_info = {"username": self._only_value(request, self.header.decode("ascii")), "email": ""}
        if self.email_header is not None:
            user_info["email"] = self._only_value(request, self.email_header)
        session = request.getSession()
        if session.user_info != user_info:
            session.user_info = user_info
            session.updateSession(request)

    def _only_value(self, request: Any, header: str) -> str:
        values = request.requestHeaders.getRawHeaders(header, [])
        if len(values) != 1 or not self.headerRegex.match(values[0].encode("utf-8")):
            # two values: the proxy has passed on what a visitor sent under the same name
            raise NotVouchedFor(f"the proxy should send the header {header} once, with one word")
        return str(values[0])

    def maybeAutoLogin(self, request: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self._sign_in(request))
