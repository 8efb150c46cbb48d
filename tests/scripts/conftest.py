"""The client's tests use the ingress as its own tests do: real HTTPS over real stores."""

import pytest

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
def servers() -> None:
    """The client does not know which stores there are: embedded ones."""
