"""What every benchmark is given: a folder of its own, how thorough to be, and somebody to tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    folder: Path                    # empty; the servers' user can get through; removed afterwards
    rounds: int                     # of each contender
    quick: bool                     # a small form of the same
    hurried: bool                   # one of many: who could go on for ten minutes stops at a share and says so
    tell: Callable[[str], None]     # progress, a line each
