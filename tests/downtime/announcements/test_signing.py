"""The signature of a webhook, as a receiver verifies it."""

from __future__ import annotations

import subprocess

from downtime.announcements.signing import signature, verifies

BODY, SECRET, NOW = '{"kind": "closed", "reason": "ö"}'.encode(), "s3cret $x", 1_772_613_000


def test_a_signature_verifies_what_was_signed_and_nothing_else() -> None:
    """Another body, another secret, another time: all are noticed."""

    value = signature(BODY, secret=SECRET, at=NOW)
    assert verifies(value, BODY, secret=SECRET, now=NOW + 299)
    assert not verifies(value, BODY + b" ", secret=SECRET, now=NOW)
    assert not verifies(value, BODY, secret="other", now=NOW)
    assert not verifies(value.replace(f"t={NOW}", f"t={NOW + 1}"), BODY, secret=SECRET, now=NOW)


def test_an_old_signature_is_no_longer_good() -> None:
    """A notice that somebody has recorded cannot be played to a status page the next day."""

    value = signature(BODY, secret=SECRET, at=NOW)
    assert not verifies(value, BODY, secret=SECRET, now=NOW + 301)
    assert not verifies(value, BODY, secret=SECRET, now=NOW - 301)


def test_what_is_no_signature_verifies_nothing() -> None:
    """Whatever a stranger sends in the header."""

    for value in ("", "t=1", f"t={NOW},v1=", "t=x,v1=y", signature(BODY, secret=SECRET, at=NOW).upper()):
        assert not verifies(value, BODY, secret=SECRET, now=NOW)


def test_openssl_computes_the_same() -> None:
    """Receivers are written in any language; the recipe of the page is for a shell."""

    made = subprocess.run(["openssl", "dgst", "-sha256", "-hmac", SECRET], input=f"{NOW}.".encode() + BODY,
                          capture_output=True, check=True).stdout.decode().split()[-1]
    assert signature(BODY, secret=SECRET, at=NOW) == f"t={NOW},v1={made}"
