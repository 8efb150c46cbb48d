"""What deployment files may name: settings and commands as the program has them."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import typer.main
from typer.core import TyperGroup

from infra.settings import PROJECT_ROOT, Settings
from scripts.cli import app

PREFIX: Final = "FACEID_"
FIELDS: Final = Settings.model_fields
GRACE_S: Final = FIELDS["drain_s"].default + 5
"""How long a container must be given to stop: what it takes to drain, and a little more."""

USER: Final = "10001:10001"

# What the deployment files need and is built beside them: each goes from here when it is there.
AWAITED_COMMANDS: Final[frozenset[str]] = frozenset()
AWAITED_SETTINGS: Final[frozenset[str]] = frozenset()


def check_settings(given: Mapping[str, str], where: str) -> None:
    """Every `FACEID_*` variable is a setting, and its value one that it takes."""
    names = {name.removeprefix(PREFIX).lower(): name for name in given if name.startswith(PREFIX)}
    unknown = names.keys() - FIELDS.keys() - AWAITED_SETTINGS
    assert not unknown, f"{where}: {sorted(unknown)} are no settings"
    # A folder that is asked for must be there, and that of the container is not.
    values = {field: given[name] for field, name in names.items() if field != "secrets_dir"}
    # Passwords, and addresses that hold one, come from files, the rest from the environment.
    in_files = {"mongodb_url": "mongodb://from-a-file/"}
    if {"kafka_user", "kafka_password"} & values.keys():
        in_files |= {"kafka_user": "elsewhere", "kafka_password": "elsewhere"}
    Settings.model_validate(
        {**in_files, **{field: value for field, value in values.items() if "$" not in value}}
    )


def check_command(words: Sequence[str], where: str) -> None:
    """The words after `faceid` are a command line that it takes."""
    command, rest = typer.main.get_command(app), list(words)
    while isinstance(command, TyperGroup):
        if rest[:1] and rest[0] in AWAITED_COMMANDS:
            return
        assert rest, f"{where}: faceid {words} is no whole command"
        assert rest[0] in command.commands, f"{where}: there is no faceid {rest[0]}"
        command = command.commands[rest.pop(0)]
    command.make_context("faceid", rest)  # raises for an option that is not there, or a value it refuses


def check_image(image: str, where: str) -> None:
    """An image of others is pinned to a release, one of ours to the program's version."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    assert name, f"{where}: {image} has no tag"
    if name.rpartition("/")[2].startswith("faceid-"):
        assert tag == version(), f"{where}: {image} is not of version {version()}"
    else:
        assert tag.removeprefix("v").count(".") >= 2, f"{where}: {image} floats"
        assert tag.removeprefix("v")[0].isdigit(), f"{where}: {image} floats"


def version() -> str:
    """The program's, as pyproject.toml has it."""
    return tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def port_of(setting: str, given: Iterable[tuple[str, str]]) -> int:
    """The port of an `address:port` setting, as given or as it is unless given."""
    value = dict(given).get(f"{PREFIX}{setting.upper()}") or FIELDS[setting].default
    return int(str(value).rpartition(":")[2])
