"""A disk that can be filled, under a server of the tests: a file system in memory, of a size of its own,
which only that server and the test see."""

import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from tests.servers.engine import Process, Server

_SCRIPT: Final = """set -e
mkdir -p "$1.disk"
mount -t tmpfs -o size="$2" none "$1.disk"
cp -a "$1/." "$1.disk/"
mount --bind "$1.disk" "$1"
echo mounted
exec sleep infinity
"""
_FILLER: Final = "filler"
_CHUNK: Final = bytes(2**16)


@dataclass(frozen=True)
class SmallDisk:
    """It lasts as long as its keeper, a process in whose namespace it is mounted."""

    keeper: int
    folder: Path

    def fill(self) -> None:
        """Leave room for nothing."""
        descriptor = os.open(self._seen / _FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for chunk in (_CHUNK, bytes(1)):
                while True:
                    try:
                        os.write(descriptor, chunk)
                    except OSError:
                        break
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Take away what `fill` has written, as an operator or a retention would."""
        (self._seen / _FILLER).unlink()

    def command(self, command: Sequence[str]) -> tuple[str, ...]:
        """The same command, for a process that sees the disk."""
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        return ("nsenter", f"--target={self.keeper}", "--mount", *user, "--", *command)

    @property
    def _seen(self) -> Path:
        return Path(f"/proc/{self.keeper}/root{self.folder}")


@contextmanager
def small_disk(server: Server, folder: Path, size_bytes: int) -> Generator[SmallDisk]:
    """Put what is in `folder` on a disk of its own; the server, which does not run yet, will see it there.

    The test is skipped where nothing may be mounted.
    """
    if not isinstance(server.by, Process):
        pytest.skip("no small disk: the server is a container")
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("no small disk: no unshare")
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = ("unshare", *user, "--mount", "--", "sh", "-c", _SCRIPT, "sh", str(folder), str(size_bytes))
    keeper = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        assert keeper.stdout is not None
        if keeper.stdout.readline() != b"mounted\n":
            pytest.skip("no small disk: nothing may be mounted")
        disk = SmallDisk(keeper.pid, folder)
        server.by = replace(server.by, command=disk.command(server.by.command))
        yield disk
    finally:
        # Whoever still runs on it would keep it.
        server.stop()
        keeper.kill()
        keeper.communicate()
