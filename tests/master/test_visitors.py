"""The names under which a visitor is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from master import leadership
from master.visitors import Visitors
from tests.master.settings_for_tests import user


class ADrawerInMemory:
    """Stands for Buildbot's state database, which outlives the service."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def getObjectId(self, name: str, class_name: str) -> int:
        return 1

    async def getState(self, object_id: int, name: str, default: Any) -> Any:
        return self.values.get(name, default)

    async def setState(self, object_id: int, name: str, value: Any) -> None:
        self.values[name] = value


class AMaster:
    """As much of a master as the service asks for."""

    def __init__(self, state: ADrawerInMemory, *services: str) -> None:
        self.db = self
        self.state = state
        self.config = SimpleNamespace(services=services)


def visitors_on(state: ADrawerInMemory, *services: str) -> Visitors:
    visitors = Visitors()
    visitors.parent = SimpleNamespace(master=AMaster(state, *services))
    return visitors


async def test_a_visitor_is_known_by_name_and_address() -> None:
    """Buildbot hands on the address; the settings may list the name."""

    visitors = visitors_on(ADrawerInMemory())
    visitors.note(user("operator"))
    assert await visitors.names_of("operator@example.org") == {"operator", "operator@example.org"}


async def test_the_names_outlive_a_restart() -> None:
    """What somebody asked for before it is still theirs."""

    state = ADrawerInMemory()
    visitors_on(state).note(user("operator"))
    assert await visitors_on(state).names_of("operator@example.org") == {"operator", "operator@example.org"}


async def test_a_stranger_has_the_one_name() -> None:
    """Nothing is invented."""

    assert await visitors_on(ADrawerInMemory()).names_of("someone") == {"someone"}


async def test_a_full_name_proves_nothing() -> None:
    """Anybody may call themselves what they like: it is neither a name to look up nor one to be known by."""

    visitors = visitors_on(ADrawerInMemory())
    visitors.note({"full_name": "operator"})
    visitors.note({**user("developer"), "full_name": "operator"})
    assert await visitors.names_of("operator") == {"operator"}
    assert await visitors.names_of("developer@example.org") == {"developer", "developer@example.org"}


async def test_the_newest_sign_in_of_an_address_counts() -> None:
    """Two accounts of one address do not add up to both their roles."""

    visitors = visitors_on(ADrawerInMemory())
    visitors.note({"username": "approver", "email": "shared@example.org"})
    visitors.note({"username": "developer", "email": "shared@example.org"})
    assert await visitors.names_of("shared@example.org") == {"developer", "shared@example.org"}


async def test_a_sign_in_at_another_buildmaster_counts() -> None:
    """An account that was renamed since is not known by its old name for as long as the leader runs."""

    state = ADrawerInMemory()
    leader = visitors_on(state, leadership.NAME)
    leader.note({"username": "approver", "email": "shared@example.org"})
    visitors_on(state, leadership.NAME).note({"username": "developer", "email": "shared@example.org"})
    assert await leader.names_of("shared@example.org") == {"developer", "shared@example.org"}
