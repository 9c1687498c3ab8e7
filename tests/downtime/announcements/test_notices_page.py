"""The page about notices says what is: its kinds, its document, its recipes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from time import time
from typing import Any

import pytest

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import to_json
from downtime.announcements.signing import signature
from tests.downtime.announcements.told import one_of_each

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "notices.md").read_text(encoding="utf-8")
BODY, SECRET = '{"kind": "closed", "reason": "ö"}\n'.encode(), "s3cret $x"


def recipe(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_every_kind_has_a_row() -> None:
    """In the order in which they may come."""

    _, _, chapter = PAGE.partition("## What is told, and when?")
    assert re.findall(r"^\| `([a-z ]+)` \|", chapter.partition("\n## ")[0], re.MULTILINE) == list(Kind)


def test_the_document_has_the_keys_that_are_shown() -> None:
    """And no other."""

    assert list(json.loads(recipe("json"))) == list(to_json(one_of_each()[0]))


@pytest.mark.parametrize(("body", "age", "genuine"), [(BODY, 0, True), (BODY + b" ", 0, False), (BODY, 400, False)])
def test_the_recipe_in_python_verifies(body: bytes, age: int, genuine: bool) -> None:
    """Whoever copies it is safe."""

    names: dict[str, Any] = {}
    exec(recipe("python"), names)
    assert names["is_genuine"](signature(BODY, secret=SECRET, at=int(time()) - age), body, SECRET) is genuine


@pytest.mark.parametrize(("body", "age", "genuine"), [(BODY, 0, True), (BODY + b" ", 0, False), (BODY, 400, False)])
def test_the_recipe_for_a_shell_verifies(tmp_path: Path, body: bytes, age: int, genuine: bool) -> None:
    """The same for the other recipe."""

    (tmp_path / "body").write_bytes(body)
    given = {"signature": signature(BODY, secret=SECRET, at=int(time()) - age), "secret": SECRET,
             "PATH": "/usr/bin:/bin"}
    answer = subprocess.run(["/bin/sh", "-c", recipe("sh")], cwd=tmp_path, env=given, capture_output=True, check=False)
    assert (answer.stdout == b"genuine\n") is genuine, answer.stderr
