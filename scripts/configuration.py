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
_IN_ADDRESS: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=\?)\S+")
"""Name and password, and the query, which signs the address of some stores."""


def print_settings(settings: Settings, output: Output) -> None:
    """Print all settings. Keys are named by their files; what an address says of who may use it is masked."""
    rows = [
        (
            variable(name),
            _text(getattr(settings, name)),
            "environment" if variable(name) in os.environ else "default",
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


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _MASK
    text = ",".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
    return _IN_ADDRESS.sub(_MASK, text) if "://" in text else text
