"""The users file and its command line."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from downtime.errors import SettingsError
from master.people import add_user, main, read_users, remove_user

TOP = Path(__file__).parents[2]


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """A users file with one user, `operator`."""
    path = tmp_path / "users"
    add_user(path, "operator", "operator@example.org", "correct horse")
    return path


def test_added_user_is_known_by_the_password_alone(users_file: Path) -> None:
    """The right password lets in; a wrong, an empty one or another name does not."""

    users = read_users(users_file)
    assert users.check("operator", "correct horse")
    assert not users.check("operator", "correct hors")
    assert not users.check("operator", "")
    assert not users.check("nobody", "correct horse")
    assert users.email_of("operator") == "operator@example.org"


def test_file_has_no_password_in_it_and_is_the_owners_alone(users_file: Path) -> None:
    """Whoever sees the file cannot sign in with it, and others do not see it."""

    assert "correct horse" not in users_file.read_text(encoding="utf-8")
    assert stat.S_IMODE(users_file.stat().st_mode) == 0o600


def test_adding_again_replaces_password_and_address(users_file: Path) -> None:
    """A forgotten password is cured by the same command; the others stay."""

    add_user(users_file, "approver", "", "another")
    add_user(users_file, "operator", "new@example.org", "battery staple")
    users = read_users(users_file)
    assert list(users.by_name) == ["operator", "approver"]
    assert users.check("operator", "battery staple")
    assert not users.check("operator", "correct horse")
    assert users.email_of("operator") == "new@example.org"


def test_removed_user_cannot_sign_in(users_file: Path) -> None:
    """Removing takes the user out; removing nobody is a mistake that is told."""

    remove_user(users_file, "operator")
    assert not read_users(users_file).check("operator", "correct horse")
    with pytest.raises(SettingsError, match="no user 'operator'"):
        remove_user(users_file, "operator")


@pytest.mark.parametrize(("name", "email", "password", "objection"), [
    ("a:b", "", "x", "the name should not"), ("a\nb", "", "x", "the name should not"),
    ("", "", "x", "the name should not"), (" a", "", "x", "the name should not"),
    ("a\u2028b", "", "x", "the name should not"),
    ("a", "a@b:c", "x", "the e-mail address should"), ("a", "a@b\nroot:", "x", "the e-mail address should"),
    ("a", "no address", "x", "the e-mail address should"),
    ("a", "", "", "the password should not be empty"), ("a", "", "x\x00", "the password should not be empty"),
])
def test_what_would_break_the_file_is_refused(
    name: str, email: str, password: str, objection: str, users_file: Path,
) -> None:
    """No name or address can write a line of its own; the file stays as it was."""

    before = users_file.read_bytes()
    with pytest.raises(SettingsError, match=objection):
        add_user(users_file, name, email, password)
    assert users_file.read_bytes() == before


def test_users_added_at_once_are_all_there(tmp_path: Path) -> None:
    """Two administrators at once do not lose each other's user."""

    names = [f"user{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: add_user(tmp_path / "users", name, "", "secret"), names))
    assert sorted(read_users(tmp_path / "users").by_name) == names
    assert os.listdir(tmp_path) == ["users"]


def test_every_unreadable_line_is_named(users_file: Path) -> None:
    """A broken file lets nobody in and says where it is broken, without quoting hashes."""

    with users_file.open("a", encoding="utf-8") as file:
        file.write("approver:secret\n\noperator::scrypt$16384$8$1$AAAA$AAAA\n")
        file.write(users_file.read_text(encoding="utf-8").splitlines()[0] + "\n")
    with pytest.raises(SettingsError) as caught:
        read_users(users_file)
    assert caught.value.problems == (
        "line 2: not name:e-mail:hash; remove it and add the user again.",
        "line 4: not name:e-mail:hash; remove it and add the user again.",
        "line 5: operator is there twice; keep one.")


def test_file_open_to_others_is_warned_of(users_file: Path) -> None:
    """The warning is the command that puts it right."""

    users_file.chmod(0o644)
    assert read_users(users_file).warnings == (
        f"{users_file}: open to other users of this machine; chmod 600 {users_file}.",)


def test_missing_file_says_how_it_is_made(tmp_path: Path) -> None:
    """On a new machine the message is the command to type."""

    with pytest.raises(SettingsError, match=r"python -m master\.people add NAME --file"):
        read_users(tmp_path / "users")


def test_link_to_the_file_stays_a_link(users_file: Path, tmp_path: Path) -> None:
    """A users file kept elsewhere is changed there."""

    link = tmp_path / "link"
    link.symlink_to(users_file)
    add_user(link, "approver", "", "another")
    assert link.is_symlink()
    assert "approver" in read_users(users_file).by_name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can add a user to somebody else's file")
def test_file_stays_its_owners_when_root_adds_a_user(users_file: Path) -> None:
    """A buildmaster that is not root can still read the file after `sudo`."""

    os.chown(users_file, 65534, 65534)
    add_user(users_file, "approver", "", "another")
    assert (users_file.stat().st_uid, users_file.stat().st_gid) == (65534, 65534)


def test_command_reads_the_password_from_standard_input(tmp_path: Path) -> None:
    """A script can add users, and the password is on no command line."""

    path = tmp_path / "users"
    done = subprocess.run(
        [sys.executable, "-m", "master.people", "add", "approver", "--email", "approver@example.org", "--file", path],
        input="correct horse\n", capture_output=True, text=True, cwd=TOP, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_users(path).check("approver", "correct horse")


def test_command_lists_names_and_addresses(users_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name and an address a line, nothing of the hash."""

    assert main(["list", "--file", str(users_file)]) == 0
    assert capsys.readouterr().out == "operator\toperator@example.org\n"


def test_command_exits_2_with_the_reason(
    users_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong usage is told on standard error, without a traceback."""

    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["add", "approver", "--file", str(users_file)]) == 2
    assert "the password should not be empty" in capsys.readouterr().err
    assert main(["remove", "nobody", "--file", str(users_file)]) == 2
    assert main(["add", "approver", "--file", str(users_file / "below")]) == 2
