"""Every way a deployment can end other than well, in words an operator can act upon.

One base class. Each error says what happened, what to type next, and how the database was left, because
that is the first thing an operator asks. They are raised where the fact is known and caught in exactly two
places: the base step of `steps/` (and its twin, the command line) and recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import ClassVar


class Left(StrEnum):
    """How the database was left."""

    UNTOUCHED = "untouched"  # nothing was closed, nothing was kicked, nothing was applied
    OPEN = "open"            # it was open throughout; finished statements of a live patch stay
    REOPENED = "reopened"    # it had been closed; the patch was rolled back and connections are allowed again
    APPLIED = "applied"      # the patch is in and connections are allowed; something after that went wrong
    CLOSED = "closed"        # connections may still be refused: an operator must act now
    UNKNOWN = "unknown"      # the server could not be asked


class ExitStatus(IntEnum):
    """Exit status of the command line, and the tone of a red step."""

    DONE = 0
    REFUSED = 1          # by a rule; nothing was touched
    USAGE = 2            # wrong usage or settings
    FAILED = 3           # failed, rolled back, reopened
    NEEDS_OPERATOR = 4   # the message names the next command


class DowntimeError(Exception):
    """Base of all our errors. `facts` fill the templates `happened` and `next_step` and are kept as attributes."""

    happened: ClassVar[str] = "{reason}"
    next_step: ClassVar[str] = ""
    left: Left = Left.UNTOUCHED
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, *, left: Left | None = None, **facts: object) -> None:
        self.facts = facts
        if left is not None:
            self.left = left
        super().__init__(self.happened.format(**facts))

    @property
    def advice(self) -> str:
        """What to type next, or an empty string."""
        return self.next_step.format(**self.facts)

    def explain(self) -> str:
        """The whole message: what happened, how the database was left, what to do next; one line each."""
        lines = [str(self), f"The database was left {self.left}."]
        if self.advice:
            lines.append(f"Next: {self.advice}")
        return "\n".join(lines)


def as_ours(error: Exception, *, left: Left) -> DowntimeError:
    """The error, or one of ours for what nobody has foreseen; whoever asks writes the rest of that to the log."""
    if isinstance(error, DowntimeError):
        return error
    return DowntimeError(reason=f"internal error: {type(error).__name__}: {error}", left=left)


class Refused(DowntimeError):
    """A rule says no. The database was not touched, except where `left` says that it was closed and reopened."""

    exit_status = ExitStatus.REFUSED


class SettingsError(DowntimeError):
    """Wrong settings or wrong usage; `problems` are complete sentences, each naming its place."""

    happened = "{place}: {count} problem(s)\n{listing}"
    exit_status = ExitStatus.USAGE

    def __init__(self, place: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(place=place, count=len(self.problems), listing="\n".join(f"  {p}" for p in self.problems))


class NodeError(DowntimeError):
    """Something the server or the way to it said no to. `sqlstate` is empty where the server did not say it."""

    happened = "{node}: {reason}"
    sqlstate: str = ""


class CannotConnect(NodeError):
    happened = "cannot connect to {node}: {reason}"
    next_step = ("check that the server is up and has connections left, and that the settings have its right address,"
                 " user, and password or password_file")


class ConnectionsRefused(CannotConnect):
    """The database does not accept connections (55000): somebody closed it."""

    happened = "{node} does not accept connections: {reason}"
    next_step = ("python -m downtime reopen --environment NAME, if a dead deployment closed it; it never opens what an"
                 " administrator closed")


class ConnectionLost(NodeError):
    """The session is gone. What it had not committed is rolled back; a COMMIT under way has an unknown outcome."""

    happened = "connection to {node} was lost: {reason}"
    next_step = "python -m downtime status"


class StatementFailed(NodeError):
    """The server refused a statement. Has the server's words, its SQLSTATE and, where known, the position."""

    happened = "{node}: {reason} (SQLSTATE {sqlstate})"

    def __init__(self, *, node: str, reason: str, sqlstate: str, detail: str = "", hint: str = "",
                 position: int | None = None) -> None:
        super().__init__(node=node, reason=reason, sqlstate=sqlstate)
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint
        self.position = position   # characters from the start of the statement sent, from 1


class StatementCancelled(StatementFailed):
    """Cut by statement_timeout, by somebody's cancel request, or by ours (57014)."""


class LockNotAvailable(StatementFailed):
    """The lock was not to be had within lock_timeout (55P03)."""


class PermissionDenied(StatementFailed):
    """The role lacks a right (42501)."""

    next_step = "python -m downtime install prints the SQL a DBA runs once"


class DeadlineExceeded(NodeError):
    """The client's own deadline passed before the server's did: the network or the server is not answering."""

    happened = "{node}: no answer to {what} within {seconds:g} s"
    next_step = ("if a deployment with gate hold is under way on that server, wait for its end: new sessions wait, too;"
                 " else look at the server and at the network to it")


class Aborted(DowntimeError):
    """The critical section was ended on somebody's word (Stop, shutdown); rolled back and reopened."""

    happened = "aborted in the phase “{phase}”: {reason}"
    left = Left.REOPENED
    next_step = "run the deployment again when you are ready"

    def while_waiting_for(self, whom: str) -> Aborted:
        """The same with whom it has waited for in vain: whoever reads that a limit has passed asks why."""
        reason = f"{self.facts['reason']}; it was waiting for {whom}"
        return type(self)(phase=self.facts["phase"], reason=reason, left=self.left)


class LimitPassed(Aborted):
    """The outage took as long as it may at the most."""

    next_step = ("see what took so long; make the patch shorter, split it, or raise budget.outage_limit_seconds: as it"
                 " is it would be cut again")


class NeedsOperator(DowntimeError):
    """The state cannot be put right by itself; the message names the next command."""

    happened = "{reason}"
    next_step = "{command}"
    exit_status = ExitStatus.NEEDS_OPERATOR
    left = Left.UNKNOWN
