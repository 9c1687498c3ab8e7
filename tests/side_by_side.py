"""Which tests stay together when the suite runs side by side (`pytest -n`): those that share servers that are costly.

pytest-xdist has `--dist loadgroup` for this; with the pinned pytest it finds no group.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ALONE = ("test_faults.py", "test_chance.py")  # a world for each gate
SURROUNDED = ", surrounded"                   # at the end of the ids of those in worlds with a pooler and a standby
OWN = ("test_hostile_patches.py", "test_history.py")  # a world or a demo of its own
STAGE = "stage"
STANDBYS = "standbys"  # a primary and two standbys of each version: half a minute to make
BESIDE_STANDBYS = ("test_replicas.py", "test_replicas_serving.py", "test_outage_replicas.py", "test_failover.py",
                   "test_standby_check.py")
# What takes longest begins first; the small ones, which mostly wait, fill what is left.
LONGEST_FIRST = (*(f"test_faults.py {gate}" for gate in ("hold", "refuse")), STAGE,
                 *(f"test_chance.py {gate}" for gate in ("hold", "refuse")), f"test_faults.py{SURROUNDED}", *OWN,
                 STANDBYS)


class TogetherOnOneSandbox(LoadScopeScheduling):  # type: ignore[misc]
    """Everything else goes to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return sandbox_of(nodeid)


def sandbox_of(nodeid: str) -> str:
    """What a test shares with others; its own id where that is nothing."""
    path, _, rest = nodeid.partition("::")
    folder, _, file = path.rpartition("/")
    if not folder.endswith("end_to_end"):
        return STANDBYS if file in BESIDE_STANDBYS else nodeid
    if file in ALONE:
        name = rest.rstrip("]")
        if name.endswith(SURROUNDED):
            return f"{file}{SURROUNDED}"
        return f"{file} {'refuse' if name.endswith('refuse') else 'hold'}"
    return file if file in OWN else STAGE


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In order of `LONGEST_FIRST`; everything else, and a run without others beside it, stays as it is."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(sandbox_of(item.nodeid)))


def _place(sandbox: str) -> int:
    return LONGEST_FIRST.index(sandbox) if sandbox in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherOnOneSandbox:
    config.option.loadscopereorder = False  # it would begin with those of the most tests
    return TogetherOnOneSandbox(config, log)
