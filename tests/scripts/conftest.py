"""The client's tests use the ingress as its own tests do: real HTTPS over real stores."""

from pathlib import Path

import pytest

from scripts.profiles import Profile
from tests.ingress.conftest import Client as Ingress
from tests.ingress.conftest import (
    client,
    clock,
    impatient_server,
    overrides,
    services,
    settings,
    stranger,
    tls_folder,
    worker,
)

__all__ = [
    "client",
    "clock",
    "impatient_server",
    "overrides",
    "services",
    "settings",
    "stranger",
    "tls_folder",
    "worker",
]


@pytest.fixture
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where profiles are kept; nothing of who runs the test is read."""
    for name in ("URL", "CA_FILE", "API_KEY", "PROFILE"):
        monkeypatch.delenv(f"FACEID_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "faceid"


@pytest.fixture
def logged_in(config_home: Path, client: Ingress, tls_folder: Path) -> Ingress:
    """Whom the commands are for: an admin."""
    Profile(
        url=client.base_url,
        ca_file=str(tls_folder / "ca.pem"),
        access_token=client.token,
        refresh_token=client.refresh_token,
    ).save()
    return client


@pytest.fixture
def servers() -> None:
    """The client does not know which stores there are: embedded ones."""
