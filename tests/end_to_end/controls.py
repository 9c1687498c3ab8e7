"""What Buildbot lets its visitors change, read out of the Buildbot that is installed: a new version may have more."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator

import buildbot.data
from buildbot.data import base
from buildbot.www.service import WWWService

UNREADABLE = "?"  # an action that this module cannot tell: to be looked at by a person


def controls() -> set[tuple[str, str]]:
    """Every pattern of a path and every action that changes something there."""
    return {(pattern, action) for endpoint in _endpoints() for action in _actions(endpoint)
            for pattern in _patterns(endpoint)}


def pieces_of_the_web_server() -> set[str]:
    """What there is beside the API, by the first part of its path."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(WWWService.setupSite)))
    return {node.args[0].value.decode() for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "putChild"
            and isinstance(node.args[0], ast.Constant)}


def _endpoints() -> Iterator[type[base.Endpoint]]:
    for found in pkgutil.iter_modules(buildbot.data.__path__):
        module = importlib.import_module(f"buildbot.data.{found.name}")
        for thing in vars(module).values():
            if inspect.isclass(thing) and issubclass(thing, base.Endpoint) and thing is not base.Endpoint:
                yield thing


def _actions(endpoint: type[base.Endpoint]) -> set[str]:
    """Buildbot looks for a method `actionStop`, unless the endpoint has a `control` of its own."""
    if endpoint.control is base.Endpoint.control:
        return {name.removeprefix("action").lower() for name in dir(endpoint) if name.startswith("action")}
    tree = ast.parse(textwrap.dedent(inspect.getsource(endpoint.control)))
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare) and _is_action(node.left)]
    return {constant.value for node in compared for constant in ast.walk(node)
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str)} or {UNREADABLE}


def _is_action(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "action"


def _patterns(endpoint: type[base.Endpoint]) -> list[str]:
    patterns = endpoint.pathPatterns
    return patterns.split() if isinstance(patterns, str) else list(patterns)
