"""Finds, reads and judges the settings file, and words what is wrong with it.

Neither YAML's nor pydantic's own exception is chained to ours: both can quote the file, and with it a password.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from downtime.errors import SettingsError
from downtime.settings.sections import Settings
from downtime.settings.values import Surroundings

FILE_NAME = "settings.yaml"
VARIABLE = "FASTDOWNTIME_SETTINGS"

# What pydantic says in Python's words, in YAML's; its other sentences are good as they are.
WORDING = {
    "missing": "is required",
    "model_type": "should be a mapping: keys, each with its value",
    "tuple_type": "should be a list",
    "invalid_key": "should be a word; put it in quotes",
}

DEEPEST_PLACE = 10  # keys and list numbers below each other; the models need 6

Place = tuple[int | str, ...]


def find(option: str | None, environ: Mapping[str, str], default_folder: Path) -> Path:
    """Which file to load: the one of `--settings`, else of FASTDOWNTIME_SETTINGS, else settings.yaml in the folder."""
    named = option or environ.get(VARIABLE)
    return Path(named).expanduser() if named else default_folder / FILE_NAME


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this file, for every entry of the product. Raises SettingsError with all problems at once."""
    judged = _judge(_parse(_read(path), path), Surroundings(folder=path.absolute().parent, environ=environ))
    if not isinstance(judged, Settings):
        raise SettingsError(str(path), judged)
    return judged


def _read(path: Path) -> str:
    if path.is_dir():
        raise SettingsError(str(path), [f"is a folder; name the file in it, for example {path / FILE_NAME}."])
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(str(path), [
            f"there is no such file; write it, or name another with --settings or {VARIABLE}."]) from None
    except OSError as error:
        raise SettingsError(str(path), [f"cannot be read: {error.strerror}."]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(str(path), [f"line {line}: not UTF-8 text; save the file as UTF-8."]) from None


def _parse(text: str, path: Path) -> dict[Any, Any]:
    problem = ""
    try:
        document, duplicates = _plain_values(text)
    except yaml.MarkedYAMLError as error:
        problem = _broken(error)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"line {line}: a control character, which YAML does not allow; remove it."
    except ValueError:
        problem = "a value looks like a date but is none; put it in quotes."
    except RecursionError:
        problem = "is nested too deeply."
    if problem:
        raise SettingsError(str(path), [problem])
    if not isinstance(document, dict):
        found = "is empty" if document is None else "is not a mapping"
        raise SettingsError(str(path), [f"{found}; it should have keys like repository: and environments:."])
    if duplicates:
        raise SettingsError(str(path), duplicates)
    return document


def _plain_values(text: str) -> tuple[object, list[str]]:
    """The document, by the loader that makes nothing but plain values, and its keys given twice."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        duplicates = list(_duplicates(node, "", set()))  # before merge keys (<<) are resolved: those may repeat
        return loader.construct_document(node), duplicates
    finally:
        loader.dispose()


def _broken(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    if isinstance(error, yaml.constructor.ConstructorError):
        return f"{where}only plain values are allowed, no tags and no lists or mappings as keys."
    return f"{where}not YAML: {error.problem or error.context}."


def _duplicates(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    """Keys given twice, of which PyYAML would silently keep the last."""
    if id(node) in seen:
        return  # an alias of what was looked at already, maybe of one that contains it
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _duplicates(item, f"{path}[{number}]", seen)
    if isinstance(node, yaml.MappingNode):
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                here, line = f"{path}.{key.value}".lstrip("."), key.start_mark.line + 1
                if key.value in first_lines:
                    yield f"{here}: given twice, in lines {first_lines[key.value]} and {line}; keep one."
                first_lines.setdefault(key.value, line)
                yield from _duplicates(value, here, seen)


def _judge(document: Mapping[Any, Any], around: Surroundings) -> Settings | list[str]:
    """The settings, or what is wrong with them."""
    empty = list(_left_empty(document, ()))
    found: Sequence[ErrorDetails] = ()
    try:
        settings = Settings.model_validate(document, context=around)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    problems = [_sentence(place, "is empty; give a value, or leave the key out") for place in empty]
    problems += [_sentence(details["loc"], _wording(details)) for details in found if details["loc"] not in empty]
    return problems or settings


def _left_empty(value: object, place: Place) -> Iterator[Place]:
    """Keys without a value: in YAML they mean "none", which nobody means who has written the key."""
    if len(place) > DEEPEST_PLACE:
        return  # an alias of what contains it: its keys are unknown ones, and told as such
    if value is None:
        yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _left_empty(inner, (*place, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _left_empty(inner, (*place, number))


def _wording(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return f"unknown key{_did_you_mean(details['loc'])}"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    return WORDING.get(kind, details["msg"])


def _did_you_mean(place: Place) -> str:
    known = list(_section_at(place[:-1]).model_fields)
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"


def _section_at(place: Place) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for part in (each for each in place if not isinstance(each, int)):
        annotation = section.model_fields[part].annotation
        section = next(kind for kind in (annotation, *get_args(annotation))
                       if isinstance(kind, type) and issubclass(kind, BaseModel))
    return section


def _sentence(place: Place, text: str) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    end = "" if text.endswith((".", "?")) else "."
    return f"{path}: {text}{end}" if path else f"{text}{end}"
