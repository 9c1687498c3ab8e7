"""What the git repository holds: the files of a commit, the files of a landing, who wrote it.

Read from git's objects and not from a checkout, which may differ. For the buildmaster the repository is a bare copy
of one branch, refreshed by `fetch`; for a terminal it is the working tree somebody stands in. Revisions come from
people and from hooks, so none may look like an option. Passwords of a URL never reach a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from downtime import git
from downtime.git import RepositoryError as RepositoryError  # what everything here raises
from downtime.landing import Change, ChangedFile

DEADLINE_SECONDS = 60.0  # for one git command; a first fetch of a huge repository may need a copy made by hand
REF_LOCK_MILLISECONDS = 5000  # a terminal and the master may fetch into the same copy at once

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git knows it without its being there

CREDENTIALS = re.compile(r"//[^/\s]*@|//\S*:\S*@")
FOREIGN = re.compile(r"dubious ownership in repository at '(?P<path>[^']*)'")
NO_LOGIN = re.compile(r"Authentication failed|could not read Username|could not read Password|Permission denied|"
                      r"terminal prompts disabled|Host key verification failed")
NO_REVISION = re.compile(r"unknown revision|bad revision|bad object|[Nn]ot a valid object name|not a tree object|"
                         r"ambiguous argument|Needed a single revision")

CHANGES = {"A": Change.ADDED, "C": Change.ADDED, "D": Change.DELETED, "R": Change.RENAMED}  # all others: modified


class Repository:
    """One branch of a repository. Everything raises RepositoryError, and nothing else."""

    def __init__(self, url: str, branch: str, cache: Path, *, deadline_seconds: float = DEADLINE_SECONDS,
                 reactor: Any = None) -> None:
        """`cache` is the folder of the bare copy; it is made by the first `fetch`."""
        self.name = without_credentials(url)  # what messages call it
        self._address = git.address(url)
        self._branch = branch
        self._cache: Path | None = cache.absolute()
        self._place: tuple[str, ...] = (f"--git-dir={self._cache}",)
        self._deadline_seconds = deadline_seconds
        self._reactor = reactor
        self._fetching = DeferredLock()

    @classmethod
    def local(cls, path: Path, *, deadline_seconds: float = DEADLINE_SECONDS, reactor: Any = None) -> Repository:
        """The repository somebody works in; `path` is any folder of its working tree."""
        repository = cls(str(path), "HEAD", path, deadline_seconds=deadline_seconds, reactor=reactor)
        repository._cache = None
        repository._place = ("-C", str(path.absolute()))
        return repository

    async def fetch(self) -> str:
        """Bring the copy up to date and return the commit at the branch's tip; a working tree is never fetched."""
        if self._cache is None:
            return await self.resolve("HEAD")
        await self._fetching.acquire()
        try:
            await self._make_cache(self._cache)
            branch = f"refs/heads/{self._branch}"
            await self._git(*self._address.options, "-c", f"core.filesRefLockTimeout={REF_LOCK_MILLISECONDS}", "fetch",
                            "--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--", self._address.url,
                            f"+{branch}:{branch}")
            return await self.resolve(branch)
        finally:
            self._fetching.release()

    async def resolve(self, revision: str) -> str:
        """The full name of the commit that a revision means."""
        output = await self._git("rev-parse", "--verify", "--end-of-options", f"{self._plain(revision)}^{{commit}}",
                                 revision=revision)
        return output.decode().strip()

    async def merge_base(self, one: str, other: str) -> str:
        """The commit where two branches parted: the base of what a branch would land."""
        output = await self._git("merge-base", "--end-of-options", self._plain(one), self._plain(other),
                                 revision=f"{one} or {other}")
        return output.decode().strip()

    async def authors(self, commit: str, path: str) -> frozenset[str]:
        """The e-mail addresses, as the commits claim them, of everybody who touched the file up to this commit."""
        output = await self._git("--literal-pathspecs", "log", "--format=%ae", "--end-of-options", self._plain(commit),
                                 "--", path, revision=commit)
        return frozenset(output.decode("utf-8", "replace").split("\n")) - {""}

    async def parent(self, commit: str) -> str:
        """What the branch was before the landing: the commit's first parent, EMPTY_TREE where there is none."""
        output = await self._git("rev-list", "-1", "--parents", "--end-of-options", self._plain(commit), "--",
                                 revision=commit)
        return next(iter(output.decode().split()[1:]), EMPTY_TREE)

    async def landings_of(self, commit: str, path: str) -> tuple[str, ...]:
        """The landings on the branch, up to this commit, that brought or changed the file; newest first.

        Those before the file was last deleted do not count: it came anew.
        """
        output = await self._git(
            "--literal-pathspecs", "log", "--first-parent", "-m", "--no-renames", "--name-status", "--format=%x00%H",
            "--end-of-options", self._plain(commit), "--", path, revision=commit)
        found = []
        for entry in output.split(b"\0")[1:]:
            landing, _, change = entry.decode("utf-8", "replace").partition("\n")
            if change.strip().startswith("D"):
                break
            found.append(landing)
        return tuple(found)

    async def files(self, commit: str, directory: str) -> dict[str, bytes]:
        """All files of a commit below a directory (empty: all), by their path in the repository.

        A symbolic link is the path it holds; submodules are passed over. No such directory: no files.
        """
        below = [f"{folder}/"] if (folder := _folder(directory)) else []
        listing = await self._git("ls-tree", "-r", "-z", "--full-tree", "--", self._plain(commit), *below,
                                  revision=commit)
        blobs = dict(_blobs(listing))
        wanted = b"".join(b"%s\n" % blob for blob in blobs.values())
        contents = _contents(await self._git("cat-file", "--batch", stdin=wanted))
        return dict(zip(blobs, contents, strict=True))

    async def changed_files(self, base: str, head: str) -> tuple[ChangedFile, ...]:
        """What differs between two commits; `base` may be EMPTY_TREE."""
        output = await self._git("diff-tree", "-r", "-z", "-M", "--name-status", "--end-of-options",
                                 self._plain(base), self._plain(head), "--", revision=f"{base} or {head}")
        return tuple(_changes(output))

    async def diff(self, base: str, head: str, path: str) -> str:
        """What differs in one file between two commits, as git shows it to people; `base` may be EMPTY_TREE."""
        output = await self._git("--literal-pathspecs", "diff-tree", "-r", "-p", "--no-ext-diff", "--no-textconv",
                                 "--no-color", "--end-of-options", self._plain(base), self._plain(head), "--", path,
                                 revision=f"{base} or {head}")
        return output.decode("utf-8", "replace")

    async def working_tree_changes(self, base: str) -> tuple[ChangedFile, ...]:
        """What differs between a commit and the working tree, untracked files included, ignored ones not."""
        top = await self._top()
        tracked = await self._git("-C", top, "diff", "--no-ext-diff", "--no-textconv", "--no-relative",
                                  "--ignore-submodules", "-z", "-M", "--name-status", "--end-of-options",
                                  self._plain(base), "--", revision=base)
        untracked = await self._git("-C", top, "ls-files", "-z", "--others", "--exclude-standard")
        return (*_changes(tracked), *(ChangedFile(path=_path(name), change=Change.ADDED) for name in _names(untracked)))

    async def working_tree_files(self, directory: str) -> dict[str, bytes]:
        """All files of the working tree below a directory, as they would land if everything were committed."""
        top = await self._top()
        listing = await self._git("-C", top, "--literal-pathspecs", "ls-files", "-z", "--cached", "--others",
                                  "--exclude-standard", "--", _folder(directory) or ".")
        found: dict[str, bytes] = await deferToThread(_read_all, Path(top), sorted(set(_names(listing))))
        return found

    async def _top(self) -> str:
        output = await self._git("rev-parse", "--show-toplevel")
        return output.decode("utf-8", "surrogateescape").removesuffix("\n")

    async def _make_cache(self, cache: Path) -> None:
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RepositoryError(repository=self.name, reason=f"its copy cannot be made: {error}",
                                  remedy=f"let the user that runs this write to {cache.parent}") from error
        await self._git("init", "--quiet", "--bare")

    async def _git(self, *arguments: str, stdin: bytes = b"", revision: str = "") -> bytes:
        finished = await git.run([*self._place, *arguments], repository=self.name, stdin=stdin,
                                 login=self._address.login, deadline_seconds=self._deadline_seconds,
                                 reactor=self._reactor)
        if finished.status != 0:
            raise self._explained(finished.complaint, revision)
        return finished.output

    def _plain(self, revision: str) -> str:
        """The revision, if it can be that of one commit and is neither an option nor a range."""
        if not revision or revision.startswith(("-", "^")) or ".." in revision or not revision.isprintable():
            raise self._no_revision(revision)
        return revision

    def _no_revision(self, revision: str) -> RepositoryError:
        return RepositoryError(repository=self.name, reason=f"there is no commit {revision!r}",
                               remedy="give a commit, branch or tag that the repository has")

    def _explained(self, complaint: str, revision: str) -> RepositoryError:
        """The error in our words for what git complained about."""
        said = without_credentials(complaint.replace(self._address.url, self.name))
        if revision and (NO_REVISION.search(said) or not said):
            return self._no_revision(revision)
        lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:"))] or said.splitlines()
        reason = lines[0].partition(": ")[2] or lines[0] if lines else "git failed without a word"
        remedy = f"see that the user that runs this can do: git ls-remote {self.name}"
        if "couldn't find remote ref" in said:
            reason = f"there is no branch {self._branch!r}"
            remedy = "correct repository.branch in the settings, or push that branch"
        elif foreign := FOREIGN.search(said):
            reason = f"{foreign['path']} belongs to another user, and git will not read it"
            remedy = f"as the user that runs this: git config --global --add safe.directory {foreign['path']}"
        elif NO_LOGIN.search(said):
            remedy = "give the user that runs this a key or a git credential helper for the repository"
        elif self._cache is None:
            remedy = "run it in a folder of the repository's working tree"
        return RepositoryError(repository=self.name, reason=reason, remedy=remedy)


