"""What others say to a patch that is rehearsed: the linter before it runs, production when it has run.

The linter may refuse it. Production is asked what staging cannot know, whether staging is like it and how its times
compare, and is no reason to fail: what could not be asked is a sentence of the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downtime import errors, forecast, likeness, lint
from downtime.findings import Finding
from downtime.forecast import Factor
from downtime.likeness import Likeness
from downtime.patches import Patch
from downtime.settings import Settings
from downtime.settings.sections import Lint, Unlike
from downtime.traits import Traits

NAMED = 3  # differences in a reason for a sign-off; the evidence has all
NOT_LEARNT = Factor(value=1.0, patches=0)


class LintRefused(errors.Refused):
    """The linter found what the settings say refuses a patch, and the patch gives no reason for it."""

    happened = "the linter refuses {patch}:\n{listing}"
    next_step = "correct the patch or write the reasons into it, where the approver will read them, and land it again"

    @classmethod
    def over(cls, patch: Patch, findings: Sequence[Finding]) -> LintRefused:
        """For findings of which one at least refuses the patch."""
        return cls(patch=patch.id, listing="\n".join(f"  {each}" for each in lint.sentences(patch.path, findings)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfProduction:
    """What asking production came to; `remarks` are complete sentences."""

    likeness: Likeness | None
    factor: Factor
    remarks: tuple[str, ...]
    signoff_reasons: tuple[str, ...]


async def of_linter(patch: Patch, rules: Lint, *, server_version: int, reactor: Any) -> tuple[Finding, ...]:
    """The linter's findings, those that refuse the patch among them. Raises DowntimeError where it cannot be asked."""
    found = await lint.lint([patch], server_version=server_version, rules=rules, reactor=reactor)
    return tuple(found.get(patch.id, ()))


async def look_at_staging(settings: Settings, *, reactor: Any) -> Traits | None:
    """Staging before the patch is run there; None where it cannot be looked at in time. Never raises NodeError."""
    try:
        return await likeness.look_at_staging(settings.environment("staging").target, reactor=reactor)
    except errors.NodeError:
        return None  # it is looked at when the patch has run, which is less exact


async def of_production(settings: Settings, tables: Sequence[str], *, before: Traits | None, reactor: Any
                        ) -> OfProduction:
    """Ask production about staging, and about these tables of it. Never raises DowntimeError."""
    remarks, reasons = [], []
    compared: Likeness | None = None
    staging, production = (settings.environment(name).target for name in ("staging", "production"))
    try:
        compared = await likeness.compare(staging, production, tables, rules=settings.rehearsal, before=before,
                                          reactor=reactor)
        if compared.differences:
            reasons.append(f"staging is not like production: {_some(compared.differences)}")
    except errors.DowntimeError as error:
        reasons.append("whether staging is like production is not known")
        remarks.append(f"Whether staging is like production is not known: {_first_line(error)}.")
    factor = NOT_LEARNT
    try:
        factor = await forecast.learn(production, reactor=reactor)
    except errors.DowntimeError as error:
        remarks.append(f"How long production needs beside staging is not known: {_first_line(error)}.")
    wanted = settings.rehearsal.unlike is Unlike.SIGNOFF
    return OfProduction(likeness=compared, factor=factor, remarks=tuple(remarks),
                        signoff_reasons=tuple(reasons) if wanted else ())


def _first_line(error: errors.DowntimeError) -> str:
    return str(error).splitlines()[0].rstrip(".:")


def _some(differences: Sequence[str]) -> str:
    more = f", and {len(differences) - NAMED} more differences" if len(differences) > NAMED else ""
    return " ".join(differences[:NAMED]).rstrip(".") + more
