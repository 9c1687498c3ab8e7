"""Which of two servers is faster by a setting, and what is held against staging."""

from __future__ import annotations

import pytest

from downtime import speed_settings
from downtime.traits import Setting


def a_setting(value: str, amount: float | None = None) -> Setting:
    return Setting(value=value, amount=amount)


@pytest.mark.parametrize(("name", "staging", "production", "counts"), [
    ("fsync", a_setting("off"), a_setting("on"), True),
    ("fsync", a_setting("on"), a_setting("off"), False),
    ("synchronous_commit", a_setting("local"), a_setting("on"), True),
    ("synchronous_commit", a_setting("remote_apply"), a_setting("on"), False),
    ("wal_level", a_setting("minimal"), a_setting("replica"), True),
    ("wal_level", a_setting("logical"), a_setting("replica"), False),
    ("maintenance_work_mem", a_setting("1GB", 1048576), a_setting("64MB", 65536), True),
    ("maintenance_work_mem", a_setting("64MB", 65536), a_setting("1GB", 1048576), False),
    ("block_size", a_setting("16384", 16384), a_setting("8192", 8192), True),
    ("block_size", a_setting("8192", 8192), a_setting("16384", 16384), True),
    ("collation", a_setting("libc C"), a_setting("icu und"), True),
    ("collation", a_setting("icu und"), a_setting("libc C"), True),
    ("jit", a_setting("off"), a_setting("on"), False),
    ("wal_compression", a_setting("off"), a_setting("lz4"), False),
    ("wal_compression", a_setting("lz4"), a_setting("off"), False),
    ("synchronous_commit", a_setting("unheard of"), a_setting("on"), False),
])
def test_only_what_makes_staging_faster_or_nobody_can_judge_is_held_against_it(
        name: str, staging: Setting, production: Setting, counts: bool) -> None:
    """Each difference is one complete sentence with both values and the reason."""
    ((held, sentence),) = speed_settings.compare({name: staging}, {name: production})

    assert held is counts
    assert sentence.startswith(f"{name} is {staging.value} on staging and {production.value} on production")
    assert sentence.endswith(f": {speed_settings.WHY[name]}.")


def test_what_is_alike_or_known_to_one_alone_is_not_told() -> None:
    """Another major version, which brings new settings, is a difference of its own."""
    both = {"fsync": a_setting("on")}

    assert list(speed_settings.compare(both, both)) == []
    assert list(speed_settings.compare({**both, "jit": a_setting("on")}, both)) == []
