"""`faceid config`: every setting, its value, and where it came from."""

import json
import os
from typing import cast

from rich.console import Console
from rich.table import Table

from infra.settings import Settings

_PREFIX = "FACEID_"


def print_settings(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print all settings; none of them is a secret itself, keys are named by their files."""
    rows = [
        (
            variable(name),
            _text(getattr(settings, name)),
            "environment" if variable(name) in os.environ else "default",
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        console.print_json(
            json.dumps({name: {"value": value, "from": origin} for name, value, origin, _ in rows})
        )
        return
    table = Table("setting", "value", "from", "what it is")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{_PREFIX}{name.upper()}"


def _text(value: object) -> str:
    if value is None:
        return ""
    return ",".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
