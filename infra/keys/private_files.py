"""Small secret files: private from the first byte, whole or absent after a crash, overwritten when
removed."""

import os
import secrets
import stat
from pathlib import Path

from infra.keys.errors import UnsafePermissions

PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(folder: Path) -> None:
    """Make the folder and what is missing above it, each readable by this account alone, durably."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """The file's content. Raises UnsafePermissions if any other account may read or write it."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise UnsafePermissions(path, mode)
        return file.read()


def write_new(path: Path, content: bytes) -> None:
    """Create the file with this content, on disk when this returns. Raises FileExistsError if it is there."""
    temporary = _write_beside(path, content, PRIVATE_FILE)
    try:
        os.link(temporary, path)  # Unlike a rename, a link never replaces.
    finally:
        temporary.unlink()
        sync_folder(path.parent)


def write_over(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Create or replace the file as a whole, on disk when this returns."""
    temporary = _write_beside(path, content, mode)
    temporary.replace(path)
    sync_folder(path.parent)


def shred(path: Path) -> bool:
    """Overwrite and remove the file, and what a crash left while it was written; False if it wasn't there.

    Overwriting reaches the bytes on a plain disk and file system. A flash disk or a file system that copies
    on write may keep the old block for a while: against that, keep these files on an encrypted volume.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        _overwrite_and_unlink(leftover)
    existed = _overwrite_and_unlink(path)
    sync_folder(path.parent)
    return existed


def sync_folder(folder: Path) -> None:
    """Make the creations, renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _overwrite_and_unlink(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    path.unlink(missing_ok=True)
    return True
