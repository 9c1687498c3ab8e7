"""How heavy the pages are with a long history; their times are printed and decide nothing."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from master.pages.application import application
from tests.downtime.history.histories import a_patch, many
from tests.master.pages.told import Told, with_windows

LARGEST_BYTES = 300_000


def test_2000_patches_are_readable_and_light(tmp_path: Path) -> None:
    """A hundred rows a page, under 300 kB, whatever is asked for."""

    client = application(Told(many(2000), with_windows(tmp_path))).test_client()
    client.get("/board")  # compiles the templates
    for page in ("board", "board?page=20", "board?q=0199", "decisions", "decisions?page=3"):
        began = monotonic()
        answer = client.get(f"/{page}")
        print(f"{page}: {(monotonic() - began) * 1000:.0f} ms, {len(answer.data):,} bytes")
        assert len(answer.data) < LARGEST_BYTES
    assert "1 to 100 of 2,000 patches" in client.get("/board").text


def test_even_a_hundred_rows_to_decide_about_are_light(tmp_path: Path) -> None:
    """The rows with buttons are the heaviest."""

    waiting = [event for number in range(1, 121)
               for event in a_patch("signoff", f"patch-2211-{number:04}-0", number=number, reason="x" * 2000)]
    assert len(application(Told(waiting, with_windows(tmp_path))).test_client().get("/board").data) < LARGEST_BYTES
