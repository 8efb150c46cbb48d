"""A real S3 server for tests: versitygw over a folder, with or without TLS.

It is built by Go, which checks what it fetches against its public database of hashes.
`FACEID_TEST_S3_ENDPOINT` names another server instead (with `FACEID_TEST_S3_ACCESS_KEY` and
`FACEID_TEST_S3_SECRET_KEY`), whose certificate the system must trust.
"""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from infra.objects.s3_place import S3Place
from tests.servers.certificates import make_certificates
from tests.servers.engine import (
    Container,
    Process,
    Running,
    Server,
    fetched,
    free_port,
    has_container_engine,
    required,
)

VERSION: Final = "1.8.0"

_PACKAGE: Final = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
_IMAGE: Final = f"versity/versitygw:v{VERSION}"
_ACCESS_KEY: Final = "tests"
_SECRET_KEY: Final = "a secret for tests"
_ELSEWHERE: Final = "FACEID_TEST_S3"


@dataclass
class S3Server(Server):
    """A server in a folder of its own, or one that somebody else runs (`by` is None: it can't be stopped)."""

    endpoint: str
    access_key: str = _ACCESS_KEY
    secret_key: str = field(default=_SECRET_KEY, repr=False)
    ca_file: Path | None = None
    port: int = 0
    by: Running | None = None

    def place(self, bucket: str | None = None) -> S3Place:
        """A bucket of it, by default one that nobody else uses. It is not made by this."""
        return S3Place(
            bucket=bucket or f"tests-{uuid4()}",
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=SecretStr(self.secret_key),
            ca_file=self.ca_file,
        )

    def settings(self, bucket: str) -> dict[str, str]:
        """The environment of a service that keeps its objects there."""
        ca_file = {} if self.ca_file is None else {"FACEID_S3_CA_FILE": str(self.ca_file)}
        return {
            "FACEID_OBJECTS": "s3",
            "FACEID_S3_ENDPOINT": self.endpoint,
            "FACEID_S3_BUCKET": bucket,
            "FACEID_S3_ACCESS_KEY": self.access_key,
            "FACEID_S3_SECRET_KEY": self.secret_key,
            **ca_file,
        }


def fetch() -> Path:
    """The program. Raises ServerMissing."""
    if has_container_engine():
        return Path(_IMAGE)
    go = required("go", "Go")
    return fetched(f"versitygw-{VERSION}", lambda folder: _build(go, folder)) / "versitygw"


@contextmanager
def given_or_running(folder: Path) -> Generator[S3Server]:
    """The server that the environment names, or else one that lies in an empty folder."""
    endpoint = os.environ.get(f"{_ELSEWHERE}_ENDPOINT")
    if endpoint is None:
        with running(folder) as server:
            yield server
    else:
        yield S3Server(
            endpoint,
            os.environ.get(f"{_ELSEWHERE}_ACCESS_KEY", _ACCESS_KEY),
            os.environ.get(f"{_ELSEWHERE}_SECRET_KEY", _SECRET_KEY),
        )


@contextmanager
def running(folder: Path, *, tls: bool = False, up: bool = True) -> Generator[S3Server]:
    """A server that lies in an empty folder. With `up=False` it comes up only when it is restarted."""
    server = _lay_out(folder, fetch(), tls=tls)
    try:
        if up:
            server.restart()
        yield server
    finally:
        server.stop()


def _lay_out(folder: Path, program: Path, *, tls: bool) -> S3Server:
    port = free_port()
    arguments = ["--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive"]
    ca_file = None
    if tls:
        certificates = make_certificates(folder / "certificates")
        arguments += ["--cert", str(certificates.certificate("server"))]
        arguments += ["--key", str(certificates.key("server"))]
        ca_file = certificates.ca
    for part in ("iam", "data", "versions"):
        (folder / part).mkdir(parents=True)
    arguments += ["--iam-dir", str(folder / "iam"), "posix"]
    arguments += ["--versioning-dir", str(folder / "versions"), str(folder / "data")]
    environment = {"ROOT_ACCESS_KEY": _ACCESS_KEY, "ROOT_SECRET_KEY": _SECRET_KEY}
    by: Running
    if has_container_engine():
        by = Container(_IMAGE, arguments, [folder], environment)
    else:
        by = Process([str(program), *arguments], folder / "server.log", environment)
    return S3Server(f"http{'s' if tls else ''}://127.0.0.1:{port}", ca_file=ca_file, port=port, by=by)


def _build(go: str, folder: Path) -> None:
    command = (go, "install", "-trimpath", "-ldflags=-s -w", _PACKAGE)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "GOBIN": str(folder)}
    )
    if done.returncode:
        raise RuntimeError(f"versitygw could not be built: {done.stderr}")
