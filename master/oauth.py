"""Sign-in with GitHub, GitLab or Google. Needs the package `requests`, as Buildbot's own classes do.

Buildbot takes over what these services say about somebody, and not all of that is proven: a new account may carry
any address until it is confirmed, and Buildbot's Google user name is the part before the @, which anybody can have
at another domain. Roles hang on both, so only what was proven is let through.
"""

from __future__ import annotations

from typing import Any

from buildbot.www.auth import AuthBase
from buildbot.www.oauth2 import GitHubAuth, GitLabAuth, GoogleAuth
from twisted.web.error import Error

from downtime.settings import Auth


def auth_from(auth: Auth) -> AuthBase:
    """The sign-in that the settings name."""
    if auth.github is not None:
        return ProvenGitHub(auth.github.client_id, auth.github.client_secret_file.secret, serverURL=auth.github.url)
    if auth.gitlab is not None:
        return ProvenGitLab(auth.gitlab.url, auth.gitlab.client_id, auth.gitlab.client_secret_file.secret)
    if auth.google is not None:
        return ProvenGoogle(auth.google.client_id, auth.google.client_secret_file.secret)
    raise LookupError("the settings name no OAuth service")


class ProvenGitHub(GitHubAuth):  # type: ignore[misc]
    """GitHub, without an address that is not verified."""

    def getUserInfoFromOAuthClient(self, c: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().getUserInfoFromOAuthClient(c)
        verified = {entry["email"] for entry in self.get(c, "/user/emails") if entry.get("verified")}
        return {**found, "email": found["email"] if found["email"] in verified else ""}


class ProvenGitLab(GitLabAuth):  # type: ignore[misc]
    """GitLab, without the address of an account that never confirmed one."""

    def getUserInfoFromOAuthClient(self, c: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().getUserInfoFromOAuthClient(c)
        return {**found, "email": found["email"] if self.get(c, "/user").get("confirmed_at") else ""}


class ProvenGoogle(GoogleAuth):  # type: ignore[misc]
    """Google, where the verified address is the user name."""

    def getUserInfoFromOAuthClient(self, c: Any) -> dict[str, Any]:
        if not self.get(c, "/userinfo").get("verified_email"):
            raise Error(403, b"this Google account has no verified e-mail address")
        found: dict[str, Any] = super().getUserInfoFromOAuthClient(c)
        return {**found, "username": found["email"]}
