"""Each kind of task as its commands, run by a shell: programs of the machine are stood in for by scripts that note how
they were called and answer as the real ones did when they were asked (systemd 252, Celery 5.7, RQ 3.0).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from downtime.quiescing.celery_queues import tasks_in
from downtime.quiescing.programs import NotDone
from downtime.quiescing.rq_workers import busy, with_password
from tests.downtime.quiescing.tasks import commands, shell

# what `is-active` prints of a unit is in a file of its name; its exit status is 0 for an active one alone
SYSTEMCTL = """#!/bin/sh
echo "$@" >> calls
case "$1" in
    is-active) cat "$2"; test "$(cat "$2")" = active ;;
    show) echo nightly.service ;;
esac
"""
CELERY = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$4" in
    active|reserved) cat {folder}/$4 ;;
esac
"""
RQ = """#!/bin/sh
echo "$@" "$RQ_REDIS_URL" >> {folder}/calls
test "$1" = info && cat {folder}/workers || echo "$1" done
"""
ACTIVE = """{"celery@vm": [{"id": "f3b104d5", "name": "shop.long", "args": [6], "kwargs": {}, "type": "shop.long",
 "hostname": "celery@vm", "time_start": 1795414378.7, "acknowledged": true, "delivery_info": {"exchange": "",
 "routing_key": "orders", "priority": 0, "redelivered": false}, "worker_pid": 23797}]}"""
WORKERS = """\
worker 5309 (vm 127.0.0.1:54306 22758) busy orders, mail. jobs: 0 finished, 1 failed
worker 5310 (vm 127.0.0.1:54307 22759) idle orders. jobs: 0 finished, 1 failed
"""


def a_program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(script.replace("{folder}", str(folder)))
    path.chmod(0o755)
    return str(path)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_a_unit_is_quiet_when_it_is_neither_active_nor_ending(tmp_path: Path) -> None:
    """While it is deactivating it may still write; `is-active` alone would say that it is not active."""

    a_program(tmp_path, "systemctl", SYSTEMCTL)
    task = commands(tmp_path, systemd={"unit": "mailer.service"})
    assert (task.stop, task.resume) == ("systemctl stop mailer.service", "systemctl start mailer.service")
    asked = commands(tmp_path, systemd={"unit": "mailer.service", "program": str(tmp_path / "systemctl")}).stopped
    assert asked is not None
    statuses = {}
    for state in ("active", "deactivating", "reloading", "inactive", "failed", ""):
        (tmp_path / "mailer.service").write_text(state)
        statuses[state] = shell(f"cd {tmp_path}; {asked}")[0]
    assert statuses == {"active": 1, "deactivating": 1, "reloading": 1, "inactive": 0, "failed": 0, "": 1}


@pytest.mark.parametrize(("timer", "service", "status"), [
    ("active", "inactive", 1), ("inactive", "active", 1), ("inactive", "deactivating", 1), ("inactive", "failed", 0)])
def test_a_timer_is_quiet_when_what_it_starts_has_ended(timer: str, service: str, status: int, tmp_path: Path) -> None:
    """Stopping a timer does not end its service; which one that is, systemd says."""

    program = a_program(tmp_path, "systemctl", SYSTEMCTL)
    task = commands(tmp_path, systemd={"timer": "import.timer", "program": program})
    assert task.stopped is not None
    (tmp_path / "import.timer").write_text(timer)
    (tmp_path / "nightly.service").write_text(service)
    assert shell(f"cd {tmp_path}; {task.stop}; {task.stopped}")[0] == status
    assert calls(tmp_path)[:2] == ["stop import.timer", "is-active import.timer"]


