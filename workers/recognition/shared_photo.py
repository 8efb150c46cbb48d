"""Memory in which one process leaves a photo for another, who leaves its pixels there: no name, no file.

It belongs to whoever has it open, so that nothing of it is left when they are gone. It can't grow or shrink,
so what one process does to it never takes the ground from under the other. Through a socket, a megabyte would
be some ten turns between the two."""

import fcntl
import mmap
import os
from contextlib import suppress
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from schemas.recognition import PhotoLimits

_CHANNELS: Final = 3
_KEPT_BYTES: Final = 8 * 2**20
"""So much of the pixels stays in memory from photo to photo (1080p has 6 MB); what a larger one took is given
back."""
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedPhoto:
    """Room for one photo and its pixels, RGB; it takes memory only where something was written."""

    def __init__(self, fd: int, limits: PhotoLimits) -> None:
        """Map what `create` made with the same limits, in a process that inherited its descriptor."""
        self.fd = fd
        self._photo_room = _photo_room(limits)
        self._memory = mmap.mmap(fd, self._photo_room + limits.max_pixels * _CHANNELS)

    @classmethod
    def create(cls, limits: PhotoLimits) -> Self:
        fd = os.memfd_create("faceid-photo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _photo_room(limits) + limits.max_pixels * _CHANNELS)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return cls(fd, limits)

    def write_photo(self, photo: bytes) -> None:
        """Leave a photo, no larger than the limits have it, for the other process."""
        self._memory[: len(photo)] = photo

    def read_photo(self, size: int) -> bytes:
        return self._memory[:size]

    def write_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Leave pixels, uint8 [height, width, 3], for the other process."""
        np.copyto(self.pixels(*pixels.shape[:2]), pixels)

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """The pixels as they lie there: they hold until the next photo."""
        size = height * width * _CHANNELS
        flat = np.frombuffer(self._memory, np.uint8, size, self._photo_room)
        return flat.reshape(height, width, _CHANNELS)

    def give_back(self) -> None:
        """Return to the system what a large photo took."""
        start = self._photo_room + _KEPT_BYTES
        if start < len(self._memory):
            self._memory.madvise(mmap.MADV_REMOVE, start)

    def close(self) -> None:
        """The memory goes with the last view of it, and when the other process has ended."""
        os.close(self.fd)
        with suppress(BufferError):
            self._memory.close()


def _photo_room(limits: PhotoLimits) -> int:
    """In whole pages."""
    return -(-limits.max_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
