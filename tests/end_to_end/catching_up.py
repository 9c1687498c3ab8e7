"""A place in the order of patches for whoever comes after the story, in whatever order the tests run."""

from __future__ import annotations

import json
import re

from demo.stage import Stage

HARMLESS = "-- apply: cold\nCOMMENT ON TABLE account IS 'who has money with us, looked at again';\n"


def next_patch(stage: Stage) -> str:
    """A number behind all that staging has: an earlier one would come too late."""
    rows = stage.sandbox.servers["staging"].admin_sql("SELECT id FROM fastdowntime.ledger", database="app")
    release = max(int(re.findall(r"\d+", patch)[0]) for (patch,) in rows)
    return f"patch-{release + 1}-01-0"


def catch_up(stage: Stage) -> None:
    """Deploy what other tests have left pending: it would stand before whatever is to be approved next."""
    answer = stage.sandbox.downtime("--json", "plan", "--environment", "production")
    for patch in (each["patch"] for each in json.loads(answer.stdout)["pending"]):
        stage.force(patch)
        stage.deploys(stage.waiting(patch), by="architect")
