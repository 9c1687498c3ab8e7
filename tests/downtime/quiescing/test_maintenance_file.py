"""A file that tells programs to rest: there at once and whole, gone afterwards, and never somebody else's."""

from __future__ import annotations

from pathlib import Path

from tests.downtime.quiescing.tasks import commands, shell

TEXT = "--back at nine\nand a second line: $HOME `id` 'quoted'\n"


def test_it_comes_and_goes_with_its_text(tmp_path: Path) -> None:
    """Whatever is in the text; doing either twice is no mistake, and nothing else is left in the folder."""

    task = commands(tmp_path, maintenance_file={"path": "down for now", "text": TEXT})
    path = tmp_path / "down for now"
    for _ in range(2):
        assert shell(task.stop)[0] == 0
        assert path.read_text() == TEXT
        assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    for _ in range(2):
        assert shell(task.resume)[0] == 0
        assert not path.exists()


def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    """An administrator has put it there for another reason: the end of our downtime is not the end of theirs."""

    task = commands(tmp_path, maintenance_file={"path": "down", "text": "ours"})
    path = tmp_path / "down"
    path.write_text("theirs")
    assert shell(task.stop) == (1, f"{path} is there already, with another text: somebody else’s\n")
    assert shell(task.resume) == (1, f"{path} has another text than ours: it is left there\n")
    assert path.read_text() == "theirs"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The deployment is refused with the reason."""

    task = commands(tmp_path, maintenance_file={"path": "no/such/down"})
    assert shell(task.stop) == (1, f"{tmp_path}/no/such/down: No such file or directory\n")
