"""Which names of a pooler lead to a database of ours, and what speaks against pausing them. Pure.

A pooler and we may write the address of one server differently, and one name of a database may be on many servers. So a
name leads to ours

* if the settings say so (`databases`) and it leads to a database of that name, or
* if host and port are the same as in our settings, spelling and all; loopback is the pooler's machine, or else
* if it leads to a database of that name on the same port, and all such names lead to the same server.

Where that leaves a doubt nothing is guessed: the deployment is refused until the settings say which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from downtime.printable import quoted
from downtime.settings.cluster import SessionPools
from downtime.target import Target, is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a console has shown."""

    console: Target
    databases: Sequence[Mapping[str, Any]]  # rows of SHOW DATABASES without the console itself
    pool_modes: Mapping[str, frozenset[str]]  # by name: of its pools that exist (a user may have another mode)
    default_mode: str
    shares_its_port: bool = False  # so_reuseport: each session may reach another process of several


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The names to be paused, and complete sentences: `reasons` not to begin, `remarks` for a log."""

    names: tuple[str, ...] = ()
    ended: bool = False  # some of their clients keep their server connections: they will be kicked
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def judge(seen: Seen, target: Target, *, wanted: Sequence[str], session_pools: SessionPools) -> Verdict:
    """Which names to pause for the database of `target`, or why not."""
    label = seen.console.label
    if seen.console.server == target.server:
        return Verdict(reasons=(f"pooler {label}: the environment's `database` leads through this pooler, so the"
                                " deployment would hold back itself: name the server's own address there",))
    rows, remarks, reasons = (_wanted if wanted else _leading)(seen, target, wanted)
    if seen.shares_its_port and not seen.console.parameters.get("host", "").startswith("/"):
        reasons.append("it may be several processes on one port (so_reuseport), of which each session reaches another,"
                       " so that one could stay paused: name the console of each by its Unix socket, or switch"
                       " so_reuseport off where there is one process")
    sessions = [row["name"] for row in rows if "session" in _modes(seen, row)]
    for row in rows:
        if row["paused"]:
            reasons.append(f"{quoted(row['name'])} is paused already, and not by us: RESUME it, or wait for whoever"
                           " has paused it (python -m downtime reopen --environment NAME, if that was a deployment that"
                           " died)")
    if sessions and session_pools is SessionPools.REFUSE:
        reasons.append(f"{_listing(sessions)} has pools in session mode, whose clients keep their server connections:"
                       " set session_pools to end, and they are kicked as direct sessions are, or use pool_mode"
                       " transaction")
    return Verdict(names=tuple(row["name"] for row in rows), ended=bool(sessions),
                   reasons=tuple(f"pooler {label}: {reason}" for reason in reasons),
                   remarks=tuple(f"pooler {label}: {remark}" for remark in remarks))


_Choice = tuple[list[Mapping[str, Any]], list[str], list[str]]  # rows, remarks, reasons


def _wanted(seen: Seen, target: Target, wanted: Sequence[str]) -> _Choice:
    """The names that the settings have."""
    by_name = {row["name"]: row for row in seen.databases}
    reasons = [f"has no database {quoted(name)}, which `databases` names" for name in wanted if name not in by_name]
    rows = [by_name[name] for name in dict.fromkeys(wanted) if name in by_name]
    reasons += [f"{quoted(row['name'])} leads to the database {quoted(row['database'])}, not to"
                f" {quoted(target.database)}: take it out of `databases`"
                for row in rows if row["database"] != target.database]
    return rows, [], reasons


def _leading(seen: Seen, target: Target, _: Sequence[str]) -> _Choice:
    """The names that lead there as far as can be told."""
    candidates = [row for row in seen.databases if row["database"] == target.database]
    same = [row for row in candidates if _server(row, seen.console) == target.server]
    if same:
        return same, [f"{_led(row, seen)}: not paused; if that is the same server, list its names under `databases`"
                      for row in candidates if row not in same], []
    port = target.server.rpartition(":")[2]
    likely = [row for row in candidates if str(row["port"]) == port]
    servers = {_server(row, seen.console) for row in likely}
    if len(servers) == 1:
        return likely, [f"{_led(row, seen)}: taken to be {target.server}" for row in likely], []
    listing = "; ".join(_led(row, seen) for row in candidates) or "none is of that name"
    return [], [], [f"cannot tell which of its databases lead to {target.label} ({listing}): list them under"
                    " `databases`"]


def _modes(seen: Seen, row: Mapping[str, Any]) -> frozenset[str]:
    return seen.pool_modes.get(row["name"], frozenset()) | {row["pool_mode"] or seen.default_mode}


def _server(row: Mapping[str, Any], console: Target) -> str:
    """As `Target.server` writes it; what is on the pooler's own machine is where its console is."""
    host = (row["host"] or "").lower()
    if not host or host.startswith("/") or is_loopback(host):
        return f"{console.server.rpartition(':')[0]}:{row['port']}"
    return f"{host}:{row['port']}"


def _led(row: Mapping[str, Any], seen: Seen) -> str:
    return f"{quoted(row['name'])} leads to {quoted(_server(row, seen.console))}"


def _listing(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
