"""Which tests stay together when the suite runs side by side (`pytest -n`): those that share a sandbox that is costly.

pytest-xdist has `--dist loadgroup` for this; with the pinned pytest it finds no group.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ALONE = ("test_faults.py", "test_chance.py")  # a world for each gate
OWN = ("test_hostile_patches.py",)            # a world of its own


class TogetherOnOneSandbox(LoadScopeScheduling):  # type: ignore[misc]
    """Everything else goes to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return sandbox_of(nodeid)


def sandbox_of(nodeid: str) -> str:
    """What a test shares with others; its own id where that is nothing."""
    path, _, rest = nodeid.partition("::")
    folder, _, file = path.rpartition("/")
    if not folder.endswith("end_to_end"):
        return nodeid
    if file in ALONE:
        return f"{file} {'refuse' if rest.rstrip(']').endswith('refuse') else 'hold'}"
    return file if file in OWN else "stage"


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherOnOneSandbox:
    return TogetherOnOneSandbox(config, log)
