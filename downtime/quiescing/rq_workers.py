"""Suspends the workers of RQ, tells which are still busy, and resumes them.

RQ knows no rest of single queues: all workers of the Redis are suspended.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from downtime.quiescing.programs import NotDone, end, run

# `worker NAME (host address pid) busy orders, mail. jobs: 0 finished, 1 failed`; older ones end with the queues
WORKER = re.compile(r"worker (?P<name>\S+) (?:\(.*?\) )?(?P<state>\S+) (?P<queues>.*?)(?:\. jobs: .*)?")
AT_REST = ("idle", "suspended", "started")


def busy(answer: str, queues: Sequence[str]) -> Iterator[str]:
    """Workers of these queues (none: of any) that are not known to rest, by `rq info --raw`. Pure. Raises NotDone."""
    for line in answer.splitlines():
        if not line.startswith("worker "):
            continue
        found = WORKER.fullmatch(line.strip())
        if found is None:
            raise NotDone("what rq has answered cannot be read")
        listens = {queue.strip() for queue in found["queues"].split(",")}
        if found["state"] not in AT_REST and (not queues or listens & set(queues)):
            yield f"{found['name']} is {found['state']}"


def with_password(url: str, password: str) -> str:
    """The address with the password that it was given without. Pure."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing.rq_workers", description=__doc__)
    parser.add_argument("do", choices=["stop", "stopped", "resume"])
    parser.add_argument("--url", required=True, help="of Redis, without a password")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--program", default="rq", help="how to call rq (default: rq)")
    parser.add_argument("--queue", action="append", default=[], help="whose workers must rest (default: of all)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> str:
    """What was done, or that nothing is left to do, in a sentence."""
    asked = _arguments(given)
    url = asked.url
    if asked.password_file is not None:
        try:
            url = with_password(url, asked.password_file.read_text(encoding="utf-8").rstrip("\r\n"))
        except OSError as error:
            raise NotDone(f"{asked.password_file}: {error.strerror}") from None
    environ = {**os.environ, "RQ_REDIS_URL": url}  # everybody on the machine can read a command line
    if asked.do != "stopped":
        return run(asked.program, ["suspend" if asked.do == "stop" else "resume"], environ=environ).strip()
    if left := list(busy(run(asked.program, ["info", "--raw", "--only-workers"], environ=environ), asked.queue)):
        raise NotDone("; ".join(left))
    return "no worker is busy"


if __name__ == "__main__":
    end(main)
