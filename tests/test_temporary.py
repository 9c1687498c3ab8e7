"""Where tests keep their files."""

from __future__ import annotations

from pathlib import Path

from tests.temporary import has_room


def test_there_is_room_where_enough_is_free(tmp_path: Path) -> None:
    """And none where that is more than the folder can take."""

    assert has_room(tmp_path, enough_bytes=1)
    assert not has_room(tmp_path, enough_bytes=2**60)


def test_a_system_without_such_a_folder_has_no_room(tmp_path: Path) -> None:
    """The tests then use the usual one."""

    assert not has_room(tmp_path / "nowhere", enough_bytes=1)
