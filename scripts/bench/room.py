"""Whether this machine has room for a benchmark, and a folder for it that is gone afterwards."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from scripts.bench.no_room import NoRoom

T = TypeVar("T")

_GB = 1e9


@dataclass(frozen=True)
class Need:
    """What a benchmark may take at its peak."""

    disk_bytes: int
    memory_bytes: int


@contextmanager
def bench_folder(parent: Path, need: Need) -> Generator[Path, None, None]:
    """A new folder below `parent`, removed at the end with all that is in it. Raises NoRoom."""
    parent.mkdir(parents=True, exist_ok=True)
    free, available = shutil.disk_usage(parent).free, psutil.virtual_memory().available
    if free < need.disk_bytes:
        raise NoRoom(
            f"{parent} has {free / _GB:.1f} GB free and this takes up to {need.disk_bytes / _GB:.1f} GB:"
            " ask for fewer --faces or name another --folder."
        )
    if available < need.memory_bytes:
        raise NoRoom(
            f"{available / _GB:.1f} GB of memory are free and this takes up to"
            f" {need.memory_bytes / _GB:.1f} GB: ask for fewer --faces."
        )
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        yield Path(folder)


def bytes_below(folder: Path) -> int:
    """What the files take on disk: an engine makes files larger than what it has written."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run it; SIGTERM ends it as control-C does, so that its processes and its folder go with it."""

    async def ended_by_signal() -> T:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(ended_by_signal())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
