from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from twisted.internet.defer import gatherResults

from downtime.landing import Change, ChangedFile
from downtime.repository import EMPTY_TREE, Repository, RepositoryError, without_credentials

AUTHOR = {"GIT_AUTHOR_NAME": "developer", "GIT_AUTHOR_EMAIL": "developer@example.com",
          "GIT_COMMITTER_NAME": "developer", "GIT_COMMITTER_EMAIL": "developer@example.com"}


class Work:
    """A working tree on branch `devel`, as a developer has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=devel")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, env={**os.environ, **AUTHOR}, check=True,
                              capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, path: str, content: bytes = b"") -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=a change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work")


@pytest.fixture
def repository(work: Work, tmp_path: Path) -> Repository:
    """The buildmaster's view of what is in `work`."""
    return Repository(work.folder.as_uri(), "devel", tmp_path / "cache" / "app.git")


async def refusal_of(coroutine: object) -> RepositoryError:
    with pytest.raises(RepositoryError) as raised:
        await coroutine  # type: ignore[misc]
    return raised.value


async def test_fetch_returns_the_tip_of_the_branch(work: Work, repository: Repository) -> None:
    """The first one makes the copy, each later one brings what is new."""
    first = work.commit()
    assert await repository.fetch() == first

    second = work.commit()
    assert await repository.fetch() == second


async def test_fetch_follows_a_branch_that_was_rewritten(work: Work, repository: Repository) -> None:
    """The copy is no place for merges."""
    work.commit()
    work.commit()
    await repository.fetch()
    work.git("reset", "--quiet", "--hard", "HEAD~1")
    work.write("another way")
    rewritten = work.commit()

    assert await repository.fetch() == rewritten


async def test_fetches_at_the_same_time_all_succeed(work: Work, repository: Repository) -> None:
    """A hook and the poller may ask in the same moment."""
    from twisted.internet.defer import Deferred

    tip = work.commit()

    assert await gatherResults([Deferred.fromCoroutine(repository.fetch()) for _ in range(3)]) == [tip] * 3


async def test_files_of_a_commit_are_read_byte_for_byte(work: Work, repository: Repository) -> None:
    """Also odd names and odd contents, and never those of the working tree."""
    files = {"db/patch-1.sql": b"SELECT 1;\r\n\n", "db/empty.sql": b"", "db/sub/\u00e4 name\n.sql": b"\0\xff\n\n"}
    for path, content in {**files, "dbx/other.sql": b"", "app.py": b""}.items():
        work.write(path, content)
    tip = work.commit()
    work.write("db/patch-1.sql", b"not committed")
    await repository.fetch()

    assert await repository.files(tip, "db") == files
    assert await repository.files(tip, "./db/") == files
    assert set(await repository.files(tip, "")) == {*files, "dbx/other.sql", "app.py"}
    assert await repository.files(tip, "nowhere") == {}


async def test_changed_files_say_what_happened_to_each(work: Work, repository: Repository) -> None:
    """With both names of a renamed one."""
    for path, content in {"edited": b"1", "deleted": b"2", "old name": b"a long text\n" * 9}.items():
        work.write(path, content)
    base = work.commit()
    work.write("edited", b"3")
    work.write("added")
    work.git("rm", "--quiet", "deleted")
    work.git("mv", "old name", "new name")
    head = work.commit()
    await repository.fetch()

    assert set(await repository.changed_files(base, head)) == {
        ChangedFile(path="edited", change=Change.MODIFIED), ChangedFile(path="added", change=Change.ADDED),
        ChangedFile(path="deleted", change=Change.DELETED),
        ChangedFile(path="new name", change=Change.RENAMED, old_path="old name")}


async def test_everything_is_new_after_the_empty_tree(work: Work, repository: Repository) -> None:
    """How the first commit of all is judged."""
    work.write("db/patch-1.sql")
    head = work.commit()
    await repository.fetch()

    assert await repository.changed_files(EMPTY_TREE, head) == (
        ChangedFile(path="db/patch-1.sql", change=Change.ADDED),)


async def test_merge_base_is_where_a_branch_left(work: Work) -> None:
    """What landed on devel since then is not the branch's doing."""
    parted = work.commit()
    work.git("checkout", "--quiet", "-b", "feature")
    work.commit()
    work.git("checkout", "--quiet", "devel")
    work.git("commit", "--quiet", "--allow-empty", "--message=another change")

    assert await Repository.local(work.folder).merge_base("devel", "feature") == parted


async def test_working_tree_changes_include_untracked_files_but_not_ignored_ones(work: Work) -> None:
    """`check` judges what would land, from any folder of the tree."""
    work.write(".gitignore", b"*.tmp\n")
    work.write("db/edited.sql", b"1")
    base = work.commit()
    work.write("db/edited.sql", b"2")
    work.write("db/untracked.sql")
    work.write("top.txt")
    work.write("ignored.tmp")

    assert set(await Repository.local(work.folder / "db").working_tree_changes(base)) == {
        ChangedFile(path="db/edited.sql", change=Change.MODIFIED),
        ChangedFile(path="db/untracked.sql", change=Change.ADDED), ChangedFile(path="top.txt", change=Change.ADDED)}


