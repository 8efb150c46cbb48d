"""A child process for a host that has no event loop."""

import asyncio
from collections.abc import Coroutine
from threading import Thread
from types import TracebackType
from typing import Any, Self

from infra.child.process import ChildProcess


class BlockingChild:
    """Runs a `ChildProcess` on an event loop in a thread of its own, from the start of the block to its end.

    The loop watches the child at all times, so one that dies between two calls is started again at once. Its
    thread is the child's parent: the child ends with it, however that ends.
    """

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"child {child.name}", daemon=True)

    def __enter__(self) -> Self:
        """Returns when the child is ready. Raises ChildStartFailed."""
        self._thread.start()
        try:
            self._run(self._child.start())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._child.close())
        finally:
            self._end_loop()

    @property
    def pid(self) -> int | None:
        """None while no child is ready."""
        return self._child.pid

    def call(self, method: str, payload: Any = None, *, timeout_s: float, start_timeout_s: float) -> Any:
        """As `ChildProcess.call`, once the child is there, for which it has `start_timeout_s`."""
        return self._run(self._call(method, payload, timeout_s, start_timeout_s))

    async def _call(self, method: str, payload: Any, timeout_s: float, start_timeout_s: float) -> Any:
        await self._child.ready(timeout_s=start_timeout_s)
        return await self._child.call(method, payload, timeout_s=timeout_s)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
