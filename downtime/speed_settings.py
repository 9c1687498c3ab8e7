"""Settings of a server that decide how long a patch takes, and which of two servers is faster by them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from downtime.traits import Setting

# What the time of a patch depends on, and why. Of numbers more is faster.
WHY = {
    "shared_buffers": "what is read again is still in memory",
    "work_mem": "sorts and hashes stay in memory",
    "maintenance_work_mem": "index builds and foreign keys sort in memory",
    "max_parallel_maintenance_workers": "more processes build an index",
    "max_parallel_workers": "more processes are to be had at all",
    "max_wal_size": "fewer checkpoints fall into a rewrite",
    "checkpoint_timeout": "fewer checkpoints, and fewer full pages in the WAL",
    "effective_io_concurrency": "more is read ahead",
    "maintenance_io_concurrency": "more is read ahead",
    "wal_level": "the less is needed of the WAL, the less of a rewrite is written to it",
    "fsync": "off never waits for the disk",
    "full_page_writes": "off writes less WAL",
    "synchronous_commit": "off does not wait for the disk at COMMIT",
    "data_checksums": "off computes none",
    "autovacuum": "off stands in nobody's way",
    "block_size": "all sizes and reads are different",
    "encoding": "texts are compared and stored in another way",
    "collation": "indexes on texts take another time to build",
    "jit": "long expressions are compiled, or not",
    "wal_compression": "less is written, and more computed",
}
SLOW_TO_FAST = {
    "wal_level": ("logical", "replica", "minimal"),
    "synchronous_commit": ("remote_apply", "on", "remote_write", "local", "off"),
    **dict.fromkeys(("fsync", "full_page_writes", "data_checksums", "autovacuum"), ("on", "off")),
}
NOBODY_CAN_SAY = frozenset({"block_size", "encoding", "collation"})  # which is faster: any difference counts


def compare(staging: Mapping[str, Setting], production: Mapping[str, Setting]) -> Iterator[tuple[bool, str]]:
    """A sentence for each setting that differs, and whether it speaks against staging's figures.

    It does where staging is the faster one, or where nobody can say.
    """
    for name, why in WHY.items():
        there, here = staging.get(name), production.get(name)
        if there is None or here is None or there.value == here.value:
            continue  # a setting that one of them does not know comes with another major version, which is said
        told = f"{name} is {there.value} on staging and {here.value} on production"
        faster = _is_faster(name, there, here)
        if faster is None:
            yield name in NOBODY_CAN_SAY, f"{told}: {why}."
        else:
            yield faster, f"{told}, which makes staging the {'faster' if faster else 'slower'} one: {why}."


def _is_faster(name: str, there: Setting, here: Setting) -> bool | None:
    """Whether staging is faster by this setting; None where that cannot be said."""
    order = SLOW_TO_FAST.get(name, ())
    if there.value in order and here.value in order:
        return order.index(there.value) > order.index(here.value)
    if name in NOBODY_CAN_SAY or there.amount is None or here.amount is None:
        return None
    return there.amount > here.amount
