"""The objects role on one machine: a file an object.

    <root>/<company>/<folders of the key>/=<xx>/<name>
    <root>/.new/<what is being written>

`xx` are two digits of the name's hash, so that no folder gets large. No part of a key begins with `=`, so
that `x` and `x/y` don't get into each other's way. An object is written beside, brought to disk and renamed;
its age is the file's.
"""

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from infra.durable_files import make_private_folders, replace_file, sync
from infra.objects.keys import key_parts, prefix_parts
from infra.objects.port import ObjectInfo, ObjectNotFound, Objects, ObjectsUnavailable

T = TypeVar("T")

_SHARD = "="
_NEW = ".new"
_PROBE_BYTES = 4096
_LISTED_AT_A_TIME = 256
_DELETED_AT_A_TIME = 64
_MOST_TRIES = 20
_LEFT_BEHIND_S = 3600


class FilesystemObjects(Objects):
    """Objects below a folder of its own. At most `max_threads` files are read or written at a time.

    `timeout_s` bounds every call (of a listing, every part of it): a disk that hangs is unavailable.
    """

    def __init__(self, root: Path, *, max_threads: int = 4, timeout_s: float = 30.0) -> None:
        self._root = root
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="objects")
        self._turns = asyncio.Semaphore(max_threads)
        self._running: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Make the folder, and remove what a crash left half-written."""
        await self._run(self._prepare)

    async def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=False)
        if self._running:
            await asyncio.wait(self._running, timeout=self._timeout_s)

    async def put(self, company_id: UUID, key: str, blob: bytes) -> None:
        path = self._path(company_id, key)
        await self._run(lambda: self._put(path, blob))

    async def get(self, company_id: UUID, key: str) -> bytes:
        path = self._path(company_id, key)
        return await self._run(lambda: _get(path))

    async def delete(self, company_id: UUID, key: str) -> bool:
        path = self._path(company_id, key)
        return await self._run(lambda: self._delete(path))

    async def delete_many(self, company_id: UUID, keys: Sequence[str]) -> None:
        paths = [self._path(company_id, key) for key in keys]
        for start in range(0, len(paths), _DELETED_AT_A_TIME):
            part = paths[start : start + _DELETED_AT_A_TIME]
            await self._run(lambda part=part: [self._delete(path) for path in part])

    async def list(
        self, company_id: UUID | None, prefix: str, *, older_than: datetime | None = None
    ) -> AsyncGenerator[ObjectInfo, None]:
        found = self._find(company_id, prefix_parts(prefix), older_than)
        while part := await self._run(lambda: tuple(islice(found, _LISTED_AT_A_TIME))):
            for info in part:
                yield info

    async def ping(self) -> None:
        await self._run(self._try_to_write)

    async def _run(self, work: Callable[[], T]) -> T:
        """In a thread. Raises ObjectsUnavailable for what the file system refuses."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
                return await asyncio.shield(self._begin(work))
        except TimeoutError:
            raise ObjectsUnavailable(f"the disk did not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            # Not the exception's text, which names the file, and so the key.
            raise ObjectsUnavailable(f"the disk refused: {error.strerror}") from None

    def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        # The turn ends with the work, not with the wait for it: on a disk that hangs, no work piles up.
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            self._turns.release()
            raise
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        self._turns.release()

    def _path(self, company_id: UUID, key: str) -> Path:
        *folders, name = key_parts(key)
        shard = _SHARD + hashlib.sha256(name.encode()).hexdigest()[:2]
        return self._root.joinpath(str(company_id), *folders, shard, name)

    def _prepare(self) -> None:
        make_private_folders(self._root / _NEW)
        # What is young may be another process's, which shares the folder and is writing it now.
        before_s = time.time() - _LEFT_BEHIND_S
        for leftover in (self._root / _NEW).iterdir():
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < before_s:
                    leftover.unlink()

    def _new(self) -> Path:
        return self._root / _NEW / secrets.token_hex(16)

    def _put(self, path: Path, blob: bytes) -> None:
        for _ in range(_MOST_TRIES):
            # A deletion beside may take away the folder as long as it is empty.
            with suppress(FileNotFoundError):
                make_private_folders(path.parent)
                replace_file(path, blob, self._new())
                return
        raise ObjectsUnavailable("the folder of the object is gone again and again")

    def _delete(self, path: Path) -> bool:
        try:
            path.unlink()
            sync(path.parent)
        except FileNotFoundError:
            return False
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:  # it is not empty, or another deletion was here before
                break
        return True

    def _try_to_write(self) -> None:
        probe = self._new()
        replace_file(probe, bytes(_PROBE_BYTES), self._new())
        probe.unlink()

    def _find(
        self, company_id: UUID | None, prefix: Sequence[str], older_than: datetime | None
    ) -> Generator[ObjectInfo, None, None]:
        for company in self._companies() if company_id is None else (company_id,):
            folder = self._root.joinpath(str(company), *prefix)
            for key, stat in _objects(folder, "".join(f"{part}/" for part in prefix)):
                modified_at = datetime.fromtimestamp(stat.st_mtime, UTC)
                if older_than is None or modified_at < older_than:
                    yield ObjectInfo(company, key, stat.st_size, modified_at)

    def _companies(self) -> Iterator[UUID]:
        with os.scandir(self._root) as entries:
            for entry in entries:
                try:
                    company_id = UUID(entry.name)
                except ValueError:
                    continue  # what is not a company's is not ours
                yield company_id


def _get(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ObjectNotFound("no object of this key") from None


def _objects(folder: Path, prefix: str) -> Generator[tuple[str, os.stat_result], None, None]:
    """Keys and file facts below a folder; what vanishes meanwhile is left out."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield prefix + entry.name, stat
            elif entry.name.startswith(_SHARD):
                yield from _objects(Path(entry), prefix)
            else:
                yield from _objects(Path(entry), f"{prefix}{entry.name}/")
