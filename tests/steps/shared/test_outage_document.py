"""What is kept of a deployment for pages and other programs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from downtime import live, phases, probing
from downtime.errors import Refused
from downtime.ledger import Entry
from downtime.phases import Phase, PhaseReport, PhaseState
from downtime.sessions import Session
from steps.shared import outage_document

AT = datetime(2024, 1, 2, tzinfo=UTC)
LIVE = live.Report(started_at=AT, seconds=1.4, statements=(), resumed=0, retries=3)
ROW = Entry(id="patch-1", sha256="a" * 64, lane="cold", commit="c", started_at=AT, finished_at=AT, seconds=1.4,
            build_url="", requested_by="", approved_by="", rehearsed_seconds=1.0, forecast_seconds=1.2)
SEEN = probing.Report(since_at=AT, until_at=AT + timedelta(seconds=3), attempts=20, successes=19, outage_seconds=1.6,
                      resolution_seconds=0.007, persistent_gap_seconds=1.7, longest_call_seconds=1.5,
                      errors={"57P01": 1})
PAGE = Path(__file__).resolve().parents[3] / "docs" / "outage.md"


def a_session(*, pid: int = 10, user: str = "app", **given: Any) -> Session:
    return Session(**{"pid": pid, "user": user, "application": "", "client": "local socket", "state": "idle",
                      "transaction_seconds": None, "last_query": "SELECT ''", "hidden": False, **given})


def a_phase(phase: Phase, **given: Any) -> PhaseReport:
    return PhaseReport(**{"phase": phase, "state": PhaseState.DONE, "started_at": AT, "seconds": 0.1, "log": "",
                          "summary": "done", "error": None, **given})


def a_report(**given: Any) -> phases.Report:
    return phases.Report(**{"phases": (), "started_at": AT, "outage_seconds": 1.5, "patch_seconds": 1.4,
                            "proof_seconds": 0.0, "applied": True, "statements": (), "kicked": (), "drained": (),
                            "error": None, **given})


def a_document(report: phases.Report | live.Report | None = None, entry: Entry | None = None,
               client: probing.Report | None = None) -> dict[str, Any]:
    """As whoever reads it gets it."""
    document = outage_document.document("patch-1", report or a_report(), entry, client=client)
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


def test_both_lanes_have_the_same_keys() -> None:
    """Whoever reads one need not ask first which it is."""

    assert set(a_document(LIVE)) == set(a_document())


def test_every_key_is_explained() -> None:
    """And no key is that is not there."""

    report = a_report(kicked=[a_session()], phases=[a_phase(Phase.APPLY)])
    document = a_document(report, client=SEEN)
    explained = re.findall(r"^\| `([\w.\[\]]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(explained) == sorted([
        *document, *(f"client.{key}" for key in document["client"]),
        *(f"timeline[].{key}" for key in document["timeline"][0]),
        *(f"kick_report[].{key}" for key in document["kick_report"][0])])


@pytest.mark.parametrize("report", [a_report(), LIVE], ids=["cold", "live"])
def test_the_forecast_stands_beside_what_came_true(report: phases.Report | live.Report) -> None:
    """In seconds all three."""

    document = a_document(report, ROW)
    assert (document["rehearsed_seconds"], document["forecast_seconds"], document["patch_seconds"]) == (1.0, 1.2, 1.4)


def test_what_nobody_knows_is_null() -> None:
    """No rehearsal, no prober, no error: the keys are there all the same."""

    document = a_document()
    assert [document[key] for key in ("rehearsed_seconds", "forecast_seconds", "client", "error")] == [None] * 4


def test_a_live_application_is_no_outage() -> None:
    """Nobody was kicked, nothing was closed; the retries for locks are told."""

    document = a_document(LIVE)
    assert (document["lane"], document["applied"], document["retries"]) == ("live", True, 3)
    assert (document["outage_seconds"], document["overhead_seconds"], document["kicked"]) == (0.0, 0.0, 0)
    assert (document["timeline"], document["kick_report"]) == ([], [])


def test_overhead_is_what_the_outage_lasted_beyond_the_patch() -> None:
    """The figure by which a fast downtime is judged."""

    assert a_document()["overhead_seconds"] == pytest.approx(0.1)


def test_the_timeline_has_the_phases_in_running_order() -> None:
    """To scale with their instants; one that was not reached has none."""

    refused = a_report(applied=False, error=Refused(reason="somebody works"), phases=[
        a_phase(Phase.CHECK, state=PhaseState.FAILED, seconds=0.25, summary="somebody works"),
        a_phase(Phase.KICK, state=PhaseState.NOT_REACHED, started_at=None, seconds=0.0, summary="not reached")])
    document = a_document(refused)
    assert document["timeline"] == [
        {"phase": "check fragile users", "state": "failed", "started_at": "2024-01-02T00:00:00+00:00",
         "seconds": 0.25, "summary": "somebody works"},
        {"phase": "kick connections", "state": "not reached", "started_at": None, "seconds": 0.0,
         "summary": "not reached"}]
    assert document["phases"] == {"check fragile users": 0.25, "kick connections": 0.0}
    assert document["error"] == "somebody works"


def test_a_script_owner_finds_their_session() -> None:
    """With what it was doing, and in the words of the client, whatever they are."""

    lost = a_session(user="<b>", application='",\n', client="192.0.2.7:4711", state="idle in transaction",
                     transaction_seconds=2.5, last_query="SELECT '\x1b[31m'")
    assert a_document(a_report(kicked=[lost]))["kick_report"] == [
        {"pid": 10, "user": "<b>", "application": '",\n', "client": "192.0.2.7:4711", "state": "idle in transaction",
         "in_transaction": True, "transaction_seconds": 2.5, "last_query": "SELECT '\x1b[31m'", "standby": None}]


def test_sessions_ended_behind_the_outage_are_told_apart() -> None:
    """They were idle, and nobody had to wait for their end."""

    document = a_document(a_report(kicked=[a_session(pid=1)], drained=[a_session(pid=2), a_session(pid=3)]))
    assert (document["kicked"], document["drained"]) == (1, 2)
    assert [each["pid"] for each in document["drained_report"]] == [2, 3]


def test_a_session_that_lost_a_transaction_is_never_left_out() -> None:
    """Of very many kicked sessions the idle ones are counted."""

    idle = [a_session(pid=number) for number in range(1, 1201)]
    lost = replace(idle[-1], user="zoe", pid=5000, state="idle in transaction", transaction_seconds=1.0)
    document = a_document(a_report(kicked=[*idle, lost]))
    assert document["kick_report"][0]["pid"] == 5000
    assert (document["kicked"], len(document["kick_report"]), document["kick_report_left_out"]) == (1201, 1000, 201)


def test_the_probers_own_sessions_are_counted() -> None:
    """Whoever counts the clients that were kicked leaves them out."""

    probers = [a_session(application=probing.APPLICATION)]
    document = a_document(a_report(kicked=[*probers, a_session()], drained=probers))
    assert (document["kicked"], document["kicked_probers"]) == (2, 1)
    assert (document["drained"], document["drained_probers"]) == (1, 1)


def test_what_clients_saw_is_told_in_seconds_and_instants() -> None:
    """As the prober has it."""

    client = a_document(client=SEEN)["client"]
    assert (client["outage_seconds"], client["attempts"], client["successes"]) == (1.6, 20, 19)
    assert (client["since_at"], client["errors"]) == ("2024-01-02T00:00:00+00:00", {"57P01": 1})
