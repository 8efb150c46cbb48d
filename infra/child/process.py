"""A child process as its host sees it: started, called, restarted when it dies or hangs, closed."""

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

import structlog

from infra.child.connection import Call, Connection, spawn
from infra.child.errors import (
    CallRefused,
    ChildAbsent,
    ChildBusy,
    ChildClosed,
    ChildFailed,
    ChildStartFailed,
    ChildTimedOut,
)
from infra.child.frames import MAX_FRAME_BYTES
from infra.child.serving import CONFIGURE

_log = structlog.get_logger(__name__)

# The first restart is at once; a child that dies young again and again is restarted ever more slowly.
_YOUNG_S = 5.0
_FIRST_PAUSE_S = 0.1


class ChildState(StrEnum):
    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    CLOSED = "closed"


class ChildProcess:
    """One child: `python -m module`, whose `__main__` calls `infra.child.child_main`.

    `arguments` are what its `setup` gets, at each start anew; `environment` is added to the host's. At most
    `max_outstanding` calls are with the child at a time, later ones wait within their own deadline. It has
    the host's `inherited_fds` under the same numbers.
    """

    longest_pause_s: ClassVar = 5.0

    def __init__(
        self,
        name: str,
        module: str,
        *,
        arguments: Mapping[str, Any],
        start_timeout_s: float,
        environment: Mapping[str, str] | None = None,
        max_outstanding: int = 64,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._module = module
        self._arguments = arguments
        self._start_timeout_s = start_timeout_s
        self._environment = environment or {}
        self._max_frame_bytes = max_frame_bytes
        self._inherited_fds = inherited_fds
        self._slots = asyncio.Semaphore(max_outstanding)
        self._state = ChildState.NEW
        self._restarts = 0
        self._connection: Connection | None = None
        self._changed = asyncio.Event()  # set while a connection is there, and for ever once closed
        self._last_end = f"child {name} has not been started"
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def state(self) -> ChildState:
        return self._state

    @property
    def pid(self) -> int | None:
        """None while no child is ready."""
        connection = self._connection
        return connection.pid if connection is not None and connection.open else None

    @property
    def restarts(self) -> int:
        """How often it has been started again."""
        return self._restarts

    async def start(self) -> None:
        """Returns when the child is ready. Raises ChildStartFailed with what it said; may be tried again."""
        if self._state is not ChildState.NEW:
            raise RuntimeError(f"child {self.name} is {self._state}")
        self._state = ChildState.STARTING
        try:
            connection = await self._start_once()
        except BaseException:
            self._state = ChildState.NEW
            raise
        self._take_over(connection)
        self._supervisor = asyncio.create_task(self._supervise(connection), name=f"supervise {self.name}")

    async def call(self, method: str, payload: Any = None, *, timeout_s: float) -> Any:
        """Call a handler of the child and return its result; payload and result are what msgpack knows.

        Raises the ChildFailed family within `timeout_s`, and FrameTooLarge. The child finishes a call whose
        caller is cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                call = await self._send(method, payload, timeout_s)
        except TimeoutError:
            raise self._not_sent() from None
        # Not awaited directly: a caller's cancellation must not cancel the answer, which holds a slot.
        await asyncio.wait((call.answer,), timeout=deadline - loop.time())
        if not call.answer.done() and self._connection is not None:
            raise self._connection.overdue(call)
        return call.answer.result()

    async def ready(self, *, timeout_s: float) -> None:
        """Wait for the child to be there. Who does so first gives a call's whole time to the call.

        Raises ChildAbsent or ChildBusy when it takes no call in time, ChildClosed when it never will.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._open_connection()
        except TimeoutError:
            raise self._not_sent() from None

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Let the child answer what it has and end in good order; kill it after `timeout_s`. Idempotent."""
        self._state = ChildState.CLOSED
        self._changed.set()
        connection, supervisor = self._connection, self._supervisor
        try:
            if connection is not None:
                connection.shut()
                await asyncio.wait((connection.ended,), timeout=timeout_s)
        finally:
            if connection is not None:
                await connection.reap()
            if supervisor is not None:
                supervisor.cancel()
                await asyncio.wait((supervisor,))

    async def _send(self, method: str, payload: Any, timeout_s: float) -> Call:
        await self._slots.acquire()
        try:
            connection = await self._open_connection()
            call = connection.send(method, payload, timeout_s)
        except BaseException:
            self._slots.release()
            raise
        # The slot is free when the child is done with the call, not when its caller stops waiting.
        call.answer.add_done_callback(lambda _: self._slots.release())
        return call

    async def _open_connection(self) -> Connection:
        """A connection that takes a call at once, waited for if need be."""
        while self._state in (ChildState.STARTING, ChildState.RUNNING):
            connection = self._connection
            if connection is None:
                await self._changed.wait()
                continue
            await connection.writable()
            if connection.open:
                return connection
            await asyncio.wait((connection.ended,))
        raise ChildClosed(f"child {self.name} is {self._state}")

    def _not_sent(self) -> ChildFailed:
        if self._connection is None:
            return ChildAbsent(f"{self._last_end}, and was not back in time")
        return ChildBusy(f"child {self.name} was busy until the deadline of the call")

    async def _start_once(self) -> Connection:
        try:
            connection = await spawn(
                self.name, self._module, self._environment, self._max_frame_bytes, self._inherited_fds
            )
        except OSError as error:
            raise ChildStartFailed(f"child {self.name} did not start: {error.strerror}") from error
        try:
            ready = connection.send(CONFIGURE, self._arguments, self._start_timeout_s)
            await ready.answer  # the connection sees to the time-out
        except ChildTimedOut:
            await connection.reap()
            raise ChildStartFailed(
                f"child {self.name} was not ready after {self._start_timeout_s:g} s"
            ) from None
        except ChildFailed as failure:
            await connection.reap()
            reason = failure if isinstance(failure, CallRefused) else connection.describe_end()
            raise ChildStartFailed(f"child {self.name} did not start: {reason}") from None
        except BaseException:
            await connection.reap()
            raise
        return connection

    def _take_over(self, connection: Connection) -> None:
        self._connection = connection
        self._state = ChildState.RUNNING
        self._changed.set()

    async def _supervise(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        while True:
            started_at = loop.time()
            await asyncio.wait((connection.ended,))
            if self._state is ChildState.CLOSED:
                return
            self._last_end = connection.describe_end()
            self._connection = None
            self._state = ChildState.STARTING
            self._changed.clear()
            _log.error("child_ended", child=self.name, reason=self._last_end, restarts=self._restarts)
            if loop.time() - started_at >= _YOUNG_S:
                pause_s = 0.0
            connection, pause_s = await self._start_again(pause_s)
            self._take_over(connection)

    async def _start_again(self, pause_s: float) -> tuple[Connection, float]:
        """Try until the child is ready; the second part is the pause to make before the start after this."""
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), self.longest_pause_s)
            self._restarts += 1
            try:
                return await self._start_once(), pause_s
            except ChildStartFailed as failure:
                self._last_end = str(failure)
                _log.error("child_start_failed", child=self.name, reason=self._last_end)
