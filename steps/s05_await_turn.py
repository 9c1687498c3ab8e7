"""Await turn: the patches before this one come first, and a downtime begins in its window, or on an operator's word.

What was approved may become something else while it waits, or too old: it is looked at whenever something changes, and
once more when the turn has come.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from downtime import deployment_lock, errors, windows
from downtime.git import RepositoryError
from downtime.history.events import Planned, TurnCame, Voided, WindowMissed
from downtime.plan import listing
from steps.shared import errands, happenings, wording
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import BUILDER_OF, BuilderName, Property
from steps.shared.results import RETRY, SUCCESS

AGAIN_SECONDS = 5.0       # after production, which another deployment may be closing, or git could not be asked
ASK_SECONDS = 60.0        # for each patch before it: one may be applied from a terminal, which nobody tells us
LATE = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ApprovalExpired(errors.Refused):
    """It has waited for its turn for too long."""

    happened = "the approval of {patch} is older than {hours:g} h (settings: approval.expires_hours)"
    next_step = "ask for the deployment again and have it approved again"


class NothingToDo(errors.Refused):
    """What happened meanwhile speaks against it: said before the background tasks are stopped for nothing."""

    happened = "{reason}"
    next_step = "python -m downtime plan shows what is pending"


class AwaitTurn(RunbookStep):
    """In memory there is only the wait: what has changed is asked of git, the evidence store and production."""

    name = "await turn"
    _planned: tuple[tuple[str, ...], datetime | None] | None = None
    _ask_again_at = 0.0  # on the reactor's clock

    async def act(self) -> int:
        while not self.stop_reason:
            moment = self.turns.moment
            errand = await self._approved()
            seconds = AGAIN_SECONDS if errand is None else await self._seconds_to_wait(errand)
            if self.stop_reason:
                break
            if errand is not None and seconds == 0:
                if BUILDER_OF[errand.patch.lane] is not BuilderName.LIVE:
                    await self.quiescence.claim(self.build_id)
                else:
                    self.turns.end(self.build_id)
                await self.journal.record(TurnCame(at=happenings.now(), patch_id=errand.patch.id,
                                                   request_id=self.request_id))
                self.say("it is its turn")
                return SUCCESS
            await self.turns.wait(self.build_id, seconds, since=moment)
        result = self.result_when_stopped()
        again = "; it will go on waiting when the buildmaster is back" if result == RETRY else ""
        self.say(f"given up before it was its turn: {self.stop_reason}{again}")
        return result

    def stopping(self, reason: str) -> None:
        self.turns.end(self.build_id)

    async def _approved(self) -> Errand | None:
        """What was approved, and still is; None where git cannot be asked just now: what waits may wait for it too.

        Raises ChangedSinceApproval and ApprovalExpired, among others.
        """
        try:
            self._refuse_expired(str(self.getProperty(Property.PATCH)))
            return await errands.read_approved(self)
        except RepositoryError as error:
            self.say(f"the repository cannot be asked: {wording.headline(error)}")
            return None
        except (errands.ChangedSinceApproval, errands.ChangedSinceRehearsal, ApprovalExpired) as error:
            self.journal.note(Voided(at=happenings.now(), patch_id=str(self.getProperty(Property.PATCH)),
                                     request_id=self.request_id, reason=str(error)))
            raise

    def _refuse_expired(self, patch: str) -> None:
        if self._expires_at() <= happenings.now():
            raise ApprovalExpired(patch=patch, hours=self.settings.approval.expires_hours)

    async def _seconds_to_wait(self, errand: Errand) -> float:
        """0: it is its turn; else when to look again at the latest."""
        seconds: float = self._ask_again_at - self.master.reactor.seconds()
        if seconds > 0 and self._is_behind():
            return min(seconds, self._until_expiry())
        try:
            found = await self.read_plan(self.environment, errand.inventory)
        except (errors.NodeError, deployment_lock.DeploymentUnderWay) as error:
            self.say(f"production cannot be asked: {str(error).splitlines()[0]}")
            return AGAIN_SECONDS
        if before := found.before(errand.patch):
            seconds = ASK_SECONDS * len(before)
            self._ask_again_at = self.master.reactor.seconds() + seconds
            self._plan(errand, behind=tuple(patch.id for patch in before))
            return min(seconds, self._until_expiry())
        at_once = BUILDER_OF[errand.patch.lane] is BuilderName.LIVE or self._hurried()
        seconds = 0.0 if at_once else self._until_window(errand)
        gone = errand.patch not in found.pending or errand.patch in found.late  # nothing can bring it back
        if (gone or seconds == 0) and (objections := found.objections_to(errand.patch)):
            raise NothingToDo(reason=objections[0])
        return seconds

    def _is_behind(self) -> bool:
        """Whether a patch before it is not in production, as far as this buildmaster knows.

        Asking production costs a session, perhaps in the outage of the very patch that is waited for: of ten that wait
        for each other only the next one should ask.
        """
        behind = self._planned[0] if self._planned is not None else ()
        journeys = [self.journal.journey(patch) for patch in behind]
        return any(each is None or each.in_production_at is None for each in journeys)

    def _until_window(self, errand: Errand) -> float:
        # what the deployment before has left stopped need not be stopped an hour ago
        lead_seconds = 0.0 if self.quiescence.kept else self.environment.quiesce.lead_seconds
        now = happenings.now()
        begins_at = windows.next_opening(self.environment.windows, now, lead_seconds=lead_seconds)
        seconds = (begins_at - now).total_seconds() - lead_seconds
        self._tell_missed(errand, now)
        if seconds > 0:
            self._plan(errand, begins_at=begins_at)
        return max(0.0, min(seconds, self._until_expiry()))

    def _plan(self, errand: Errand, *, behind: tuple[str, ...] = (), begins_at: datetime | None = None) -> None:
        if BUILDER_OF[errand.patch.lane] is not BuilderName.LIVE:
            self.turns.follow(self.build_id, behind)
        if behind:
            self.say(f"approved; {listing(behind)} must be in production before it")
        elif begins_at is not None:
            self.say(f"waiting for the window: the downtime begins at {begins_at.astimezone(UTC):%F %H:%M %Z}")
        if self._planned != (behind, begins_at):
            self._planned = (behind, begins_at)
            self.journal.note(Planned(at=happenings.now(), patch_id=errand.patch.id, request_id=self.request_id,
                                      behind=behind, begins_at=begins_at))

    def _tell_missed(self, errand: Errand, now: datetime) -> None:
        """The window that was planned before a restart, or while patches before this one took their time."""
        journey = self.journal.journey(errand.patch.id)
        attempt = journey.attempt if journey is not None else None
        planned = attempt.planned if attempt is not None else None
        if (attempt is None or planned is None or planned.begins_at is None or planned.begins_at + LATE >= now
                or not windows.has_passed(self.environment.windows, now)
                or any(missed.begins_at == planned.begins_at for missed in attempt.missed)):
            return
        self.journal.note(WindowMissed(
            at=now, patch_id=errand.patch.id, request_id=self.request_id, begins_at=planned.begins_at,
            reason="the buildmaster was not there, or a deployment before it took too long"))

    def _hurried(self) -> bool:
        hurry = self.turns.hurried(self.build_id)
        if hurry is None:
            return False
        self.setProperty(Property.HURRIED, hurry.by, self.name)
        return True

    def _until_expiry(self) -> float:
        return max(1.0, (self._expires_at() - happenings.now()).total_seconds() + 1)

    def _expires_at(self) -> datetime:
        """When the first of the approvals is too old."""
        instants = [datetime.fromisoformat(text) for text in self.getProperty(Property.APPROVED_AT) or ()]
        return min(instants) + timedelta(hours=self.settings.approval.expires_hours) if instants else LONG_AGO
