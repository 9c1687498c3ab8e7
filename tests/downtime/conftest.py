"""What tests of the machinery may ask for beside the rest."""

from __future__ import annotations

from tests.doomed import doomed as doomed
