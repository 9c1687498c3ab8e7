"""The web side: where it listens, how people sign in, what they may do, our pages, and the hook that makes a poll
immediate.
"""

from __future__ import annotations

from typing import Any

from downtime.settings import Settings
from master import roles
from master.pages.application import application
from master.pages.source import MasterSource
from master.schedulers import POLLER
from master.sign_in import auth_from

DASHBOARDS = "wsgi_dashboards"  # Buildbot's plugin that serves Flask applications
DEPLOYMENTS = "deployments"     # our pages: the menu entry and part of their address


def add_web(config: dict[str, Any], settings: Settings) -> None:
    """Add what is missing to `config["www"]`, and our rules in any case. Raises SettingsError (sign-in)."""
    www = config.setdefault("www", {})
    www.setdefault("port", settings.buildmaster.listen)
    if "auth" not in www:
        www["auth"] = auth_from(settings.buildmaster.auth)
    www["authz"] = roles.authz(settings.people, www.get("authz"))
    www["plugins"] = with_pages(www.get("plugins", {}), settings)
    # it carries no data: whoever knocks only makes us look at our own repository a moment earlier
    www.setdefault("change_hook_dialects", {}).setdefault("poller", {b"allowed": [POLLER.encode()]})


def with_pages(plugins: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The web plugins of a configuration with our pages among them; its own dashboards stay."""
    theirs = [each for each in plugins.get(DASHBOARDS, ()) if each["name"] != DEPLOYMENTS]
    pages: Any = application(MasterSource(settings, lambda: pages.buildbot_api.master))  # Buildbot sets the attribute
    ours = {"name": DEPLOYMENTS, "caption": "Deployments", "app": pages, "order": 1, "icon": "Database"}
    return {**plugins, DASHBOARDS: [*theirs, ours]}
