"""A server that speaks MongoDB's protocol, for tests: MongoDB itself where a container engine answers, else
SecantusDB, which keeps its data with MongoDB's own storage engine and is a replica set of one.

SecantusDB is a test tool under the GPL: it is run as a process, from an environment of its own, and never
imported.
"""

import secrets
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pymongo
from pymongo.errors import PyMongoError

from infra.settings import PROJECT_ROOT
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.engine import (
    Container,
    Process,
    Running,
    Server,
    fetched,
    free_port,
    has_container_engine,
    until_listening,
)

VERSION: Final = "0.7.0b3"
USER: Final = "faceid"
PASSWORD: Final = "p@ss w/rd for tests"
SERVICE: Final = "faceid-service"
"""Who reads and writes, with the same password, and may make and drop nothing."""

_SERVICE_MAY: Final = ("find", "insert", "update", "remove", "listIndexes")
_IMAGE: Final = "mongo:8.0.16"
_LOCK: Final = PROJECT_ROOT / "requirements" / "secantus.lock"
_UP_S: Final = 60


@dataclass
class MongoServer(Server):
    """A server in a folder of its own, plain or locked (TLS and a password)."""

    folder: Path
    port: int
    certificates: Certificates | None = None
    by: Running | None = field(default=None, init=False, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        if self.certificates is None:
            return f"mongodb://{self.address}/?directConnection=true"
        return self.url_as(USER, PASSWORD)

    def url_as(self, user: str, password: str) -> str:
        """The URL of a locked server for somebody."""
        return f"mongodb://{user}:{quote(password, safe='')}@{self.address}/?tls=true&directConnection=true"

    def restart(self) -> None:
        """Return once it may be written to."""
        super().restart()
        deadline = time.monotonic() + _UP_S
        while not self._is_primary():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no primary on {self.address}")
            time.sleep(0.02)

    def client(self, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of a test's own."""
        if self.certificates is not None:
            options["tlsCAFile"] = str(self.certificates.ca)
        return pymongo.MongoClient(self.url, serverSelectionTimeoutMS=2000, journal=True, **options)

    def _is_primary(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.admin.command("hello").get("isWritablePrimary"))
        except PyMongoError:
            return False


def fetch() -> Path:
    """The folder of the environment that SecantusDB is in."""
    return fetched(f"secantus-{VERSION}", _build)


@contextmanager
def running(folder: Path, *, locked: bool = False, up: bool = True) -> Generator[MongoServer]:
    """A server that lies in an empty folder. With `up=False` it comes up only when it is restarted."""
    server = _made(folder)
    try:
        if locked:
            _lock(server)
        if up:
            server.restart()
        yield server
    finally:
        server.stop()


def _made(folder: Path) -> MongoServer:
    """A server that is there and was never started, or was and is stopped."""
    (folder / "data").mkdir(parents=True)
    server = MongoServer(folder, free_port())
    server.by = _runs(server)
    if has_container_engine():
        server.by.start()
        until_listening(server.port)
        with server.client() as client:
            client.admin.command("replSetInitiate", {"_id": "tests", "members": [_member(server)]})
        server.stop()
    return server


def _lock(server: MongoServer) -> None:
    """From the next start on, let nobody in but two users, over TLS."""
    server.restart()
    with server.client() as client:
        roles = [{"role": "readWriteAnyDatabase", "db": "admin"}]
        client.admin.command("createUser", USER, pwd=PASSWORD, roles=roles)
        anywhere = {"resource": {"db": "", "collection": ""}, "actions": list(_SERVICE_MAY)}
        client.admin.command("createRole", "service", privileges=[anywhere], roles=[])
        client.admin.command("createUser", SERVICE, pwd=PASSWORD, roles=[{"role": "service", "db": "admin"}])
    server.stop()
    server.certificates = make_certificates(server.folder / "certificates")
    server.by = _runs(server)


def _runs(server: MongoServer) -> Running:
    """By its own clock it removes nothing: tests decide what time it is."""
    data, port, made = str(server.folder / "data"), str(server.port), server.certificates
    if has_container_engine():
        options = ["--bind_ip", "127.0.0.1", "--port", port, "--dbpath", data, "--replSet", "tests"]
        options += ["--setParameter", "ttlMonitorEnabled=false"]
        if made is not None:
            key = server.folder / "members.key"
            key.write_text(secrets.token_hex(32))
            key.chmod(0o600)
            options += ["--auth", "--keyFile", str(key), "--tlsMode", "requireTLS"]
            options += ["--tlsCertificateKeyFile", str(made.both("server")), "--tlsCAFile", str(made.ca)]
            options += ["--tlsAllowConnectionsWithoutCertificates"]
        return Container(_IMAGE, ("mongod", *options), [server.folder])
    configuration = server.folder / "server.toml"
    configuration.write_text('[storage]\ncache_size = "64M"\nttl_sweep_seconds = 0.0\n')
    options = ["--config", str(configuration), "--host", "127.0.0.1", "--port", port, "--storage-path", data]
    if made is not None:
        options += ["--auth", "--tls-cert-file", str(made.certificate("server"))]
        options += ["--tls-key-file", str(made.key("server"))]
    python = str(fetch() / "bin" / "python")
    return Process((python, "-m", "secantus", *options), server.folder / "server.log")


def _member(server: MongoServer) -> dict[str, Any]:
    return {"_id": 0, "host": server.address}


def _build(home: Path) -> None:
    uv = (sys.executable, "-m", "uv")
    _run(*uv, "venv", "--quiet", "--python", sys.executable, str(home))
    python = str(home / "bin" / "python")
    _run(*uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", "--no-build", str(_LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
