"""Small secret files: private from the first byte, whole or absent after a crash, overwritten when
removed."""

import os
import secrets
import stat
from pathlib import Path

from infra.durable_files import sync
from infra.keys.errors import UnsafePermissions

PRIVATE_FILE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


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
        sync(path.parent)


def write_over(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Create or replace the file as a whole, on disk when this returns."""
    temporary = _write_beside(path, content, mode)
    temporary.replace(path)
    sync(path.parent)


def shred(path: Path) -> bool:
    """Overwrite and remove the file, and what a crash left while it was written; False if it wasn't there.

    Overwriting reaches the bytes on a plain disk and file system. A flash disk or a file system that copies
    on write may keep the old block for a while: against that, keep these files on an encrypted volume.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        _overwrite_and_unlink(leftover)
    existed = _overwrite_and_unlink(path)
    sync(path.parent)
    return existed


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
