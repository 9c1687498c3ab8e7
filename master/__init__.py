"""How the buildmaster is put together: builders, schedulers, services, roles, sign-in."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`configuration` and `extend`, when asked for: `python -m master.people` needs no Buildbot."""
    if name not in ("configuration", "extend"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from master import assembly

    return getattr(assembly, name)
