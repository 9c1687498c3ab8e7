"""The service that knows the names of those who use the web pages.

Buildbot hands a build one name of whoever forced it, the e-mail address where there is one, while the settings may
list the user name. Both come from the same sign-in; the rules of `master.roles` see them together and note them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from master import leadership
from master.state import Drawer
from steps.shared.names import ServiceName

LOG = Logger()

NAMES = ("email", "username", "full_name")  # Buildbot takes the first one there is for the owner of a build
PROVEN = ("email", "username")              # a full name is whatever its bearer likes


class Visitors(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Visitors`."""

    name = ServiceName.VISITORS.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._names: dict[str, frozenset[str]] = {}

    def note(self, user: Mapping[str, Any]) -> None:
        """Remember somebody who has just asked for something; the newest sign-in of a name is what counts."""
        owner = next((user[key] for key in NAMES if user.get(key)), None)
        names = frozenset(user[key] for key in PROVEN if user.get(key))
        if owner is None or owner not in names or self._names.get(owner) == names:
            return
        self._names[owner] = names
        Deferred.fromCoroutine(self._drawer.put(owner, sorted(names))).addErrback(
            lambda why: LOG.failure("noting a visitor", failure=why))

    async def names_of(self, owner: str) -> frozenset[str]:
        noted = self._names.get(owner)
        if noted is None or leadership.several(self.master):  # at another buildmaster, or before a restart
            noted = frozenset(await self._drawer.get(owner) or noted or ())
        return noted | {owner}

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)
