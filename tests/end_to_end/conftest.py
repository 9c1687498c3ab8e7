"""One sandbox for all end-to-end tests: real servers, a real buildmaster, and the demo's story played on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo import upkeep
from demo.installations import ServerError, installations
from demo.stage import Stage
from tests.end_to_end import leaks
from tests.end_to_end.telling import Telling


@pytest.fixture(scope="package")  # its clients and its prober cost every later test half a processor
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    master = upkeep.start(tmp_path_factory.mktemp("end-to-end") / "demo", print)
    try:
        playing = Stage(master, print)
        yield playing
        playing.close()
        assert leaks.left_in(master.sandbox) == [], "a password shows there"
    finally:
        master.kill()  # told to end it would wait 5 s for builds that wait for somebody
        master.sandbox.take_down()


@pytest.fixture(scope="package")
def telling(stage: Stage) -> Telling:
    return Telling(stage)


@pytest.fixture
def told(telling: Telling) -> Stage:
    """The stage after the story: every patch of it is deployed."""
    telling.to_the_end()
    return telling.stage
