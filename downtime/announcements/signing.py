"""How a receiver knows that a notice is ours and new: an HMAC over the time and the very bytes that were sent. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re

HEADER = "X-Fastdowntime-Signature"
FORM = re.compile(r"t=(?P<at>[0-9]{1,12}),v1=(?P<digest>[0-9a-f]{64})")

TOLERANCE_SECONDS = 300  # more: an old notice can be played again for longer; less: clocks must agree better


def signature(body: bytes, *, secret: str, at: int) -> str:
    """The value of the header, for a body that is sent at this second since 1970."""
    return f"t={at},v1={_digest(body, secret, at)}"


def verifies(value: str, body: bytes, *, secret: str, now: int) -> bool:
    """Whether the header's value fits the bytes received, and is not older or newer than `TOLERANCE_SECONDS`."""
    found = FORM.fullmatch(value)
    if found is None or abs(now - int(found["at"])) > TOLERANCE_SECONDS:
        return False
    return hmac.compare_digest(found["digest"], _digest(body, secret, int(found["at"])))


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
