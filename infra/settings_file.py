"""Settings of another installation, from a file: lines `FACEID_…=…`, as a shell, docker and systemd take.

Nothing is put in the place of a `$`, and no value goes over several lines.
"""

import re
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource

from infra.settings import Settings

_PREFIX: Final = "FACEID_"
_LINE: Final = re.compile(
    r"""\s*(export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<quote>["']?)(?P<value>.*?)(?P=quote)\s*"""
)


class SettingsFileFault(Exception):
    """The file is not to be read, or says what is no setting. The message repeats no value."""


class _Given(Settings):
    """Settings that take nothing from the environment: what is not given has its default."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = init_settings().get("secrets_dir")
        if folder is None or not Path(str(folder)).is_dir():  # The validator refuses one that is not there.
            return (init_settings,)
        return init_settings, SecretsSettingsSource(settings_cls, secrets_dir=Path(str(folder)))


def read_settings(path: Path) -> Settings:
    """The settings that a file says, and a folder of secrets that it names. Raises SettingsFileFault."""
    given: dict[str, Any] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise SettingsFileFault(f"{path}, line {number}: should be NAME=VALUE")
        name, field = found["name"], found["name"].removeprefix(_PREFIX).lower()
        if not name.startswith(_PREFIX):
            continue  # Somebody else's.
        if field not in Settings.model_fields:
            raise SettingsFileFault(f"{path}, line {number}: there is no setting {name}")
        given[field] = found["value"]
    try:
        return _Given(**given)
    except ValidationError as error:
        raise SettingsFileFault(f"{path}: {'; '.join(faults_of(error))}") from None


def faults_of(error: ValidationError) -> list[str]:
    """What is wrong with settings, a line each: the variable, where it is one alone, and why."""
    return [
        "".join(f"{_PREFIX}{field}: ".upper() for field in fault["loc"][:1])
        + fault["msg"].removeprefix("Value error, ")
        for fault in error.errors()
    ]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SettingsFileFault(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsFileFault(f"{path} can't be read ({type(error).__name__})") from None
