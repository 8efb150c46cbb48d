"""The service as a process of its own, as a person would start it: for the demonstration, the benchmarks and
the tests."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 40.0


class ServiceNotStarted(Exception):
    """The service ended, or said nothing in time; its own words are in its log."""


@dataclass
class ServiceProcess:
    """`faceid serve`, or a part of it, with all that it keeps under one folder. `log_file` gets what it says
    on standard error."""

    home: Path
    log_file: Path
    extra_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    command: str = "serve"
    """Which process it is: `serve`, or `ingress` or `worker`, which share their stores with others."""
    program: str = "scripts.cli"
    """The module that is run: the `faceid` command, or something around it."""
    url: str = ""
    _process: asyncio.subprocess.Process | None = None

    @property
    def ca_file(self) -> Path:
        return self.home / "tls" / "ca.pem"

    @property
    def settings(self) -> dict[str, str]:
        """What puts it under `home`, on a free port, unless told otherwise: environment variables and their
        values."""
        return {
            "FACEID_DATA_DIR": str(self.home / "data"),
            "FACEID_MASTER_KEY_FILE": str(self.home / "keys" / "master.key"),
            "FACEID_KEY_STORE": f"file:{self.home / 'keys' / 'companies'}",
            "FACEID_TLS_DIR": str(self.home / "tls"),
            "FACEID_LISTEN": "127.0.0.1:0",
            **self.extra_environment,
        }

    async def set_up(self) -> None:
        """Make keys and certificate, and the weights if they are not there: before the first start."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._faceid("setup"), env=self._environment, stdout=log, stderr=log
            )
        try:
            status = await process.wait()
        finally:
            await _killed(process)  # It is ended already, unless the wait was cancelled.
        if status != 0:
            raise ServiceNotStarted(f"`faceid setup` failed; see {self.log_file}")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceNotStarted("the service is not running")
        return self._process.pid

    async def start(self) -> None:
        """Set up, start, and return when it is ready. A start that is cancelled leaves no process behind."""
        if not self.ca_file.exists():
            await self.set_up()
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._faceid(self.command), env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        try:
            self.url = await self._ready(self._process)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> int:
        """End it in good order (SIGTERM); its exit status."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """End it as a power cut would, as far as a process can (SIGKILL)."""
        return await self._end(signal.SIGKILL)

    async def _end(self, by: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(by)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await process.wait()
        except TimeoutError:
            return await _killed(process)
        except asyncio.CancelledError:
            await _killed(process)
            raise

    async def _ready(self, process: asyncio.subprocess.Process) -> str:
        """Its address, once it says that it is ready; empty for a process that has none."""
        if process.stdout is None:
            raise ServiceNotStarted("the service has no output to read")
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = (await process.stdout.readline()).decode()
        except TimeoutError as error:
            raise ServiceNotStarted(f"the service was not ready in {_START_TIMEOUT_S:g} s") from error
        if not line:
            raise ServiceNotStarted(f"the service did not start; see {self.log_file}")
        return next((word for word in line.split() if word.startswith("https://")), "")

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings}

    def _faceid(self, command: str) -> tuple[str, ...]:
        return sys.executable, "-m", self.program, command


async def _killed(process: asyncio.subprocess.Process) -> int:
    """End it at once if it has not ended; its exit status."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    return await process.wait()
