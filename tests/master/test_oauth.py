"""Sign-in with GitHub, GitLab or Google: only what was proven counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.web.error import Error

pytest.importorskip("requests", reason="Buildbot's OAuth classes need the package requests")

from downtime.settings import Auth
from master.sign_in import auth_from


class Answers:
    """The web session Buildbot hands over, answering by the end of the address."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, url: str) -> Answers:
        self.found = next(answer for end, answer in self.answers.items() if url.endswith(end))
        return self

    def json(self) -> Any:
        return self.found


def an_auth(service: str, folder: Path) -> Any:
    (folder / "secret").write_text("s3cret\n", encoding="utf-8")
    return auth_from(Auth.model_validate({
        service: {"client_id": "client", "client_secret_file": str(folder / "secret")}}))


@pytest.mark.parametrize(("verified", "email"), [(True, "approver@example.org"), (False, "")])
def test_github_address_counts_only_when_verified(verified: bool, email: str, tmp_path: Path) -> None:
    """A new account that claims an approver's address is nobody."""

    info = an_auth("github", tmp_path).getUserInfoFromOAuthClient(Answers({
        "/user": {"login": "visitor", "name": "Visitor", "email": None},
        "/user/emails": [{"email": "approver@example.org", "primary": True, "verified": verified}],
        "/user/orgs": []}))
    assert (info["username"], info["email"]) == ("visitor", email)


@pytest.mark.parametrize(("confirmed_at", "email"), [("2024-01-01T00:00:00Z", "approver@example.org"), (None, "")])
def test_gitlab_address_counts_only_when_confirmed(confirmed_at: str | None, email: str, tmp_path: Path) -> None:
    """The same for GitLab."""

    user = {"name": "Visitor", "username": "visitor", "email": "approver@example.org", "avatar_url": "",
            "confirmed_at": confirmed_at}
    info = an_auth("gitlab", tmp_path).getUserInfoFromOAuthClient(Answers({"/user": user, "/groups": []}))
    assert (info["username"], info["email"]) == ("visitor", email)


def test_google_user_name_is_the_whole_address(tmp_path: Path) -> None:
    """`approver` at another domain is another person."""

    user = {"name": "Visitor", "email": "approver@example.net", "picture": "", "verified_email": True}
    info = an_auth("google", tmp_path).getUserInfoFromOAuthClient(Answers({"/userinfo": user}))
    assert info["username"] == "approver@example.net"


def test_google_account_without_verified_address_is_refused(tmp_path: Path) -> None:
    """There is nothing else to know somebody by."""

    user = {"name": "Visitor", "email": "approver@example.org", "picture": "", "verified_email": False}
    with pytest.raises(Error):
        an_auth("google", tmp_path).getUserInfoFromOAuthClient(Answers({"/userinfo": user}))
