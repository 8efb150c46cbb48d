"""A Qdrant server for tests: one that is given, one in a container, or the stand-in of `qdrant_stand_in`."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from infra.vectors.qdrant_calls import QdrantAddress
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.engine import (
    Container,
    Process,
    Running,
    free_port,
    has_container_engine,
    until_listening,
)
from tests.servers.qdrant_stand_in import KEY_VARIABLE

API_KEY: Final = "a key for tests"

_IMAGE: Final = "qdrant/qdrant:v1.18.0"
_URL: Final = "FACEID_TEST_QDRANT_URL"


@dataclass(frozen=True)
class QdrantServer:
    """A server and how it is reached. `running` is None for one that is not ours to stop."""

    address: QdrantAddress
    port: int
    running: Running | None
    certificates: Certificates | None = None

    def start(self) -> None:
        """Returns when it answers."""
        if self.running is not None:
            self.running.start()
            until_listening(self.port)

    def kill(self) -> None:
        """End it as a power failure of its process would."""
        if self.running is not None:
            self.running.kill()

    def restart(self) -> None:
        """Kill it, and have it again on the same data."""
        self.kill()
        self.start()


@contextmanager
def stand_in(
    folder: Path, *, key: bool = False, tls: bool = False, started: bool = True
) -> Generator[QdrantServer]:
    """The stand-in, with its data in a folder; wanting `API_KEY`, and speaking TLS, where told to."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates = make_certificates(folder / "tls") if tls else None
    port = free_port()
    command = [sys.executable, "-m", "tests.servers.qdrant_stand_in", "--folder", str(folder)]
    command += ["--port", str(port)]
    if certificates is not None:
        command += ["--certificate", str(certificates.certificate("server"))]
        command += ["--private-key", str(certificates.key("server"))]
    environment = {KEY_VARIABLE: API_KEY} if key else {}
    running = Process(command, folder / "server.log", environment)
    address = _address(port, key=key, certificates=certificates)
    with _until_end(QdrantServer(address, port, running, certificates), started=started) as server:
        yield server


@contextmanager
def real(folder: Path) -> Generator[QdrantServer]:
    """A real server; the test is skipped, in words, where there is none."""
    url = os.environ.get(_URL)
    if url is not None:
        yield QdrantServer(QdrantAddress(url), 0, None)
        return
    if not has_container_engine():
        pytest.skip(f"no Qdrant server: set {_URL} to one's gRPC address")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__GRPC_PORT": str(port),
        "QDRANT__SERVICE__HTTP_PORT": str(free_port()),
        "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
        "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
        "QDRANT__TELEMETRY_DISABLED": "true",
    }
    running = Container(_IMAGE, ["./qdrant"], [folder], environment)
    with _until_end(QdrantServer(_address(port), port, running), started=True) as server:
        yield server


@contextmanager
def preferred(folder: Path) -> Generator[QdrantServer]:
    """A real server where one can be had, else the stand-in."""
    is_real = _URL in os.environ or has_container_engine()
    with real(folder) if is_real else stand_in(folder) as server:
        yield server


@contextmanager
def _until_end(server: QdrantServer, *, started: bool) -> Generator[QdrantServer]:
    try:
        if started:
            server.start()
        yield server
    finally:
        if server.running is not None:
            server.running.stop()


def _address(port: int, *, key: bool = False, certificates: Certificates | None = None) -> QdrantAddress:
    return QdrantAddress(
        f"{'http' if certificates is None else 'https'}://127.0.0.1:{port}",
        api_key=API_KEY if key else None,
        ca_file=None if certificates is None else certificates.ca,
    )
