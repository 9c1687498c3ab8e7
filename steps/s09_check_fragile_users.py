"""Check fragile users: nobody on the white list may be in the middle of a transaction. Nobody was kicked yet."""

from __future__ import annotations

from downtime.phases import Phase
from steps.shared.phase import PhaseStep


class CheckFragileUsers(PhaseStep):
    name = "check fragile users"
    phase = Phase.CHECK
