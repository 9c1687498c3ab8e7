"""Passwords as the users file keeps them: hashed by scrypt, with the cost and the salt beside the hash. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Self

# 2**14, 8 and 1: 16 MiB and about 50 ms a check. More slows each sign-in; less helps whoever steals the file.
COST = 2**14
BLOCK_SIZE = 8
PARALLEL = 1
SALT_BYTES = 16
HASH_BYTES = 32
MOST_MEMORY_BYTES = 2**27  # a line that asks for more is refused instead of taking the buildmaster's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """What is left of a password. `str` is the text for the users file; `parse` is its inverse."""

    cost: int
    block_size: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> Self:
        """Hash a new password with a new salt."""
        salt = os.urandom(SALT_BYTES)
        return cls(cost=COST, block_size=BLOCK_SIZE, parallel=PARALLEL, salt=salt,
                   digest=_scrypt(password, salt, COST, BLOCK_SIZE, PARALLEL))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError where the text is no hash of ours."""
        scheme, cost, block_size, parallel, salt, digest = text.split("$")
        n, r, p = int(cost), int(block_size), int(parallel)
        if scheme != "scrypt" or not (n > 1 and n & (n - 1) == 0 and r > 0 and 0 < p <= 16
                                      and 128 * n * r <= MOST_MEMORY_BYTES // 2):
            raise ValueError("not a scrypt hash that can be checked")
        try:
            read = cls(cost=n, block_size=r, parallel=p, salt=base64.b64decode(salt, validate=True),
                       digest=base64.b64decode(digest, validate=True))
        except binascii.Error as error:
            raise ValueError("not base64") from error
        if len(read.digest) != HASH_BYTES:
            raise ValueError("not a whole hash")
        return read

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode("ascii") for part in (self.salt, self.digest))
        return f"scrypt${self.cost}${self.block_size}${self.parallel}${salt}${digest}"

    def matches(self, password: str) -> bool:
        """Whether this is the password; the comparison takes the same time wherever they differ."""
        given = _scrypt(password, self.salt, self.cost, self.block_size, self.parallel)
        return hmac.compare_digest(given, self.digest)


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8"), salt=salt, n=cost, r=block_size, p=parallel,
                          maxmem=MOST_MEMORY_BYTES, dklen=HASH_BYTES)


# Checked in place of a name that does not exist, so that the time of an answer does not tell which names do.
NOBODY = PasswordHash(cost=COST, block_size=BLOCK_SIZE, parallel=PARALLEL, salt=bytes(SALT_BYTES),
                      digest=bytes(HASH_BYTES))
