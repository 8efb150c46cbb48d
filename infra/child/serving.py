"""The child's side: take requests from the socket one by one, answer each, end when the host is gone."""

import faulthandler
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from infra.child.errors import CallRefused
from infra.child.frames import HEADER_BYTES, FrameTooLarge, body_length, decode, encode
from infra.child_start import prctl

Handler = Callable[[Any], Any]
Handlers = Mapping[str, Handler]
Setup = Callable[[Mapping[str, Any]], AbstractContextManager[Handlers]]

CONFIGURE = "configure"
"""The first request: its payload are the host's arguments, its answer says that the child is ready."""

# prctl(2)
_PR_SET_DUMPABLE = 4


def child_main(setup: Setup, *, limits: Mapping[int, int] | None = None) -> None:
    """The whole life of a child process; called by its module under `__main__`, which
    `infra.child_start` has started and tied to its host.

    `setup` gets the host's arguments and gives the handlers by method name, as a context manager: it is left
    in good order when the host closes the socket. It raises CallRefused(code, detail) to tell the host why it
    can't start. `limits` are `resource.RLIMIT_*` and their values.
    """
    fd, _, max_frame_bytes = (int(argument) for argument in sys.argv[1:4])
    _leave_no_core_file()
    limit_resources(limits or {})
    os.set_inheritable(fd, False)
    faulthandler.enable()
    with socket.socket(fileno=fd) as connection, ExitStack() as stack:
        request = _receive(connection, max_frame_bytes)
        if request is None:
            return
        answer = _answer({CONFIGURE: lambda arguments: stack.enter_context(setup(arguments))}, request)
        handlers: Handlers | None = answer.pop("result", None)
        if not _send(connection, answer, max_frame_bytes):
            return
        if handlers is None:
            sys.exit(1)
        _answer_until_closed(connection, handlers, max_frame_bytes)


def limit_resources(limits: Mapping[int, int]) -> None:
    """Set soft and hard limits of this process (`resource.RLIMIT_*`), never above its hard limit."""
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


def log_failure(what: str, error: BaseException) -> None:
    """Where and what kind of error it was; not its text, which may quote a photo, template or name."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    sys.stderr.write(f"{what} failed: {type(error).__name__}\n{trace}")
    sys.stderr.flush()


def _leave_no_core_file() -> None:
    """A core file would hold photos and templates."""
    limit_resources({resource.RLIMIT_CORE: 0})
    if sys.platform == "linux":
        prctl(_PR_SET_DUMPABLE, 0)  # the limit does not bind a core_pattern that is a pipe (core(5))


def _answer_until_closed(connection: socket.socket, handlers: Handlers, max_frame_bytes: int) -> None:
    while (request := _receive(connection, max_frame_bytes)) is not None:
        if not _send(connection, _answer(handlers, request), max_frame_bytes):
            return


def _answer(handlers: Handlers, request: Mapping[str, Any]) -> dict[str, Any]:
    handler = handlers.get(request["method"])
    if handler is None:
        return _refused(request, "unknown_method", "")
    try:
        return {"id": request["id"], "ok": True, "result": handler(request["payload"])}
    except CallRefused as refusal:
        return _refused(request, refusal.code, refusal.detail)
    except Exception as error:  # noqa: BLE001 - a handler's error is an answer; the next request goes on
        log_failure(request["method"], error)
        return _refused(request, "internal", type(error).__name__)


def _refused(request: Mapping[str, Any], code: str, detail: str) -> dict[str, Any]:
    return {"id": request["id"], "ok": False, "code": code, "detail": detail}


def _send(connection: socket.socket, answer: Mapping[str, Any], max_frame_bytes: int) -> bool:
    """False when the host is gone."""
    try:
        frame = encode(answer, max_frame_bytes)
    except FrameTooLarge as error:
        frame = encode(_refused(answer, "too_large", str(error)), max_frame_bytes)
    except (TypeError, ValueError, OverflowError) as error:  # a result that msgpack does not know
        log_failure("encoding a result", error)
        frame = encode(_refused(answer, "internal", type(error).__name__), max_frame_bytes)
    try:
        connection.sendall(frame)
    except ConnectionError:
        return False
    return True


def _receive(connection: socket.socket, max_frame_bytes: int) -> dict[str, Any] | None:
    """None when the host is gone."""
    header = _read_exactly(connection, HEADER_BYTES)
    body = None if header is None else _read_exactly(connection, body_length(header, max_frame_bytes))
    return None if body is None else decode(body)


def _read_exactly(connection: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        try:
            count = connection.recv_into(view[filled:])
        except ConnectionResetError:
            return None
        if count == 0:
            return None
        filled += count
    return buffer
