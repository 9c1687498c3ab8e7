"""The patches of one commit: who they are, in which order they run, and in which lane.

A patch is a file of the repository. Its identity is its path below the patches' directory without `.sql`, its place
in the order is every number in that id, and its lane is what it says of itself in the comments at its top:

    -- apply: live      while clients work
    -- apply: cold      in a fast downtime, with the database to itself

Nothing here parses SQL: an inventory of ten thousand patches is taken on every landing. What is wrong with a patch
is written on the patch, as sentences, because an old patch that nobody will run again must not hold up a new one.

The folders of other migration tools are read by what the settings say of them: which part of the path is the number,
which part of the file is applied, and which lines declare a lane.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from downtime import extent, globs, lanes
from downtime.lanes import Lane as Lane  # part of what a patch is: `patches.Lane` to everybody else

SUFFIX = ".sql"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_BYTES = 4 * 1024 * 1024  # parsed, a patch takes 20 times its size, and 230 times where it is all small numbers

DIGITS = re.compile(r"[0-9]+")


class PatchRules(Protocol):
    """What the settings say about patches."""

    @property
    def directory(self) -> str: ...  # in the repository; "" or "." is its top

    @property
    def pattern(self) -> str: ...  # glob below the directory

    @property
    def undeclared_lane(self) -> str: ...  # cold, live or refuse

    @property
    def number(self) -> str | None: ...  # regular expression: the part of the id that counts; None: all of it

    @property
    def begin(self) -> str | None: ...  # starts the line above what is applied

    @property
    def end(self) -> str | None: ...  # starts the line below it

    @property
    def live_lines(self) -> Sequence[str]: ...  # start lines that declare the lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch as a commit has it."""

    id: str                   # path below the directory without ".sql": what the ledger knows it by
    path: str                 # in the repository
    number: tuple[int, ...]   # every run of digits in what counts of the id; its place in the order
    lane: Lane                # COLD, the careful one, where the declaration is in doubt
    declared: bool            # False: the lane is the settings' `undeclared_lane`
    sha256: str               # of the file's bytes, in hex
    sql: str                  # what is applied, in its place in the file; empty where the bytes are no text
    commit: str
    problems: tuple[str, ...] = ()  # complete sentences, each naming the file


@dataclass(frozen=True)
class Inventory:
    """All patches of one commit in the order in which they run."""

    patches: tuple[Patch, ...]
    rules: PatchRules
    not_schema: tuple[str, ...]

    def find(self, name: str) -> Patch | None:
        """The patch of that id, repository path, or file name (where only one patch bears it)."""
        return self._by_name.get(name)

    def covers(self, path: str) -> bool:
        """Whether a file at this repository path is a patch, be it in this commit or not."""
        below = _below(path, self.rules.directory)
        return (below is not None and globs.matches(below, self.rules.pattern)
                and not globs.matches_any(path, self.not_schema))

    def id_at(self, path: str) -> str:
        """The id that a patch at this repository path has or would have."""
        return _id(path, self.rules.directory)

    def number_of(self, patch_id: str) -> tuple[int, ...]:
        """The place in the order of a patch of that id, be it in this commit or not; empty where it has none."""
        return number_of(patch_id, self.rules.number)

    @cached_property
    def _by_name(self) -> dict[str, Patch]:
        file_names = defaultdict(list)
        for patch in self.patches:
            file_names[patch.path.rpartition("/")[2]].append(patch)
        found = {name: bearers[0] for name, bearers in file_names.items() if len(bearers) == 1}
        found |= {patch.path: patch for patch in self.patches}
        found |= {patch.id: patch for patch in self.patches}
        return found


def inventory(files: Mapping[str, bytes], rules: PatchRules, *, not_schema: Sequence[str], commit: str) -> Inventory:
    """Take stock of a commit's files (repository path to bytes; others than patches are passed over).

    `not_schema` are the landing policy's globs of files that are no schema change wherever they lie.
    """
    empty = Inventory(patches=(), rules=rules, not_schema=tuple(not_schema))
    patches = [_numbered(path, content, rules, commit) for path, content in files.items() if empty.covers(path)]
    patches.sort(key=lambda patch: (patch.number, patch.id))
    return replace(empty, patches=tuple(_with_duplicates(patches)))


def alone(path: str, content: bytes, rules: PatchRules) -> Patch:
    """A file of no repository as a patch that has no place in any order; its id is the file's name without `.sql`."""
    return _patch(path.rpartition("/")[2].removesuffix(SUFFIX), (), path, content, rules, commit="")


