"""The index in use: its process, the order of its writes, and the change to an optimised copy of it.

Whenever a process or the machine ends, the manifest names a generation that holds every acknowledged write:
writes go to the generation in use, and when the manifest is moved to the copy, writes are held and the copy
holds the same.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import structlog

from infra.child import ChildClosed, ChildFailed, ChildProcess
from infra.durable_files import make_private_folders
from infra.vectors.edge_generations import Generations
from infra.vectors.edge_rebuild import building, carry_over
from infra.vectors.port import VectorsError, VectorsUnavailable
from infra.vectors.templates import SLICE

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_MODULE = "infra.vectors.edge_child"

# A rebuild writes every point, so the larger the base, the more must be new to be worth it. With a fifth,
# filling an index writes each point about five times more, and what is new costs a search less time than the
# base does.
_BASE_SHARE = 5

_MOST_ROUNDS = 10


@dataclass(frozen=True)
class _Generation:
    number: int
    child: ChildProcess


class LiveIndex:
    """Calls of the index process that outlive its restarts and the change of generations."""

    def __init__(
        self,
        directory: Path,
        generations: Generations,
        *,
        dimensions: int,
        start_timeout_s: float,
        write_timeout_s: float,
        rebuild_after: int,
    ) -> None:
        self._directory = directory
        self._generations = generations
        self._dimensions = dimensions
        self._start_timeout_s = start_timeout_s
        self._write_timeout_s = write_timeout_s
        self._rebuild_after = rebuild_after
        self._in_use: _Generation | None = None
        self._writing = asyncio.Lock()
        self._written: set[bytes] | None = None  # ids written since a copy was begun; None when there is none
        self._base_points = 0
        self._changes = 0  # since the base was built
        self._rebuilding: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that answers; None while there is none."""
        return None if self._in_use is None else self._in_use.child.pid

    async def open(self) -> None:
        """Raises VectorsError if what is in the folder can't be used."""
        number = await _in_thread(self._prepare)
        child = self._child(self._generations.folder(number), background=False)
        try:
            await child.start()
            if await _in_thread(self._generations.current) is None:
                await child.call("optimise", timeout_s=self._start_timeout_s)  # brings the new files to disk
                await _in_thread(self._generations.switch_to, number)
            self._use(_Generation(number, child), await child.call("status", timeout_s=self._start_timeout_s))
        except BaseException as error:
            await child.close()
            if isinstance(error, ChildFailed):
                raise VectorsUnavailable(str(error)) from error
            raise

    async def close(self) -> None:
        in_use, self._in_use = self._in_use, None
        if self._rebuilding is not None:
            self._rebuilding.cancel()
            await asyncio.wait((self._rebuilding,))
        if in_use is not None:
            await in_use.child.close()

    async def read(self, method: str, payload: Any, timeout_s: float) -> Any:
        """Raises VectorsUnavailable."""
        while (in_use := self._in_use) is not None:
            try:
                return await in_use.child.call(method, payload, timeout_s=timeout_s)
            except ChildFailed as failure:
                if isinstance(failure, ChildClosed) and in_use is not self._in_use:
                    continue  # another generation came into use while this call waited for its turn
                raise VectorsUnavailable(str(failure)) from failure
        raise VectorsUnavailable("the index is not open")

    async def write(self, method: str, payload: Any, face_ids: Collection[bytes]) -> None:
        """A call that changes these points. Raises VectorsUnavailable, when it may have been carried out."""
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writing.acquire()
        except TimeoutError:
            raise VectorsUnavailable("writes to the index were held for too long") from None
        try:
            await self.read(method, payload, self._write_timeout_s)
        finally:
            if self._written is not None:
                self._written.update(face_ids)
            self._changes += len(face_ids)
            self._writing.release()
        due = max(self._rebuild_after, self._base_points // _BASE_SHARE)
        if self._rebuilding is None and self._changes >= due:
            self._begin_rebuild()

    async def rebuild(self) -> None:
        """Change to an optimised copy now. Raises VectorsUnavailable; the generation in use goes on then."""
        while self._rebuilding is not None:
            await asyncio.wait((self._rebuilding,))
        await asyncio.shield(self._begin_rebuild())

    def _prepare(self) -> int:
        make_private_folders(self._directory)
        self._generations.sweep()
        current = self._generations.current()
        if current is None:
            self._generations.make(1)
            return 1
        if not self._generations.folder(current).is_dir():
            raise VectorsError(
                f"{self._generations.folder(current)} is missing: reindex into an empty folder"
            )
        return current

    def _child(self, folder: Path, background: bool) -> ChildProcess:
        return ChildProcess(
            "index-copy" if background else "index",
            _MODULE,
            arguments={"directory": str(folder), "dimensions": self._dimensions, "background": background},
            start_timeout_s=self._start_timeout_s,
        )

    def _use(self, generation: _Generation, status: dict[str, int]) -> None:
        self._in_use = generation
        self._base_points = status["indexed"]
        # Base points that were written again before a restart are not counted: their turn comes a little
        # later.
        self._changes = status["points"] - status["indexed"]

    def _begin_rebuild(self) -> asyncio.Task[None]:
        self._rebuilding = asyncio.create_task(self._rebuild(), name="rebuild index")
        self._rebuilding.add_done_callback(_log_failure)
        return self._rebuilding

    async def _rebuild(self) -> None:
        old = self._in_use
        if old is None:
            raise VectorsUnavailable("the index is not open")
        try:
            await self._replace(old)
        except (ChildFailed, OSError) as error:
            self._changes = 0  # it is tried again after as many changes as it was begun for
            raise VectorsUnavailable(f"the index was not rebuilt: {error}") from error
        finally:
            self._written = None
            try:
                if self._in_use is not old:
                    await old.child.close()
                await _in_thread(self._generations.sweep)
            finally:
                self._rebuilding = None

    async def _replace(self, old: _Generation) -> None:
        began_s = monotonic()
        number = old.number + 1
        folder = await _in_thread(self._generations.make, number)
        self._written = written = set[bytes]()
        async with building(old.child, partial(self._child, folder)) as copy:
            for _ in range(_MOST_ROUNDS):
                if len(written) <= SLICE:
                    break
                await carry_over(_drained(written), old.child, copy)
            await copy.call("flush", timeout_s=self._write_timeout_s)
            async with self._writing:
                await carry_over(_drained(written), old.child, copy)
                await copy.call("flush", timeout_s=self._write_timeout_s)
                status = await copy.call("status", timeout_s=self._write_timeout_s)
                await self._move_manifest(number)
                self._use(_Generation(number, copy), status)
        took_s = round(monotonic() - began_s, 3)
        _log.info("index_rebuilt", generation=number, points=status["points"], took_s=took_s)

    async def _move_manifest(self, number: int) -> None:
        try:
            await _in_thread(self._generations.switch_to, number)
        except OSError:
            # What is on disk decides, as it will after a restart.
            if await _in_thread(self._generations.current) != number:
                raise


def _drained(face_ids: set[bytes]) -> list[bytes]:
    taken = list(face_ids)
    face_ids.clear()
    return taken


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Like to_thread, but a cancellation takes effect when the thread is done: no folder changes unseen."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


def _log_failure(rebuilding: asyncio.Task[None]) -> None:
    if not rebuilding.cancelled() and (failure := rebuilding.exception()) is not None:
        _log.error("index_rebuild_failed", reason=str(failure))
