"""The policy of landings: what may reach `devel` together, decided from the changed files alone.

A database landing brings patches that no database has yet. It comes without code, in one lane, in order, and
leaves alone what was applied. Whoever takes back a patch that nobody has applied, or gives an applied one its
applied bytes back, repairs: that never counts against a landing, so that a rejected one can be reverted whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from downtime import globs, statements
from downtime.findings import Finding
from downtime.patches import Inventory, Lane, Patch
from downtime.plan import Applied, last_applied, listing


class Change(StrEnum):
    """What a landing did to a file."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"  # and perhaps modified


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """One file of a landing; paths are the repository's."""

    path: str
    change: Change
    old_path: str | None = None  # where a renamed file was before

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if self.old_path is None else (self.old_path, self.path)


class LandingRules(Protocol):
    """What the settings say about landings: globs from the top of the repository."""

    @property
    def code(self) -> Sequence[str]: ...        # may not land together with a patch

    @property
    def beside(self) -> Sequence[str]: ...      # may, even where `code` means it too

    @property
    def not_schema(self) -> Sequence[str]: ...  # neither patch nor code


class RejectionKind(StrEnum):
    """Why a landing is rejected."""

    MIXED = "mixed"      # a patch together with code
    EDITED = "edited"    # a patch changed after it was applied
    DELETED = "deleted"  # a patch deleted after it was applied
    RENAMED = "renamed"  # a patch renamed after it was applied
    LATE = "late"        # a number not higher than one already applied
    LANES = "lanes"      # live and cold patches in one landing
    PATCH = "patch"      # something is wrong with a file: its number, its encoding, its lane line
    SQL = "sql"          # something is wrong with the statements
    LINT = "lint"        # the linter found what the settings say refuses a patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason against a landing."""

    kind: RejectionKind
    text: str                # a complete sentence
    files: tuple[str, ...]   # all of them; the text names the first ones


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDatabase:
    """The landing brings no patch: nothing to rehearse, nothing to hold back."""

    @property
    def sentence(self) -> str:
        return "Not a database landing: it brings no patch."


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The landing brings patches, and they may be rehearsed."""

    patches: tuple[Patch, ...]  # in the order in which they run
    lane: Lane

    @property
    def sentence(self) -> str:
        count = "One patch" if len(self.patches) == 1 else f"{len(self.patches)} patches"
        return f"{count} for the {self.lane} lane: {listing([patch.id for patch in self.patches])}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The landing breaks the policy; all reasons at once."""

    reasons: tuple[Reason, ...]
    patches: tuple[Patch, ...]  # what it brings all the same, and what is held back

    @property
    def sentence(self) -> str:
        return "Rejected: " + " ".join(reason.text for reason in self.reasons)


Landing = NotDatabase | Accepted | Rejected


def judge(changes: Sequence[ChangedFile], rules: LandingRules, inventory: Inventory,
          applied: Sequence[Applied]) -> Landing:
    """Judge a landing.

    `inventory` is that of the commit that landed (the head), `applied` what the database has whose order counts.
    """
    sha256_of = {entry.id: entry.sha256 for entry in applied}
    landed = _landed(changes, inventory, sha256_of)
    reasons = [*_mixed(changes, landed, rules, inventory), *_touched(changes, inventory, sha256_of),
               *_late(landed, inventory, applied), *_lanes(landed), *_faulty(landed)]
    if reasons:
        return Rejected(reasons=tuple(reasons), patches=landed)
    return Accepted(patches=landed, lane=landed[0].lane) if landed else NotDatabase()


def with_lint(judged: Landing, findings: Mapping[str, Sequence[Finding]]) -> Landing:
    """The same landing with what the linter found in its patches, by their id: refusing findings reject it."""
    if isinstance(judged, NotDatabase):
        return judged
    refused = tuple(_refused(patch, found) for patch in judged.patches
                    if (found := [each for each in findings.get(patch.id, ()) if each.refuses]))
    if not refused:
        return judged
    before = judged.reasons if isinstance(judged, Rejected) else ()
    return Rejected(reasons=(*before, *refused), patches=judged.patches)


