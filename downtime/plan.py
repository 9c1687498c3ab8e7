"""What is pending: the repository's patches against those a database has, and what speaks against running one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from downtime.patches import Inventory, Patch

NAMED = 5  # in a sentence: the first ones explain, the number tells the rest


class Applied(Protocol):
    """One applied patch, as the ledger of a database remembers it."""

    @property
    def id(self) -> str: ...

    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A patch whose file is no longer what was applied."""

    patch: str
    applied_sha256: str
    file_sha256: str

    @property
    def sentence(self) -> str:
        return (f"{self.patch} was changed after it was applied (applied {self.applied_sha256[:12]}, "
                f"in the repository {self.file_sha256[:12]}); restore the file and land the change as a new patch.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one database still lacks of one commit."""

    pending: tuple[Patch, ...]  # in the order in which they run
    drift: tuple[Drift, ...]
    missing: tuple[str, ...]    # applied, and no longer in the repository
    late: tuple[Patch, ...]     # pending, though a patch of the same or a higher number is applied
    last_applied: str           # the id with the highest number; empty where nothing is applied

    def before(self, patch: Patch) -> tuple[Patch, ...]:
        """The pending patches that come earlier."""
        place = _place(patch)
        return tuple(other for other in self.pending if _place(other) < place)

    def lateness_of(self, patch: Patch) -> tuple[str, ...]:
        """That the patch has missed its turn, in a complete sentence; nothing where it has not."""
        if patch.id not in self._late_ids:
            return ()
        return (f"{patch.id} comes too late: {self.last_applied} is applied already; "
                "land it again with a higher number.",)

    def objections_to(self, patch: Patch) -> tuple[str, ...]:
        """What keeps the patch from running now, in complete sentences; none where it may."""
        found = [drift.sentence for drift in self.drift]
        if patch.id not in {other.id for other in self.pending}:
            return (f"{patch.id} is not pending: it is applied already.", *found)
        found += self.lateness_of(patch)
        if earlier := self.before(patch):
            found.append(f"{listing([other.id for other in earlier])} must be applied before {patch.id}.")
        return (*found, *patch.problems)

    @cached_property
    def _late_ids(self) -> frozenset[str]:
        return frozenset(patch.id for patch in self.late)


def plan(inventory: Inventory, applied: Sequence[Applied]) -> Plan:
    """Compare what a commit has with what a database has."""
    sha256_of = {entry.id: entry.sha256 for entry in applied}
    last = last_applied(applied, inventory)
    pending = tuple(patch for patch in inventory.patches if patch.id not in sha256_of)
    known = {patch.id for patch in inventory.patches}
    return Plan(
        pending=pending,
        drift=tuple(Drift(patch=patch.id, applied_sha256=sha256_of[patch.id], file_sha256=patch.sha256)
                    for patch in inventory.patches if sha256_of.get(patch.id, patch.sha256) != patch.sha256),
        missing=tuple(entry.id for entry in applied if entry.id not in known),
        late=tuple(patch for patch in pending if last and patch.number <= inventory.number_of(last)),
        last_applied=last)


def last_applied(applied: Sequence[Applied], inventory: Inventory) -> str:
    """The id with the highest number, an empty string where nothing is applied."""
    return max((entry.id for entry in applied), key=inventory.number_of, default="")


def listing(names: Sequence[str]) -> str:
    """The names as part of a sentence, long lists cut short."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _place(patch: Patch) -> tuple[tuple[int, ...], str]:
    return patch.number, patch.id
