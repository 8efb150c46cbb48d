"""The servers that the contracts run on, one start for all tests."""

import os
from collections.abc import Iterator

import pytest

from tests.servers import secantus


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of FACEID_TEST_MONGODB_URL, or of a server that is started for the tests."""
    given = os.environ.get("FACEID_TEST_MONGODB_URL")
    if given:
        yield given
        return
    with secantus.running(tmp_path_factory.mktemp("mongodb")) as server:
        yield server.url
