"""How a server of the tests is run: in a container where an engine answers, else as a process of this
machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, Final

import pytest

from infra.settings import Settings

_SOCKET: Final = "/var/run/docker.sock"
_STOP_S: Final = 10
_UP_S: Final = 60


class ServerMissing(Exception):
    """This machine can't have a server; the message says for want of what (`no Java`, `no Go`)."""


def or_skip(path: Callable[[], Path]) -> Path:
    """What `path` answers; the test is skipped, in words, where that can't be had."""
    try:
        return path()
    except ServerMissing as missing:
        pytest.skip(str(missing))


def fetched(name: str, build: Callable[[Path], None]) -> Path:
    """The folder of a server, named with its version: built once, kept below the cache folder.

    It is built elsewhere and then renamed, so that one which is there is whole.
    """
    folder = Settings().cache_dir / "servers" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(mkdtemp(prefix=f"{name}.", dir=folder.parent))
        try:
            build(building)
            # Where another run was faster, its folder stays.
            with contextlib.suppress(OSError):
                building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def required(tool: str, name: str) -> str:
    """The path of a tool. Raises ServerMissing, which calls it by `name`."""
    found = shutil.which(tool)
    if found is None:
        raise ServerMissing(f"no {name}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@cache
def has_container_engine() -> bool:
    """Whether a container engine answers on its usual socket."""
    connection = HTTPConnection("localhost", timeout=2)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(2)
        connection.sock.connect(_SOCKET)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


class Running(ABC):
    """A server that runs, by whatever means."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """End it as an operator would."""

    @abstractmethod
    def kill(self) -> None:
        """End it as a power failure would."""

    @abstractmethod
    def pause(self) -> None:
        """It answers nothing until `go_on`, and its connections stay."""

    @abstractmethod
    def go_on(self) -> None: ...


@dataclass
class Process(Running):
    """A process of this machine. Children inherit PYTEST_RUN_ID, so one left behind is found."""

    command: Sequence[str]
    log_file: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log: IO[bytes]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


@dataclass
class Container(Running):
    """A container on the machine's own network, with its files in folders of this machine: ports and data are
    those that a process would have."""

    image: str
    command: Sequence[str]
    folders: Sequence[Path]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _container: Any = None

    def start(self) -> None:
        # What this imports is slow to load, and needed only where an engine answers.
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        if self._container is None:
            container = DockerContainer(self.image, env=dict(self.environment), network_mode="host")
            container.with_command(list(self.command))
            for folder in self.folders:
                container.with_volume_mapping(str(folder), str(folder), "rw")
            container.with_kwargs(user=f"{os.getuid()}:{os.getgid()}")
            self._container = container.start()
        else:
            self._container.get_wrapped_container().start()

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = None

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def go_on(self) -> None:
        self._container.get_wrapped_container().unpause()


class Server:
    """A server that tests may end and have again on the same data."""

    by: Running | None
    """What runs it; None for one that somebody else does: it can't be stopped."""
    port: int
    """Where it listens once it is up."""

    def kill(self) -> None:
        if self.by is not None:
            self.by.kill()

    def restart(self) -> None:
        """Start again on the same data and port, after `kill` or `stop`."""
        if self.by is not None:
            self.by.start()
            until_listening(self.port)

    def stop(self) -> None:
        if self.by is not None:
            self.by.stop()

    def pause(self) -> None:
        if self.by is not None:
            self.by.pause()

    def go_on(self) -> None:
        if self.by is not None:
            self.by.go_on()


def until_listening(port: int) -> None:
    """Return once somebody accepts connections on a port of loopback."""
    deadline = time.monotonic() + _UP_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