async def test_working_tree_files_are_what_would_land(work: Work) -> None:
    """As they lie there: edited, untracked, and without those deleted."""
    for name in ("kept", "edited", "deleted"):
        work.write(f"db/{name}.sql", b"committed")
    work.commit()
    work.write("db/edited.sql", b"edited")
    work.write("db/untracked.sql", b"untracked")
    (work.folder / "db/deleted.sql").unlink()
    (work.folder / "db/link.sql").symlink_to("/etc/passwd")

    assert await Repository.local(work.folder).working_tree_files("db") == {
        "db/kept.sql": b"committed", "db/edited.sql": b"edited", "db/untracked.sql": b"untracked"}


async def test_tip_of_a_working_tree_is_its_head(work: Work) -> None:
    """Nothing is fetched into somebody's own repository."""
    tip = work.commit()

    assert await Repository.local(work.folder).fetch() == tip


@pytest.mark.parametrize("revision", ["nowhere", "0" * 40, "--all", "-n1", "", "a\nb", "devel..devel", "^devel"])
async def test_unknown_revision_is_refused_by_name(work: Work, repository: Repository, revision: str) -> None:
    """And none is ever taken for an option."""
    tip = work.commit()
    await repository.fetch()

    for asked in (repository.resolve(revision), repository.files(revision, "db"), repository.authors(revision, "db"),
                  repository.changed_files(revision, tip), repository.changed_files(tip, revision)):
        assert "there is no commit " in str(await refusal_of(asked))


async def test_unknown_branch_is_refused_by_name(work: Work, tmp_path: Path) -> None:
    """With the key of the settings."""
    work.commit()

    error = await refusal_of(Repository(work.folder.as_uri(), "develop", tmp_path / "cache").fetch())

    assert str(error) == f"{work.folder.as_uri()}: there is no branch 'develop'"
    assert error.advice == "correct repository.branch in the settings, or push that branch"


async def test_unreachable_repository_is_refused_with_something_to_try(tmp_path: Path) -> None:
    """A message, and not the trace of a failed command."""
    error = await refusal_of(Repository("file:///nowhere/app.git", "devel", tmp_path / "cache").fetch())

    assert "file:///nowhere/app.git: '/nowhere/app.git' does not appear to be a git repository" in str(error)
    assert error.advice == "see that the user that runs this can do: git ls-remote file:///nowhere/app.git"


async def test_url_is_never_an_option(tmp_path: Path) -> None:
    """`--upload-pack=…` would run a program."""
    trap = tmp_path / "trap"

    await refusal_of(Repository(f"--upload-pack=touch {trap}", "devel", tmp_path / "cache").fetch())

    assert not trap.exists()


async def test_password_of_the_url_is_never_shown(tmp_path: Path) -> None:
    """Neither by us nor in what git says."""
    url = "http://deployer:s3cr3t@127.0.0.1:1/app.git"

    error = await refusal_of(Repository(url, "devel", tmp_path / "cache").fetch())

    assert "s3cr3t" not in error.explain()
    assert "http://127.0.0.1:1/app.git" in error.explain()


@pytest.mark.parametrize("text", ["https://u:p4ss@host/a", "https://p4ss@host/a", "https://u:p4ss@w@host/a",
                                  "https://u:a/p4ss@host/a"])
def test_credentials_are_cut_out_of_urls(text: str) -> None:
    """Tokens in the user's place and passwords with odd characters, too."""

    assert without_credentials(f"fatal: unable to access '{text}': no") == (
        "fatal: unable to access 'https://host/a': no")


async def test_folder_outside_any_repository_is_refused(tmp_path: Path) -> None:
    """As `check` finds it when run in the wrong place."""
    error = await refusal_of(Repository.local(tmp_path).resolve("HEAD"))

    assert "not a git repository" in str(error)
    assert error.advice == "run it in a folder of the repository's working tree"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to another user")
async def test_repository_of_another_user_is_refused_with_the_remedy(work: Work) -> None:
    """git's own guard stays in place: such a repository's settings may run programs."""
    work.commit()
    for path in (work.folder, work.folder / ".git"):
        shutil.chown(path, 65534)

    error = await refusal_of(Repository.local(work.folder).resolve("HEAD"))

    assert str(error).endswith(f"{work.folder} belongs to another user, and git will not read it")
    assert error.advice == (
        f"as the user that runs this: git config --global --add safe.directory {work.folder}")


async def test_copy_that_cannot_be_made_is_refused(work: Work, tmp_path: Path) -> None:
    """A file lies where its folder should be."""
    work.commit()
    (tmp_path / "file").touch()

    error = await refusal_of(Repository(work.folder.as_uri(), "devel", tmp_path / "file" / "cache").fetch())

    assert "its copy cannot be made" in str(error)