def test_celery_workers_leave_the_queues_and_are_asked_for_what_they_have(tmp_path: Path) -> None:
    """Also for what they have taken already and not begun: a worker does that, too."""

    program = a_program(tmp_path, "celery", CELERY)
    task = commands(tmp_path, celery={"app": "shop", "queues": ["orders", "mail"], "program": program})
    assert task.stopped is not None
    for name in ("active", "reserved"):
        (tmp_path / name).write_text(ACTIVE)
    assert shell(task.stop)[0] == 0
    assert shell(task.stopped) == (1, "celery@vm has 1 active; celery@vm has 1 reserved\n")
    (tmp_path / "active").write_text('{"celery@vm": []}')
    assert shell(task.stopped) == (1, "celery@vm has 1 reserved\n")
    (tmp_path / "reserved").write_text(ACTIVE.replace("orders", "of_others"))
    assert shell(task.stopped)[0] == 0
    assert shell(task.resume)[0] == 0
    assert calls(tmp_path)[:2] + calls(tmp_path)[-2:] == [
        f"-A shop control {word}_consumer {queue}" for word in ("cancel", "add") for queue in ("orders", "mail")]


@pytest.mark.parametrize("answer", ["", "null", "[1]", '{"w": [1]}', '{"w": null}', '{"w": [{"delivery_info": 1}]}'])
def test_an_answer_of_celery_that_cannot_be_read_is_not_quiet(answer: str) -> None:
    """A check that cannot see must not pass."""

    with pytest.raises(NotDone, match="cannot be read"):
        tasks_in(answer, ["orders"])


def test_celery_tasks_are_counted_by_worker_and_queue() -> None:
    """A task without its routing is of no queue."""

    task = {"delivery_info": {"routing_key": "orders"}}
    answer = json.dumps({"a": [task, task, {"delivery_info": None}], "b": [], "c": [task]})
    assert tasks_in(answer, ["orders"]) == {"a": 2, "c": 1}


def test_rq_workers_are_suspended_and_asked_whether_they_are_busy(tmp_path: Path) -> None:
    """The password goes by their environment, never by the command line."""

    (tmp_path / "secret").write_text("p@ss/word\n")
    (tmp_path / "workers").write_text(WORKERS)
    task = commands(tmp_path, rq={"url": "redis://db:6379/1", "password_file": "secret", "queues": ["mail"],
                                  "program": a_program(tmp_path, "rq", RQ)})
    assert task.stopped is not None
    assert shell(task.stop) == (0, "suspend done\n")
    assert shell(task.stopped) == (1, "5309 is busy\n")
    (tmp_path / "workers").write_text(WORKERS.replace("busy", "suspended"))
    assert shell(task.stopped) == (0, "no worker is busy\n")
    assert shell(task.resume) == (0, "resume done\n")
    url = "redis://:p%40ss%2Fword@db:6379/1"
    assert calls(tmp_path) == [f"suspend {url}", *[f"info --raw --only-workers {url}"] * 2, f"resume {url}"]
    assert "p@ss" not in "".join([task.stop, task.stopped, task.resume])


@pytest.mark.parametrize(("queues", "found"), [
    ([], ["5309 is busy"]), (["mail"], ["5309 is busy"]), (["orders"], ["5309 is busy"]), (["other"], [])])
def test_rq_workers_of_other_queues_may_be_busy(queues: list[str], found: list[str]) -> None:
    """Without queues in the settings all of them count."""

    assert list(busy(WORKERS, queues)) == found


def test_a_worker_in_an_unknown_state_is_busy() -> None:
    """And one that cannot be read is no answer; older versions of RQ print less of each."""

    assert list(busy("worker a ? orders\nworker b idle orders\nqueue orders 3\n", [])) == ["a is ?"]
    with pytest.raises(NotDone, match="cannot be read"):
        list(busy("worker \n", []))


def test_a_user_in_the_address_of_redis_stays_there() -> None:
    """Redis 6 and later know users."""

    assert with_password("rediss://app@db/0", "x") == "rediss://app:x@db/0"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The deployment is refused with the reason."""

    status, said = shell(commands(tmp_path, celery={"app": "a", "queues": ["q"], "program": "no/such/celery"}).stop)
    assert (status, said) == (1, "no/such/celery: No such file or directory\n")
