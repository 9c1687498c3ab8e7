"""A server that a test may kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo import application
from demo.servers import Server
from tests.databases import Database, create


@pytest.fixture
def doomed(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Database]:
    """A database on a server of its own, to be killed."""
    own = Server.create(tmp_path_factory.mktemp("doomed") / "server", server.installation)
    own.start()
    own.admin_sql(application.ROLES)
    yield create(own)
    own.destroy()
