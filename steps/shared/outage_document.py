"""What is kept of a deployment in the build data `outage`: one JSON object for pages, charts and other programs.

docs/outage.md explains every key. The keys are always all there, whichever lane the patch took. Durations are in
seconds, instants in ISO 8601 with their offset. Names and queries are as the clients gave them: whoever shows one
escapes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from downtime import ledger, live, phases, probing, sessions
from downtime.catching_up import Caught
from downtime.patches import Lane

SESSIONS_KEPT = 1000  # of each report: about 500 kB; fewer, and a script owner may look in vain


def document(patch: str, report: phases.Report | live.Report, entry: ledger.Entry | None, *,
             client: probing.Report | None) -> dict[str, Any]:
    """Everything about one deployment that has ended.

    `entry` is the patch's row in production's ledger, `client` what a prober saw; None where there is none.
    """
    return {"patch": patch, "started_at": report.started_at.isoformat(), **_foretold(entry), **_of_clients(client),
            **(_live(report) if isinstance(report, live.Report) else _cold(report))}


def _foretold(entry: ledger.Entry | None) -> dict[str, Any]:
    return {"rehearsed_seconds": entry.rehearsed_seconds if entry else None,
            "forecast_seconds": entry.forecast_seconds if entry else None}


def _of_clients(client: probing.Report | None) -> dict[str, Any]:
    return {"client": json.loads(client.to_json()) if client is not None else None}


def _live(report: live.Report) -> dict[str, Any]:
    """A live application that was not applied has raised; nobody was kicked by one that was."""
    return {"lane": Lane.LIVE.value, "applied": True, "error": None, "outage_seconds": 0.0,
            "patch_seconds": report.seconds, "overhead_seconds": 0.0, "retries": report.retries,
            "phases": {}, "timeline": [], "standbys": None, **_ended((), ())}


def _cold(report: phases.Report) -> dict[str, Any]:
    return {"lane": Lane.COLD.value, "applied": report.applied, "error": str(report.error) if report.error else None,
            "outage_seconds": report.outage_seconds, "patch_seconds": report.patch_seconds,
            "overhead_seconds": report.overhead_seconds, "retries": 0,
            "phases": {each.phase.value: each.seconds for each in report.phases},
            "timeline": [_phase(each) for each in report.phases], "standbys": _standbys(report.caught),
            **_ended(report.kicked, report.drained)}


def _standbys(caught: Caught | None) -> dict[str, Any] | None:
    """How they came after; None where there are none, or the patch is not in."""
    if caught is None:
        return None
    return {"seconds": caught.seconds, "behind": list(caught.behind), "lines": list(caught.lines)}


def _phase(report: phases.PhaseReport) -> dict[str, Any]:
    return {"phase": report.phase.value, "state": report.state.value, "seconds": report.seconds,
            "started_at": report.started_at.isoformat() if report.started_at is not None else None,
            "summary": report.summary}


def _ended(kicked: Sequence[sessions.Session], drained: Sequence[sessions.Session]) -> dict[str, Any]:
    """The sessions ended in the outage and behind it: how many, how many of them were our prober's, and whose."""
    return {"kicked": len(kicked), "kicked_probers": _probers(kicked), **_listed("kick_report", kicked),
            "drained": len(drained), "drained_probers": _probers(drained), **_listed("drained_report", drained)}


def _probers(ended: Sequence[sessions.Session]) -> int:
    return sum(each.application == probing.APPLICATION for each in ended)


def _listed(key: str, ended: Sequence[sessions.Session]) -> dict[str, Any]:
    """Those that lost a transaction come first, so that they are not among the ones left out."""
    told = sorted(ended, key=lambda each: (not each.in_transaction, each.user, each.pid))[:SESSIONS_KEPT]
    return {key: [_session(each) for each in told], f"{key}_left_out": len(ended) - len(told)}


def _session(session: sessions.Session) -> dict[str, Any]:
    return {"pid": session.pid, "user": session.user, "application": session.application, "client": session.client,
            "state": session.state, "in_transaction": session.in_transaction,
            "transaction_seconds": session.transaction_seconds, "last_query": session.last_query,
            "standby": session.standby or None}