def without_credentials(text: str) -> str:
    """The text with user and password cut out of every URL in it."""
    return CREDENTIALS.sub("//", text)


def _folder(directory: str) -> str:
    """A directory of the repository as git writes it; empty for its top."""
    folder = directory.removeprefix("./").strip("/")
    return "" if folder == "." else folder


def _names(output: bytes) -> list[bytes]:
    return [name for name in output.split(b"\0") if name]


def _path(name: bytes) -> str:
    """A path as we name it: git's are bytes, and what is not UTF-8 shows as \\xNN."""
    return name.decode("utf-8", "backslashreplace")


def _blobs(listing: bytes) -> Iterator[tuple[str, bytes]]:
    for entry in _names(listing):
        about, _, name = entry.partition(b"\t")
        _, kind, blob = about.split()
        if kind == b"blob":
            yield _path(name), blob


def _contents(batch: bytes) -> Iterator[bytes]:
    """What `git cat-file --batch` printed: for each object a line `<name> blob <size>`, its bytes, a newline."""
    position = 0
    while position < len(batch):
        end_of_line = batch.index(b"\n", position)
        size = int(batch[position:end_of_line].rpartition(b" ")[2])
        position = end_of_line + 1 + size + 1
        yield batch[end_of_line + 1:position - 1]


def _changes(output: bytes) -> Iterator[ChangedFile]:
    """What `--name-status -z` printed: a letter (with a score), one path, and of copies and renames a second one."""
    fields = iter(_names(output))
    for status in fields:
        letter, path = status[:1].decode(), _path(next(fields))
        change = CHANGES.get(letter, Change.MODIFIED)
        if letter in "CR":
            old_path, path = path, _path(next(fields))
            yield ChangedFile(path=path, change=change, old_path=old_path if letter == "R" else None)
        else:
            yield ChangedFile(path=path, change=change)


def _read_all(top: Path, names: Sequence[bytes]) -> dict[str, bytes]:
    """The regular files among the names; one that is deleted but not yet so in git's eyes is not there."""
    found = {}
    for name in names:
        file = top / name.decode("utf-8", "surrogateescape")
        if file.is_file() and not file.is_symlink():
            found[_path(name)] = file.read_bytes()
    return found
