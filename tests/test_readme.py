"""What the README says is held against the code."""

import re
from pathlib import Path

from infra.settings import PROJECT_ROOT, Settings

README = (PROJECT_ROOT / "README.md").read_text()


def settings_table() -> str:
    """The table of all settings, as the README must have it."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "one per core, at most 8" if field.default_factory else _shown(field.default)
        rows.append(f"| `FACEID_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def _shown(value: object) -> str:
    if value is None or value == ():
        return ""
    path = Path(str(value).removeprefix("file:"))
    if path.is_relative_to(PROJECT_ROOT):
        prefix = "file:" if str(value).startswith("file:") else ""
        return f"`{prefix}{path.relative_to(PROJECT_ROOT)}`"
    return f"`{value}`"


def test_every_setting_is_in_the_table_as_it_is() -> None:
    table = settings_table()
    assert table in README, f"put this into README.md, under Settings:\n\n{table}"


def test_every_target_that_the_readme_names_exists() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", README)) | set(
        re.findall(r"^make ([a-z]+)", README, re.MULTILINE)
    )
    assert named <= targets
    assert {"demo", "test", "serve", "check", "lint", "clean", "help"} <= named


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"`((?:infra|ingress|schemas|scripts|workers|tests)/[\w./*]*)`", README)
    assert named
    for path in named:
        assert list(PROJECT_ROOT.glob(path)), f"README.md names {path}, which is not there"
