"""What a notice can be about. Pure."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """In the order of a patch's way; the value is what the settings and the documents call it."""

    WAITING = "waiting for approval"
    OVERDUE = "overdue"               # it has been waiting for an approval for too long
    OVERRIDE = "override used"        # an emergency: let in past the rules
    REJECTED = "rejected"             # by an approver
    VOID = "approval void"            # what was approved counts no longer
    ANNOUNCED = "announced"           # approved, and the time of its downtime is known
    MISSED = "window missed"
    QUIESCING = "quiescing"           # background tasks are being stopped
    CLOSING_SOON = "closing soon"     # the database closes in some minutes
    CLOSED = "closed"                 # new connections are prevented
    REOPENED = "reopened"             # open again: the patch is in, or rolled back
    ABORTED = "aborted"               # given up, by somebody or for a reason of the database
    REFUSED = "refused"               # by a rule, before production was touched
