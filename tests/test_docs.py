"""The documentation says what is: the settings it explains are the settings there are, and its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from downtime.commands import COMMANDS
from downtime.settings import Environments, Settings, load
from downtime.settings.values import Section
from master.roles import MAY_FORCE
from steps.shared.base import RunbookStep

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NAMES_OF_PAGES = [str(page.relative_to(ROOT)) for page in PAGES]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<path>[^)#:\s]*)(?:#(?P<heading>[^)\s]*))?\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
SETTINGS_ROW = re.compile(r"^\| `(?P<key>[\w.]+)` \| [^|]+ \| (?P<default>[^|]+) \|", re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key of the settings holds, or None where it holds a value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def keys(section: type[BaseModel], path: str = "", given: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Every key below a section, with its default as the page writes it; environments are all called NAME."""
    for name, field in section.model_fields.items():
        inner = section_of(field)
        here = f"{path}NAME" if section is Environments else f"{path}{name}"
        default = (given or {}).get(name, field.get_default(call_default_factory=True))
        if inner is None:
            yield here, as_written(default, required=field.is_required() and name not in (given or {}))
        else:
            yield from keys(inner, f"{here}.", default if isinstance(default, dict) else None)


def as_written(default: Any, *, required: bool) -> str:
    """A default as the table of the page has it."""
    if required:
        return "required"
    if default is None:
        return "none"
    value = default.value if isinstance(default, Enum) else default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def test_every_setting_has_a_row_and_every_row_is_a_setting() -> None:
    """Whoever looks a key up finds it, with the default it really has."""

    explained = [(row["key"], row["default"].strip()) for row in SETTINGS_ROW.finditer(text_of("docs/settings.md"))]
    assert sorted(explained) == sorted(set(keys(Settings)))


@pytest.mark.parametrize("page", NAMES_OF_PAGES)
def test_settings_files_shown_can_be_loaded(page: str, tmp_path: Path) -> None:
    """What somebody copies from a page is a settings file without mistakes."""

    for fence in FENCE.finditer(text_of(page)):
        if fence["language"] != "yaml":
            continue
        document = yaml.safe_load(fence["text"])
        for secret in secrets_in(document):
            (tmp_path / secret).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / secret).write_text("a secret\n", encoding="utf-8")
            (tmp_path / secret).chmod(0o600)
        (tmp_path / "settings.yaml").write_text(fence["text"], encoding="utf-8")
        assert load(tmp_path / "settings.yaml", {}).warnings == ()


def secrets_in(value: Any) -> Iterator[str]:
    """The files with secrets that a settings file names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if str(key).endswith(("password_file", "secret_file")):
                yield str(inner)
            else:
                yield from secrets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_in(inner)


def all_steps() -> list[type[RunbookStep]]:
    import steps

    return [getattr(steps, name) for name in steps.__all__]


def test_every_step_has_a_row_under_its_own_name() -> None:
    """What the web page calls a step can be looked up under that name."""

    rows = re.findall(r"^\| `([^`]+)` \| `(s\d\d)` \|", text_of("docs/phases.md"), re.MULTILINE)
    assert sorted(rows) == sorted((step.name, step.__module__.removeprefix("steps.")[:3]) for step in all_steps())


def test_roles_page_says_who_may_force_which_builder() -> None:
    """The page and the rules give each builder to the same roles."""

    rows = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| ([^|]+) \|", text_of("docs/roles.md"), re.MULTILINE)
    assert {builder: set(re.findall(r"`people\.(\w+)`", roles)) for builder, _, roles in rows} == {
        builder.value: {role.value for role in roles} for builder, roles in MAY_FORCE.items()}


def test_every_command_has_a_chapter() -> None:
    """The page of the command line has a heading for each command, in the order of `--help`."""

    chapters = re.findall(r"^## .*`(\w+)`$", text_of("docs/commands.md"), re.MULTILINE)
    assert chapters == list(COMMANDS)


@pytest.mark.parametrize("package", ["downtime", "steps", "steps/shared", "master"])
def test_every_module_is_on_the_map(package: str) -> None:
    """Whoever looks for a module finds what it is for, and what has left the folder has left the map."""

    _, _, chapter = text_of("docs/architecture.md").partition(f"\n### {package}: ")
    cells = re.findall(r"^\| (`.+?) \|", chapter.partition("\n#")[0], re.MULTILINE)
    mapped = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell) if "…" not in name]
    assert sorted(mapped) == sorted(modules_of(package))


def modules_of(package: str) -> Iterator[str]:
    """The modules and subfolders of a package, but for the steps themselves: each has its row in docs/phases.md."""
    for path in (ROOT / package).iterdir():
        if (path / "__init__.py").exists():
            yield f"{path.name}/"
        elif path.suffix == ".py" and not re.match(r"__|s\d\d_", path.name):
            yield path.stem


@pytest.mark.parametrize("page", NAMES_OF_PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """A link to a file of the repository finds the file, and the heading in it."""

    broken = [link[0] for link in LINK.finditer(FENCE.sub("", text_of(page))) if not leads_somewhere(page, link)]
    assert broken == []


def leads_somewhere(page: str, link: re.Match[str]) -> bool:
    target = ((ROOT / page).parent / link["path"]).resolve() if link["path"] else ROOT / page
    if not target.exists():
        return False
    return not link["heading"] or link["heading"] in {
        anchor(heading["text"]) for heading in HEADING.finditer(target.read_text(encoding="utf-8"))}


def anchor(heading: str) -> str:
    """A heading as links name it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
