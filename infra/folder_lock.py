"""One owner a data folder: a second service on the same folder is refused, not run."""

import fcntl
import os
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
