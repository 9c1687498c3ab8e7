"""Where tests keep their files: in memory where there is enough of it.

They make and remove more than a thousand databases of 325 files each. On a disk that is a fifth of the suite's time
(934 s became 741 s), for files that nobody reads again. `TMPDIR` or `--basetemp` name another place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 8 * 2**30  # more than twice what a run side by side takes at its most


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp is None and "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)  # for every process that we start
        tempfile.tempdir = None             # asks anew


def has_room(folder: Path, enough_bytes: int = ENOUGH_BYTES) -> bool:
    """Whether a folder can take the files of a run, programs among them."""
    try:
        return (shutil.disk_usage(folder).free >= enough_bytes and os.access(folder, os.W_OK)
                and not os.statvfs(folder).f_flag & os.ST_NOEXEC)
    except OSError:  # not every system has it
        return False
