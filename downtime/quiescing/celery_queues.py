"""Lets the workers of a Celery application stop taking tasks from queues, tells what they still have, and lets them.

A worker that is started while they rest takes tasks all the same: it knows nothing of it. What waits for its time in
a worker (`eta`, `countdown`) is not counted: that may be tomorrow.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from downtime.quiescing.programs import NotDone, end, run

CONTROL = {"stop": "cancel_consumer", "resume": "add_consumer"}
ASKED = ("active", "reserved")  # under way, and taken from the queue already; a worker does those, too


def tasks_in(answer: str, queues: Sequence[str]) -> Counter[str]:
    """How many tasks of these queues each worker has, by an answer of `inspect`. Raises NotDone. Pure."""
    try:
        workers = dict(json.loads(answer))
        return Counter({worker: count for worker, tasks in workers.items()
                        if (count := sum(_queue_of(task) in queues for task in tasks))})
    except (ValueError, TypeError, AttributeError):
        raise NotDone("what celery has answered cannot be read") from None


def _queue_of(task: Any) -> Any:
    # by default a queue's name is its routing key, and a task does not name its queue
    return (task.get("delivery_info") or {}).get("routing_key")


def _control(program: str, app: str, do: str, queues: Sequence[str]) -> str:
    for queue in queues:
        run(program, ["-A", app, "control", CONTROL[do], queue])
    return f"told the workers to {'leave' if do == 'stop' else 'take tasks from'} {', '.join(queues)}"


def _still_has(program: str, app: str, queues: Sequence[str]) -> Iterator[str]:
    for what in ASKED:
        for worker, count in tasks_in(run(program, ["-A", app, "inspect", what, "--json"]), queues).items():
            yield f"{worker} has {count} {what}"


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing.celery_queues", description=__doc__)
    parser.add_argument("do", choices=["stop", "stopped", "resume"])
    parser.add_argument("--app", required=True, help="as celery -A wants it")
    parser.add_argument("--program", default="celery", help="how to call celery (default: celery)")
    parser.add_argument("queues", nargs="+")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> str:
    """What was done, or that nothing is left to do, in a sentence."""
    asked = _arguments(given)
    if asked.do != "stopped":
        return _control(asked.program, asked.app, asked.do, asked.queues)
    if left := list(_still_has(asked.program, asked.app, asked.queues)):
        raise NotDone("; ".join(left))
    return f"no worker has a task of {', '.join(asked.queues)}"


if __name__ == "__main__":
    end(main)
