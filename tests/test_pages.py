"""What the README and the pages in `docs/` say is held against the code."""

import re
from pathlib import Path
from typing import cast

import pytest
import typer.main
from typer.core import TyperGroup

from infra.settings import PROJECT_ROOT, Settings
from ingress.routes import ROUTES
from schemas.access import KEY_SCOPES, ROLE_SCOPES, Role, Scope
from schemas.problem_types import PROBLEM_TYPES
from scripts.cli import app

PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(PROJECT_ROOT).as_posix(): page.read_text() for page in PAGES}
MAX_LINE = 120
OF_CLIENTS = {"FACEID_URL", "FACEID_CA_FILE", "FACEID_API_KEY", "FACEID_PROFILE"}
"""Settings of whoever calls the service, not of the service."""

every_page = pytest.mark.parametrize("name", TEXTS)


def settings_table() -> str:
    """The table of all settings, as docs/operating.md must have it."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "one per core, at most 8" if field.default_factory else _shown(field.default)
        rows.append(f"| `FACEID_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def _shown(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, cast('tuple[object, ...]', value)))}`"
    path = Path(str(value).removeprefix("file:"))
    if path.is_relative_to(PROJECT_ROOT):
        prefix = "file:" if str(value).startswith("file:") else ""
        return f"`{prefix}{path.relative_to(PROJECT_ROOT)}`"
    return f"`{value}`"


def test_every_setting_is_in_the_table_as_it_is() -> None:
    table = settings_table()
    assert table in TEXTS["docs/operating.md"], f"put this into docs/operating.md, under Settings:\n\n{table}"


@every_page
def test_every_variable_that_a_page_names_is_read(name: str) -> None:
    known = {f"FACEID_{setting.upper()}" for setting in Settings.model_fields} | OF_CLIENTS
    assert set(re.findall(r"FACEID_[A-Z0-9_]+", TEXTS[name])) <= known


def test_the_table_of_scopes_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z:]+)` \|[^|]*\|([^\n]*)\|$", TEXTS["docs/api.md"], re.MULTILINE)
    told = {scope: [bool(cell.strip()) for cell in cells.split("|")] for scope, cells in rows}
    roles = (Role.ADMIN, Role.STAFF, Role.AUDITOR)
    assert told == {
        str(scope): [*(scope in ROLE_SCOPES[role] for role in roles), scope in KEY_SCOPES] for scope in Scope
    }


def test_every_target_that_the_readme_names_exists() -> None:
    readme = TEXTS["README.md"]
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", readme)) | set(
        re.findall(r"^make ([a-z]+)", readme, re.MULTILINE)
    )
    assert named <= targets
    assert {"demo", "test", "serve", "check", "lint", "clean", "help"} <= named


@every_page
def test_every_file_that_a_page_names_exists(name: str) -> None:
    for path in re.findall(r"`((?:infra|ingress|schemas|scripts|workers|tests)/[\w./*]*)`", TEXTS[name]):
        assert list(PROJECT_ROOT.glob(path)), f"{name} names {path}, which is not there"


@every_page
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        path, _, anchor = target.partition("#")
        page = (PROJECT_ROOT / name).parent / path if path else PROJECT_ROOT / name
        assert page.is_file(), f"{name} links to {target}"
        titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        assert not anchor or anchor in {_anchor(title) for title in titles}, f"{name} links to {target}"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@every_page
def test_every_command_that_a_page_names_exists_with_its_options(name: str) -> None:
    """In running text and, a line each, in blocks of shell."""
    text = TEXTS[name]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    told = re.findall(r"`faceid ([^`]+)`", text) + re.findall(r"^faceid ([^#\n]*)", blocks, re.MULTILINE)
    for line in told:
        command, words = typer.main.get_command(app), line.split()
        while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
            if words[0] == "COMMAND":
                break
            assert words[0] in command.commands, f"{name}: faceid {line}"
            command = command.commands[words.pop(0)]
        known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
        assert {word for word in words if word.startswith("-")} <= known, f"{name}: faceid {line}"


@every_page
def test_every_operation_that_a_page_names_is_served(name: str) -> None:
    served = {(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in ROUTES}
    for method, path in re.findall(r"`(GET|POST|PATCH|PUT|DELETE) (/[^`?\s]*)[^`]*`", TEXTS[name]):
        assert (method, path) in served, f"{name} names {method} {path}"


@every_page
def test_every_code_beside_its_status_is_that_of_the_problem(name: str) -> None:
    for status, code in re.findall(r"\b([45]\d\d)\s`(\w+)`", TEXTS[name]):
        assert PROBLEM_TYPES[code].status == int(status), f"{name} has {status} for {code}"


@every_page
def test_lines_are_as_long_as_they_are_read(name: str) -> None:
    """All but those that can't be broken: in tables and in blocks."""
    running = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)
    assert [line for line in running.splitlines() if len(line) > MAX_LINE and not line.startswith("|")] == []


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+)", TEXTS["README.md"]))
    assert linked == set(TEXTS) - {"README.md"}
