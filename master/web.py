"""The web side: where it listens, how people sign in, what they may do, and the hook that makes a poll immediate."""

from __future__ import annotations

from typing import Any

from downtime.settings import Settings
from master import roles
from master.schedulers import POLLER
from master.sign_in import auth_from


def add_web(config: dict[str, Any], settings: Settings) -> None:
    """Add what is missing to `config["www"]`, and our rules in any case. Raises SettingsError (sign-in)."""
    www = config.setdefault("www", {})
    www.setdefault("port", settings.buildmaster.listen)
    if "auth" not in www:
        www["auth"] = auth_from(settings.buildmaster.auth)
    www["authz"] = roles.authz(settings.people, www.get("authz"))
    # it carries no data: whoever knocks only makes us look at our own repository a moment earlier
    www.setdefault("change_hook_dialects", {}).setdefault("poller", {b"allowed": [POLLER.encode()]})
