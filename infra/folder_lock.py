"""One owner a data folder: a second service on the same folder is refused, not run. And one at a time, where
several may share a folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.durable_files import make_private_folders


class FolderInUse(Exception):
    """Another process owns the folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(f"{folder} is in use by another faceid process{holder}; stop that one first")


class FolderLock:
    """Holds a folder until closed. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        make_private_folders(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise FolderInUse(folder, f" (process {holder})" if holder.isdigit() else "") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def held_lock(path: Path) -> Generator[None]:
    """Have the block to oneself among all who lock this file; waits, so call it in a thread."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