def _refused(patch: Patch, found: Sequence[Finding]) -> Reason:
    what = listing([f"{each.rule} in line {each.line}" for each in found])
    return Reason(kind=RejectionKind.LINT, files=(patch.path,), text=(
        f"{patch.path} is refused by the linter ({what}); correct it, or give a reason in it: "
        f"`-- waive {found[0].rule}: reason`."))


def _landed(changes: Iterable[ChangedFile], inventory: Inventory, sha256_of: dict[str, str]) -> tuple[Patch, ...]:
    """The patches the landing brings or changes and that are not applied, in their order."""
    brought = {changed.path for changed in changes if changed.change is not Change.DELETED}
    return tuple(patch for patch in inventory.patches if patch.path in brought and patch.id not in sha256_of)


def _mixed(changes: Iterable[ChangedFile], landed: Sequence[Patch], rules: LandingRules,
           inventory: Inventory) -> Iterator[Reason]:
    code = [path for changed in changes for path in changed.paths if _is_code(path, rules, inventory)]
    if landed and code:
        patches = [patch.path for patch in landed]
        yield Reason(kind=RejectionKind.MIXED, files=(*patches, *code), text=(
            f"{listing(patches)} may not land together with code ({listing(code)}); land the patch first and the "
            "code that needs it after it is applied."))


def _is_code(path: str, rules: LandingRules, inventory: Inventory) -> bool:
    return (globs.matches_any(path, rules.code) and not inventory.covers(path)
            and not globs.matches_any(path, (*rules.beside, *rules.not_schema)))


def _touched(changes: Iterable[ChangedFile], inventory: Inventory, sha256_of: dict[str, str]) -> Iterator[Reason]:
    """What the landing does to patches that are applied."""
    for changed in changes:
        before = changed.old_path or changed.path
        patch_id = inventory.id_at(before)
        if not inventory.covers(before) or patch_id not in sha256_of:
            continue
        now = inventory.find(patch_id)
        if changed.change is Change.RENAMED:
            yield Reason(kind=RejectionKind.RENAMED, files=changed.paths, text=(
                f"{before} was renamed to {changed.path} after it was applied; give it its name back."))
        elif now is None:
            yield Reason(kind=RejectionKind.DELETED, files=changed.paths, text=(
                f"{before} was deleted after it was applied; restore it, and undo its work with a new patch."))
        elif now.sha256 != sha256_of[patch_id]:
            yield Reason(kind=RejectionKind.EDITED, files=changed.paths, text=(
                f"{before} was changed after it was applied; restore it, and land the change as a new patch."))


def _late(landed: Iterable[Patch], inventory: Inventory, applied: Sequence[Applied]) -> Iterator[Reason]:
    last = last_applied(applied, inventory)
    for patch in landed:
        if last and patch.number and patch.number <= inventory.number_of(last):
            yield Reason(kind=RejectionKind.LATE, files=(patch.path,), text=(
                f"{patch.path} has a number that is not higher than that of {last}, which is applied; give it a "
                "higher one."))


def _lanes(landed: Sequence[Patch]) -> Iterator[Reason]:
    of_lane = {lane: [patch.path for patch in landed if patch.lane is lane] for lane in Lane}
    if all(of_lane.values()):
        both = "; ".join(f"{lane}: {listing(paths)}" for lane, paths in of_lane.items())
        yield Reason(kind=RejectionKind.LANES, files=tuple(patch.path for patch in landed),
                     text=f"One landing has one lane, and this one has two ({both}); land them one after the other.")


def _faulty(landed: Iterable[Patch]) -> Iterator[Reason]:
    for patch in landed:
        for problem in patch.problems:
            yield Reason(kind=RejectionKind.PATCH, text=problem, files=(patch.path,))
        for objection in statements.objections_to(patch):
            yield Reason(kind=RejectionKind.SQL, text=objection, files=(patch.path,))
