"""What Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import process_time

import pytest

from downtime.history.events import Event, HeldBack, Outcome
from downtime.history.metrics import metrics, waiting_since
from downtime.lanes import Lane
from tests.downtime.history.histories import a_deployed, a_history, asked, at, ended, journeys, landed, rehearsed

LABEL = r'[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"(?P<name>[a-z_]+)(?:\{{{LABEL}(?:,{LABEL})*\}})? (?P<value>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
ABOUT = re.compile(r"# (?P<what>HELP|TYPE) (?P<name>[a-z_]+) (?P<text>.+)")


def samples(events: Iterable[Event], minutes: float = 0) -> dict[str, float]:
    text = metrics(journeys(events).values(), at(minutes))
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


def test_the_text_is_in_the_format() -> None:
    """Version 0.0.4: a HELP and a TYPE line above the samples of each name, every line ended, every value a number."""

    text = metrics(a_history(50).values(), at(0))
    assert text.endswith("\n")
    announced: list[str] = []
    for line in text.splitlines():
        if about := ABOUT.fullmatch(line):
            announced.append(f"{about['what']} {about['name']}")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        family = re.sub(r"_(bucket|sum|count)$", "", sample["name"])
        assert announced[-2:] == [f"HELP {family}", f"TYPE {family}"], line
    assert len(announced) == len(set(announced))


def test_attempts_are_counted_by_lane_and_outcome() -> None:
    """Also those that never happened: a rate over a counter that is not there is no rate."""

    found = samples([*a_deployed(), ended("patch-2", request_id=2, lane=None, outcome=Outcome.REFUSED,
                                          outage_seconds=0.0)])
    counted = {name: value for name, value in found.items() if name.startswith("fastdowntime_deployments_total")}
    assert len(counted) == 3 * len(Outcome)
    assert {name: value for name, value in counted.items() if value} == {
        'fastdowntime_deployments_total{lane="cold",outcome="deployed"}': 1,
        'fastdowntime_deployments_total{lane="unknown",outcome="refused"}': 1}


def test_the_newest_deployment_of_each_lane_is_told() -> None:
    """In seconds; of a lane without one nothing is said."""

    found = samples([*a_deployed(request_id=1, patch_seconds=9.0), *a_deployed("patch-2", request_id=2, when=at(900))])
    assert found['fastdowntime_last_patch_seconds{lane="cold"}'] == 1
    assert found['fastdowntime_last_outage_seconds{lane="cold"}'] == 1.004
    assert found['fastdowntime_last_deployment_timestamp_seconds{lane="cold"}'] == at(900 + 150).timestamp()
    assert 'fastdowntime_last_patch_seconds{lane="live"}' not in found
    assert found["fastdowntime_kicked_sessions_total"] == 24
    assert found["fastdowntime_outage_seconds_total"] == pytest.approx(9.004 + 1.004)


def test_the_longest_wait_is_told_by_who_has_to_act() -> None:
    """So that an alert can say who: since the approval was asked for, since the landing was held back."""

    found = samples([landed(), rehearsed(), asked(when=at(10)), landed("patch-2"), rehearsed("patch-2"),
                     asked("patch-2", when=at(30), request_id=2), landed("patch-3"),
                     HeldBack(at=at(40), patch_id="patch-3", reason="with code")], minutes=100)
    assert found['fastdowntime_waiting_patches{whose="an approver"}'] == 2
    assert found['fastdowntime_oldest_wait_seconds{whose="an approver"}'] == 90 * 60
    assert found['fastdowntime_oldest_wait_seconds{whose="its author"}'] == 60 * 60
    assert found['fastdowntime_waiting_patches{whose="an operator"}'] == 0
    assert found['fastdowntime_oldest_wait_seconds{whose="an operator"}'] == 0


def test_what_was_not_deployed_waits_since_its_attempt_ended() -> None:
    """An operator has to look at it from then on."""

    known = journeys([landed(), rehearsed(), asked(), ended(when=at(50), outcome=Outcome.FAILED)])
    assert waiting_since(known["patch-1"]) == at(50)


def test_a_deployment_under_way_is_one() -> None:
    """Until it is over."""

    way = a_deployed()
    assert samples(way[:-1])['fastdowntime_deploying{lane="cold"}'] == 1
    assert samples(way)['fastdowntime_deploying{lane="cold"}'] == 0


def test_lead_times_are_a_histogram() -> None:
    """Its buckets are cumulative and end with all of them; two and a half hours are below four."""

    found = samples([*a_deployed(), *a_deployed("patch-2", request_id=2, when=at(900), lane=Lane.LIVE)])
    for lane in Lane:
        buckets = [value for name, value in found.items()
                   if name.startswith("fastdowntime_lead_time_seconds_bucket") and f'lane="{lane}"' in name]
        assert buckets == [0] * 5 + [1] * 9
        assert found[f'fastdowntime_lead_time_seconds_count{{lane="{lane}"}}'] == 1
        assert found[f'fastdowntime_lead_time_seconds_sum{{lane="{lane}"}}'] == 9000


def test_two_thousand_patches_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The processor time is shown to people; it decides nothing here."""

    known = a_history(2000)
    began = process_time()
    text = metrics(known.values(), at(0))
    with capsys.disabled():
        print(f"\nmetrics of 2,000 patches: {1000 * (process_time() - began):.0f} ms, {len(text) / 1000:.1f} kB")
    assert "patch-" not in text
