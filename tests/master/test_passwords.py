"""Password hashes."""

from __future__ import annotations

import pytest

from master.passwords import PasswordHash


def test_hash_survives_being_written_and_read() -> None:
    """What the users file keeps is enough to check a password, and only that password."""

    read = PasswordHash.parse(str(PasswordHash.of("pässword")))
    assert read.matches("pässword")
    assert not read.matches("password")


def test_same_password_gives_another_hash_each_time() -> None:
    """Two users with one password are not told apart from two with different ones."""

    assert str(PasswordHash.of("same")) != str(PasswordHash.of("same"))


@pytest.mark.parametrize("text", [
    "", "plain", "md5$16384$8$1$AAAA$AAAA", "scrypt$16384$8$1$AAAA$AAAA", "scrypt$16384$8$1$AAAA$***",
    "scrypt$x$8$1$AAAA$AAAA", "scrypt$15$8$1$AAAA$AAAA",
    f"scrypt${2**30}$8$1${'A' * 24}${'A' * 43}=", f"scrypt$16384$8$1000${'A' * 24}${'A' * 43}=",
])
def test_text_that_is_no_hash_is_refused(text: str) -> None:
    """Neither a broken line nor one that would take all memory gets as far as a check."""

    with pytest.raises(ValueError, match=r"scrypt|base64|whole|unpack|invalid literal"):
        PasswordHash.parse(text)
