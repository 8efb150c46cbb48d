"""The host's side of one incarnation of a child: its process, its socket, the calls not answered yet."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from infra.child.errors import CallRefused, ChildAbsent, ChildBusy, ChildDied, ChildFailed, ChildTimedOut
from infra.child.frames import HEADER_BYTES, BrokenFrame, body_length, decode, encode

# A call's deadline runs from a moment before the child gets it: so much of its time counts as all of it.
_ALL_OF_ITS_TIME = 0.95

# A caller may be in more of a hurry than a healthy child can be: before this time no call is taken as hung.
_LEAST_HANG_S = 1.0

_EXIT_GRACE_S = 1.0

_STDERR = 2

_IMPORT_ROOT = str(Path(__file__).parents[2])
_NOT_FOR_CHILDREN = ("FACEID_", "AWS_")  # a child gets what it may know as arguments


@dataclass(eq=False)
class Call:
    """A request that was sent: its answer ends as the result or with a ChildFailed."""

    method: str
    timeout_s: float
    answer: asyncio.Future[Any]
    running_since: float | None = None  # loop time; None while calls before it are unanswered

    @property
    def hung_after_s(self) -> float:
        return max(self.timeout_s, _LEAST_HANG_S)


class Connection:
    """Made by `spawn`; over when `ended` is done, which is when the process has been reaped."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        max_frame_bytes: int,
    ) -> None:
        self.pid = process.pid
        self._name = name
        self._process = process
        self._reader = reader
        self._writer = writer
        self._max_frame_bytes = max_frame_bytes
        self._loop = asyncio.get_running_loop()
        self._ids = count()
        self._calls: dict[int, Call] = {}  # in the order of sending, which is the child's order of work
        self._watchdog: asyncio.TimerHandle | None = None
        self._killed_because: str | None = None
        self._open = True
        self.ended = asyncio.create_task(self._read_until_ended(), name=f"child {name}")

    @property
    def open(self) -> bool:
        """Whether it takes calls."""
        return self._open

    def send(self, method: str, payload: Any, timeout_s: float) -> Call:
        """Hand a call to the child, which must be open. Raises FrameTooLarge.

        A child that works on this call for `timeout_s` (a second at least) is killed, whether somebody still
        waits for it or not.
        """
        call_id = next(self._ids)
        frame = encode({"id": call_id, "method": method, "payload": payload}, self._max_frame_bytes)
        call = Call(method, timeout_s, self._loop.create_future())
        # An answer that nobody waits for any more is no error.
        call.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._calls[call_id] = call
        self._writer.write(frame)
        self._watch_first()
        return call

    async def writable(self) -> None:
        """Wait until the child has taken in most of what was sent, or the connection is over."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def overdue(self, call: Call) -> ChildFailed:
        """What its caller raises who waited until the deadline; a child that hangs in this call is killed."""
        if call.running_since is None or call.answer.done():
            return ChildBusy(f"child {self._name} was busy until the deadline of the call")
        if self._loop.time() - call.running_since < call.hung_after_s * _ALL_OF_ITS_TIME:
            return ChildBusy(f"child {self._name} was not done with the call by its deadline")
        return self._hangs(call)

    def shut(self) -> None:
        """No more requests: the child answers those it has, then ends."""
        self._open = False
        if not self._writer.is_closing():
            self._writer.write_eof()

    def kill(self, because: str) -> None:
        self._open = False
        if self._process.returncode is None:
            self._killed_because = self._killed_because or because
            # Not Process.kill(): it may reap the process itself, and the exit status would be lost.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def reap(self) -> None:
        """Kill the process, if it lives, and wait until nothing of it is left, even when cancelled."""
        self.kill("the host gave it up")
        cancelled = False
        while not self.ended.done():
            try:
                await asyncio.shield(self.ended)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    def describe_end(self) -> str:
        """For messages: how the process ended."""
        code = self._process.returncode
        if self._killed_because is not None:
            how = f"was killed: {self._killed_because}"
        elif code is not None and code < 0:
            how = f"was killed by {_signal_name(-code)}"
        else:
            how = f"ended with status {code}"
        return f"child {self._name} (pid {self.pid}) {how}"

    async def _read_until_ended(self) -> None:
        try:
            while True:
                body = await self._reader.readexactly(
                    body_length(await self._reader.readexactly(HEADER_BYTES), self._max_frame_bytes)
                )
                self._take(decode(body))
        except BrokenFrame as error:
            self.kill(f"it broke the protocol: {error}")
        except (asyncio.IncompleteReadError, ConnectionError):
            if self._open:
                await self._see_it_exit()
        except asyncio.CancelledError:
            self.kill("the host gave it up")
            raise
        finally:
            self._open = False
            await self._wind_up()

    async def _see_it_exit(self) -> None:
        """A dying process closes its socket a moment before it is reaped; one that lives on is of no use."""
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_GRACE_S)
        except TimeoutError:
            self.kill("it closed its socket")

    async def _wind_up(self) -> None:
        await self._process.wait()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._writer.transport.abort()
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_exception(self._fault_of(call))
        self._calls.clear()

    def _fault_of(self, call: Call) -> ChildFailed:
        """Only the call that it was working on can have killed it."""
        if call.running_since is None:
            return ChildAbsent(self.describe_end())
        code = self._process.returncode
        return ChildDied(self.describe_end(), -code if code is not None and code < 0 else None)

    def _take(self, message: Mapping[str, Any]) -> None:
        call = self._calls.pop(message["id"], None)
        if call is None:
            raise BrokenFrame("an answer to no call")
        if not call.answer.done():
            if message.get("ok") is True:
                call.answer.set_result(message.get("result"))
            else:
                call.answer.set_exception(CallRefused(str(message.get("code")), str(message.get("detail"))))
        self._watch_first()

    def _watch_first(self) -> None:
        first = next(iter(self._calls.values()), None)
        if first is not None and first.running_since is not None:
            return
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if first is not None:
            first.running_since = self._loop.time()
            self._watchdog = self._loop.call_later(first.hung_after_s, self._hangs, first)

    def _hangs(self, call: Call) -> ChildTimedOut:
        failure = ChildTimedOut(f"child {self._name} hung in {call.method} for {call.hung_after_s:g} s")
        if not call.answer.done():
            call.answer.set_exception(failure)
        self.kill(f"it hung in {call.method}")
        return failure


async def spawn(
    name: str,
    module: str,
    environment: Mapping[str, str],
    max_frame_bytes: int,
    inherited_fds: Sequence[int] = (),
) -> Connection:
    """Start the module, by way of `infra.child_start`, with one end of a socket pair. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the current folder must not shadow a module
                "-m",
                "infra.child_start",
                module,
                str(theirs.fileno()),
                str(os.getpid()),
                str(max_frame_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,  # nothing of a child belongs into what its host prints
                pass_fds=(theirs.fileno(), *inherited_fds),
                process_group=0,  # Ctrl-C at a terminal is for the host, who lets its children finish
                env=_environment(environment),
            )
        except BaseException:
            writer.transport.abort()
            raise
    return Connection(name, process, reader, writer, max_frame_bytes)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The host's environment less its settings and credentials; our packages where the host found them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_CHILDREN)}
    path = inherited.get("PYTHONPATH")
    inherited["PYTHONPATH"] = f"{_IMPORT_ROOT}{os.pathsep}{path}" if path else _IMPORT_ROOT
    return {**inherited, **extra}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
