"""A drawer of Buildbot's state database: small JSON values by name, kept across restarts."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa


class Drawer:
    """The values of one of our services."""

    def __init__(self, master: Any, service_name: str) -> None:
        self._db = master.db
        self._state = master.db.state
        self._name = service_name

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return await self._state.getState(await self._object_id(), key, None)

    async def put(self, key: str, value: Any) -> None:
        """Returns when the value is in the database."""
        await self._state.setState(await self._object_id(), key, value)

    async def add(self, key: str, value: Any) -> bool:
        """The same for a key that nobody has used; False where another buildmaster was first."""
        found = await self._state.atomicCreateState(await self._object_id(), key, lambda: value)
        return bool(found == value)

    async def behind(self, key: str = "") -> dict[str, Any]:
        """Every value whose key comes after this one, by its key, in the order of the keys."""
        table, object_id = self._db.model.object_state, await self._object_id()

        def read(connection: Any) -> dict[str, Any]:
            asked = sa.select(table.c.name, table.c.value_json).where(
                table.c.objectid == object_id, table.c.name > key)
            return {name: json.loads(value) for name, value in connection.execute(asked.order_by(table.c.name))}

        found: dict[str, Any] = await self._db.pool.do(read)
        return found

    async def _object_id(self) -> int:
        found: int = await self._state.getObjectId(self._name, "fastdowntime")
        return found
