"""Who gets through which door of a running buildmaster; every rule of it is tested in tests/master."""

from __future__ import annotations

import json

import pytest

from demo.stage import Stage
from demo.web import Web, WebError
from steps.shared.names import FORCED_BY, BuilderName


@pytest.mark.parametrize("scheduler", FORCED_BY.values())
@pytest.mark.parametrize("name", ["anonymous", "developer"])
def test_who_only_reads_can_force_nothing(stage: Stage, name: str, scheduler: str) -> None:
    """A visitor who has not signed in and a developer read everything and start nothing."""
    visitor = Web(stage.sandbox.address) if name == "anonymous" else stage.as_(name)
    with pytest.raises(WebError) as refused:
        visitor.force(scheduler, patch="patch-1", build="1", digest="", decision="approve", reason="",
                      environment="production")

    assert refused.value.status == 403
    assert visitor.builds(BuilderName.STAGING) is not None


def test_a_wrong_password_does_not_sign_in(stage: Stage) -> None:
    """And says so."""
    with pytest.raises(WebError) as refused:
        Web.signed_in(stage.sandbox.address, "operator", "guessed")

    assert refused.value.status == 401


def test_another_page_cannot_press_our_buttons(stage: Stage) -> None:
    """A page elsewhere that an operator happens to look at has no use of their session."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"patch": "patch-1"}}).encode()
    with pytest.raises(WebError) as refused:
        stage.as_("operator").text(f"api/v2/forceschedulers/{FORCED_BY[BuilderName.PRODUCTION]}", body=body, headers={
            "Content-Type": "application/json", "Origin": "http://elsewhere.example.org"})

    assert refused.value.status == 400
    assert "origin" in str(refused.value).lower()
