"""The two patches that all faults hit, one for each lane: rehearsed once, deployed again and again, and taken back.

Each adds a column and then sleeps as long as the table `pace` says, which is not at all on staging.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from demo import application

PATCH = "patch-2301-01-0"
LIVE_PATCH = "patch-2301-02-0"
COLUMN, LIVE_COLUMN = "marked", "noted"

# what `pace` says is read in a statement of its own: the sleep is what a fault hits
PATCHES = {
    PATCH: f"""\
-- apply: cold
-- Marks accounts.
ALTER TABLE account ADD COLUMN {COLUMN} boolean;
SELECT pg_sleep(seconds) FROM pace;
""",
    LIVE_PATCH: f"""\
-- apply: live
-- Notes uploads.
ALTER TABLE upload ADD COLUMN {LIVE_COLUMN} boolean;
SELECT pg_sleep(seconds) FROM pace;
""",
}
PACE = f"""
CREATE TABLE pace (seconds double precision NOT NULL);
INSERT INTO pace VALUES (0);
GRANT SELECT ON pace TO {application.PATCHER};
"""
# patches are deployed in order: the live one comes second
FIRST_IS_DONE = f"""
INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)
VALUES ('{PATCH}', '{hashlib.sha256(PATCHES[PATCH].encode()).hexdigest()}', 'baseline', '', now(), 0)
"""
TAKE_BACK = f"""
ALTER TABLE account DROP COLUMN IF EXISTS {COLUMN};
ALTER TABLE upload DROP COLUMN IF EXISTS {LIVE_COLUMN};
DELETE FROM fastdowntime.ledger WHERE id IN ('{PATCH}', '{LIVE_PATCH}');
DELETE FROM fastdowntime.live_journal WHERE id IN ('{PATCH}', '{LIVE_PATCH}');
UPDATE pace SET seconds = 0;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a patch stands in production: its effect, and what the ledger says of it."""

    column: bool
    recorded: bool
    journalled: bool  # a statement of a live patch has ended well, and stays

    @property
    def whole(self) -> bool:
        """Patch and ledger (of a live patch its journal, too) agree."""
        return self.column == (self.recorded or self.journalled)
