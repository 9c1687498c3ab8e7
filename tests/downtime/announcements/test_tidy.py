"""Texts of unknown origin in notices: one line, no password."""

from __future__ import annotations

import json

import pytest

from downtime.announcements.notice import to_json
from downtime.announcements.tidy import LONGEST, tidy
from tests.downtime.announcements.told import one_of_each, told, waiting

LEAKS = (
    "could not connect to postgresql://patcher:hunter2@db/app",
    "postgresql://hunter2@db/app", "https://user:p/hunter2@git.example.org/",
    "host=db password=hunter2 user=patcher", "password = hunter2", "PASSWORD 'hunter2'",
    "ALTER ROLE billing PASSWORD E'x''hunter2' VALID UNTIL 'infinity'", "PASSWORD 'hunter2",
    "sslpassword=hunter2", '{"password": "hunter2"}', "PGPASSWORD=hunter2 psql", "passwd: hunter2",
    "Password:hunter2", "password='it\\'s hunter2'")


@pytest.mark.parametrize("text", LEAKS)
def test_no_notice_has_a_password(text: str) -> None:
    """Mails are read by many, and kept."""

    for notice in one_of_each(text):
        assert "hunter2" not in json.dumps(to_json(notice)), notice.kind
        assert "hunter2" not in notice.subject + notice.text


def test_what_is_no_password_stays() -> None:
    """The sentence has to be understood."""

    sentence = "users.password has no column named secret; don't drop it (see https://example.org/a?b=c)"
    assert tidy(sentence) == sentence


@pytest.mark.parametrize("text", ["one\r\nBcc: all@example.org", "one\nBcc: all@example.org", "one\u2028Bcc: x",
                                  "one\x85Bcc: x", "one\x0bBcc: x", "\x1b[2Jone\x00"])
def test_no_text_of_a_notice_begins_a_line_or_moves_a_cursor(text: str) -> None:
    """A patch's name or somebody's reason cannot add a header to a mail, or a line to its text."""

    for notice in (*one_of_each(text), *told(waiting(text))):
        lines = (notice.subject, notice.explained, notice.reason, notice.by, notice.build_url, notice.page_url)
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith("Bcc") for line in notice.text.splitlines())


def test_a_long_text_is_cut_and_soon() -> None:
    """Somebody's reason may have any length."""

    assert len(tidy("//" * 2_000_000)) < 2 * LONGEST
