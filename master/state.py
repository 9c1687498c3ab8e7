"""A drawer of Buildbot's state database: small JSON values by name, kept across restarts."""

from __future__ import annotations

from typing import Any


class Drawer:
    """The values of one of our services."""

    def __init__(self, master: Any, service_name: str) -> None:
        self._state = master.db.state
        self._name = service_name

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return await self._state.getState(await self._object_id(), key, None)

    async def put(self, key: str, value: Any) -> None:
        """Returns when the value is in the database."""
        await self._state.setState(await self._object_id(), key, value)

    async def _object_id(self) -> int:
        found: int = await self._state.getObjectId(self._name, "fastdowntime")
        return found