def number_of(patch_id: str, counting: str | None = None) -> tuple[int, ...]:
    """A patch's place in the order: every run of digits in its id, compared as numbers.

    `counting` is a regular expression for the part of the id that counts: its group, or where it has none the match.
    """
    if counting is None:
        return _numbers(patch_id)
    found = re.search(counting, patch_id)
    return _numbers(found[found.re.groups] or "") if found else ()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in DIGITS.findall(text))


def _numbered(path: str, content: bytes, rules: PatchRules, commit: str) -> Patch:
    patch_id = _id(path, rules.directory)
    number = number_of(patch_id, rules.number)
    patch = _patch(patch_id, number, path, content, rules, commit)
    if number:
        return patch
    return replace(patch, problems=(*patch.problems, _without_number(path, patch_id, rules.number)))


def _patch(patch_id: str, number: tuple[int, ...], path: str, content: bytes, rules: PatchRules, commit: str) -> Patch:
    text, problems = _text(path, content)
    part = extent.applied_part(text, begin=rules.begin, end=rules.end)
    declaration = lanes.read(part.sql, file=text, live_lines=rules.live_lines)
    if not problems:
        problems = _statement_problems(path, part, declaration, rules)
    undeclared = Lane.LIVE if rules.undeclared_lane == Lane.LIVE else Lane.COLD
    return Patch(id=patch_id, path=path, number=number, lane=declaration.lane or undeclared,
                 declared=declaration.lane is not None, sha256=hashlib.sha256(content).hexdigest(), sql=part.sql,
                 commit=commit, problems=tuple(problems))


def _statement_problems(path: str, part: extent.Part, declaration: lanes.Declaration, rules: PatchRules) -> list[str]:
    """What is wrong with a readable patch as far as its comments tell."""
    if part.mistakes:
        return [f"{path}, line {line}: {reason}." for line, reason in part.mistakes]
    if declaration.is_all:
        return [f"{path} has no statement: it is empty or all comments."]
    problems = [f"{path}, line {line}: {reason}." for line, reason in declaration.mistakes]
    if not problems and declaration.lane is None and rules.undeclared_lane not in list(Lane):
        problems.append(f"{path} declares no lane; write `-- apply: live` or `-- apply: cold` at its top.")
    return problems


def _without_number(path: str, patch_id: str, counting: str | None) -> str:
    if counting is None:
        return f"{path} has no number in its path, so it has no place in the order; rename it."
    return (f"{path} has no place in the order: {patch_id} has no number that `{counting}` finds (settings: "
            "patches.number); rename it, or correct the setting.")


def _id(path: str, directory: str) -> str:
    return (_below(path, directory) or path).removesuffix(SUFFIX)


def _below(path: str, directory: str) -> str | None:
    """The path as seen from the directory, None for a path outside it."""
    folder = directory.removeprefix("./").strip("/")
    if folder in ("", "."):
        return path
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else None


def _text(path: str, content: bytes) -> tuple[str, list[str]]:
    """The file as text, or what keeps it from being a patch at all."""
    if len(content) > LARGEST_BYTES:
        return "", [f"{path}: {len(content):,} bytes are more than a patch may have ({LARGEST_BYTES:,}); divide it, or "
                    "let the server COPY the data from a file of its own."]
    if content.startswith(BYTE_ORDER_MARK):
        return "", [f"{path}, line 1: the file starts with a byte order mark; save it as UTF-8 without one."]
    if (zero := content.find(0)) >= 0:
        line = content.count(b"\n", 0, zero) + 1
        return "", [f"{path}, line {line}: there is a NUL byte; save the file as plain UTF-8 text."]
    try:
        sql = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", [f"{path}, line {line}: byte {error.start} (0x{content[error.start]:02x}) is not UTF-8; "
                    "save the file as UTF-8."]
    return sql, []


def _with_duplicates(patches: Sequence[Patch]) -> Iterable[Patch]:
    """The patches, each with a problem more for every other patch of its number."""
    bearers = defaultdict(list)
    for patch in patches:
        if patch.number:
            bearers[patch.number].append(patch.path)
    for patch in patches:
        others = [path for path in bearers[patch.number] if path != patch.path] if patch.number else []
        if others:
            number = "-".join(map(str, patch.number))
            yield replace(patch, problems=(*patch.problems, f"{patch.path} has the same number ({number}) as "
                                                            f"{', '.join(others)}; give it one of its own."))
        else:
            yield patch
