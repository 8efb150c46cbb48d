"""`faceid config`: every setting, its value, and where it came from."""

import os
import re
from typing import Final, cast

from pydantic import SecretStr
from rich.table import Table

from infra.settings import Settings
from scripts.commands.terminal import Output

_PREFIX = "FACEID_"

_MASK: Final = "********"
_IN_ADDRESS: Final = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
"""Name and password, whatever is in them, and the query, which signs the address of some stores."""


def print_settings(settings: Settings, output: Output) -> None:
    """Print all settings. Keys are named by their files or masked, as is what an address says of who may use
    it."""
    folder = settings.secrets_dir
    in_files = {path.name.upper() for path in folder.iterdir()} if folder.is_dir() else set[str]()
    rows = [
        (
            variable(name),
            _text(getattr(settings, name)),
            _origin(name, in_files),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    if output.as_json:
        output.document({name: {"value": value, "from": origin} for name, value, origin, _ in rows})
        return
    table = Table("setting", "value", "from", "what it is")
    for row in rows:
        table.add_row(*row)
    output.console.print(table)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{_PREFIX}{name.upper()}"


def _origin(name: str, in_files: set[str]) -> str:
    if variable(name) in os.environ:
        return "environment"
    return "file" if variable(name) in in_files else "default"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return _text(secret) if "://" in secret else _MASK
    text = ",".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
    return _IN_ADDRESS.sub(_MASK, text) if "://" in text else text
