"""Child processes, with real ones."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.child import (
    CallRefused,
    ChildAbsent,
    ChildBusy,
    ChildClosed,
    ChildDied,
    ChildProcess,
    ChildStartFailed,
    ChildState,
    ChildTimedOut,
    FrameTooLarge,
)
from tests.children import own_children

pytestmark = pytest.mark.system

TIMEOUT_S = 60.0
"""Far more than anything here takes: a deadline that is not what the test is about."""


def make_child(**options: Any) -> ChildProcess:
    defaults: dict[str, Any] = {"arguments": {}, "start_timeout_s": TIMEOUT_S}
    return ChildProcess("example", "tests.infra.child_examples", **(defaults | options))


@asynccontextmanager
async def running(**options: Any) -> AsyncGenerator[ChildProcess, None]:
    child = make_child(**options)
    await child.start()
    try:
        yield child
    finally:
        await child.close()
        assert own_children() == []


async def hold(child: ChildProcess, fifo: Path) -> tuple[asyncio.Task[Any], Callable[[], None]]:
    """Occupy the child until the returned function is called."""
    os.mkfifo(fifo)
    held = asyncio.create_task(child.call("read", str(fifo), timeout_s=TIMEOUT_S))
    # Opening for writing returns when the child has opened for reading: it is at the call now.
    writing = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    return held, lambda: os.close(writing)


async def test_payloads_of_every_kind_come_back_unchanged() -> None:
    async with running() as child:
        assert child.state is ChildState.RUNNING
        for payload in (None, 7, 1.5, "é", b"\x00\xff", [1, [2]], {"a": {"b": None}}, b"x" * 20_000_000):
            assert await child.call("echo", payload, timeout_s=TIMEOUT_S) == payload


async def test_concurrent_calls_each_get_their_own_answer() -> None:
    async with running(max_outstanding=7) as child:
        calls = [child.call("echo", [n, bytes(n * 100)], timeout_s=TIMEOUT_S) for n in range(200)]
        assert await asyncio.gather(*calls) == [[n, bytes(n * 100)] for n in range(200)]


async def test_a_handler_refuses_with_code_and_detail() -> None:
    async with running() as child:
        with pytest.raises(CallRefused, match="not_today: come tomorrow") as raised:
            await child.call("refuse", "come tomorrow", timeout_s=TIMEOUT_S)
        assert (raised.value.code, raised.value.detail) == ("not_today", "come tomorrow")


async def test_what_a_handler_raises_is_named_without_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    async with running() as child:
        with pytest.raises(CallRefused) as raised:
            await child.call("fail", "a name", timeout_s=TIMEOUT_S)
        assert (raised.value.code, raised.value.detail) == ("internal", "ValueError")
        assert child.restarts == 0
    logged = capfd.readouterr().err
    assert "fail failed: ValueError" in logged
    assert "child_examples.py" in logged
    assert "a name" not in logged


@pytest.mark.parametrize(
    ("method", "payload", "code"),
    [("no_such", None, "unknown_method"), ("unknown_type", None, "internal"), ("zeros", 2000, "too_large")],
)
async def test_a_call_without_a_possible_result_is_refused(method: str, payload: Any, code: str) -> None:
    async with running(max_frame_bytes=1000) as child:
        with pytest.raises(CallRefused) as raised:
            await child.call(method, payload, timeout_s=TIMEOUT_S)
        assert raised.value.code == code
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


async def test_a_payload_beyond_the_frame_limit_is_not_sent() -> None:
    async with running(max_frame_bytes=1000, max_outstanding=1) as child:
        with pytest.raises(FrameTooLarge):
            await child.call("echo", bytes(2000), timeout_s=TIMEOUT_S)
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_crash_fails_the_calls_in_flight_and_later_ones_find_a_new_child(
    number: signal.Signals,
) -> None:
    async with running() as child:
        before = child.pid
        crash = asyncio.create_task(child.call("kill_self", int(number), timeout_s=TIMEOUT_S))
        behind = asyncio.create_task(child.call("echo", 1, timeout_s=TIMEOUT_S))
        with pytest.raises(ChildDied, match=number.name):
            await crash
        with pytest.raises(ChildAbsent, match=number.name):
            await behind
        assert await child.call("pid", timeout_s=TIMEOUT_S) != before
        assert child.restarts == 1
        assert len(own_children()) == 1  # the dead one has been reaped


async def test_a_child_that_dies_again_and_again_is_started_again_and_again() -> None:
    async with running() as child:
        for _ in range(4):
            with pytest.raises(ChildDied):
                await child.call("kill_self", int(signal.SIGKILL), timeout_s=TIMEOUT_S)
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1
        assert child.restarts == 4


async def test_a_hung_child_is_killed_and_who_waited_behind_is_told() -> None:
    async with running() as child:
        hang = asyncio.create_task(child.call("hang", timeout_s=1.1))
        behind = asyncio.create_task(child.call("echo", 1, timeout_s=TIMEOUT_S))
        with pytest.raises(ChildTimedOut, match="hung in hang"):
            await hang
        with pytest.raises(ChildAbsent, match="killed: it hung in hang"):
            await behind
        assert await child.call("echo", 2, timeout_s=TIMEOUT_S) == 2
        assert child.restarts == 1


async def test_a_call_whose_turn_does_not_come_costs_the_child_nothing(tmp_path: Path) -> None:
    async with running() as child:
        before = child.pid
        held, release = await hold(child, tmp_path / "fifo")
        with pytest.raises(ChildBusy):
            await child.call("echo", 1, timeout_s=0.05)
        release()
        assert await held == ""
        assert await child.call("echo", 2, timeout_s=TIMEOUT_S) == 2
        assert child.pid == before


async def test_a_caller_in_a_hurry_costs_the_child_nothing() -> None:
    async with running() as child:
        before = child.pid
        with pytest.raises(ChildBusy):
            await child.call("zeros", 50_000_000, timeout_s=0.001)
        assert await child.call("pid", timeout_s=TIMEOUT_S) == before


async def test_a_hung_call_that_nobody_waits_for_any_more_is_ended_too() -> None:
    async with running() as child:
        hang = asyncio.create_task(child.call("hang", timeout_s=1.1))
        behind = asyncio.create_task(child.call("echo", 1, timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)  # both are sent
        hang.cancel()
        with pytest.raises(ChildAbsent):
            await behind
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


async def test_a_slot_is_kept_until_the_child_is_done_with_the_call(tmp_path: Path) -> None:
    async with running(max_outstanding=1) as child:
        held, release = await hold(child, tmp_path / "fifo")
        held.cancel()
        with pytest.raises(ChildBusy):
            await child.call("echo", 1, timeout_s=0.05)
        release()
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00\x00\x01\x01"]
)
async def test_a_child_that_breaks_the_protocol_is_killed(garbage: bytes) -> None:
    async with running() as child:
        with pytest.raises(ChildDied, match="broke the protocol"):
            await child.call("write_to_socket", garbage, timeout_s=TIMEOUT_S)
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


async def test_a_child_that_closes_its_socket_is_killed() -> None:
    async with running() as child:
        with pytest.raises(ChildDied, match="closed its socket"):
            await child.call("close_socket", timeout_s=TIMEOUT_S)


async def test_close_lets_the_child_finish_and_leave_in_good_order(tmp_path: Path) -> None:
    left = tmp_path / "left"
    async with running(arguments={"left": str(left)}) as child:
        held, release = await hold(child, tmp_path / "fifo")
        behind = asyncio.create_task(child.call("echo", 1, timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)  # it is sent
        closing = asyncio.create_task(child.close(timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
        with pytest.raises(ChildClosed):
            await child.call("echo", 2, timeout_s=TIMEOUT_S)
        release()
        await closing
        assert (await held, await behind) == ("", 1)
    assert left.read_text() == "in good order"
    assert child.state is ChildState.CLOSED


async def test_close_kills_what_does_not_end() -> None:
    async with running() as child:
        hang = asyncio.create_task(child.call("hang", timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
        await child.close(timeout_s=0.1)
        with pytest.raises(ChildDied):
            await hang


async def test_a_cancelled_close_leaves_no_process() -> None:
    child = make_child()
    await child.start()
    hang = asyncio.create_task(child.call("hang", timeout_s=TIMEOUT_S))
    await asyncio.sleep(0)
    closing = asyncio.create_task(child.close(timeout_s=TIMEOUT_S))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ChildDied):
        await hang
    assert own_children() == []


async def test_who_waits_for_a_child_that_is_not_back_in_time_is_told(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    async with running(arguments={"start": "read", "gate": str(gate)}) as child:
        gate.unlink()
        os.mkfifo(gate)  # the next start waits until somebody opens it
        with pytest.raises(ChildDied):
            await child.call("kill_self", int(signal.SIGKILL), timeout_s=TIMEOUT_S)
        with pytest.raises(ChildAbsent, match="not back in time"):
            await child.ready(timeout_s=0.05)
        with pytest.raises(ChildAbsent, match="not back in time"):
            await child.call("echo", 1, timeout_s=0.05)
        assert (child.pid, child.state) == (None, ChildState.STARTING)
        os.close(await asyncio.to_thread(os.open, gate, os.O_WRONLY))
        await child.ready(timeout_s=TIMEOUT_S)
        assert await child.call("echo", 1, timeout_s=TIMEOUT_S) == 1


async def test_a_child_that_was_never_started_closes() -> None:
    child = make_child()
    await child.close()
    with pytest.raises(ChildClosed):
        await child.call("echo", 1, timeout_s=TIMEOUT_S)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": {"start": "refuse"}}, "did not start: no_model: the weights are not there"),
        ({"arguments": {"start": "fail"}}, "did not start: internal: ValueError"),
        ({"arguments": {"start": "hang"}, "start_timeout_s": 1.0}, "was not ready after 1 s"),
        ({"environment": {"PYTHONPATH": ""}}, "ended with status 1"),
    ],
)
async def test_a_failed_start_says_why_and_leaves_nothing(options: dict[str, Any], message: str) -> None:
    child = make_child(**options)
    with pytest.raises(ChildStartFailed, match=message):
        await child.start()
    assert child.state is ChildState.NEW
    assert own_children() == []


async def test_a_child_gets_no_settings_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_SECRET", "s")
    monkeypatch.setenv("ORDINARY", "o")
    async with running(environment={"OMP_NUM_THREADS": "1"}) as child:
        names = ("FACEID_SECRET", "ORDINARY", "OMP_NUM_THREADS")
        assert [await child.call("environment", n, timeout_s=TIMEOUT_S) for n in names] == [None, "o", "1"]


async def test_a_child_leaves_no_core_file_and_ignores_signals_to_the_group() -> None:
    async with running() as child:
        assert await child.call("core_limit", timeout_s=TIMEOUT_S) == [0, 0]
        before = child.pid
        assert before is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(before, number)
        assert await child.call("pid", timeout_s=TIMEOUT_S) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a busy child with its parent")
async def test_a_busy_child_ends_when_its_host_is_killed() -> None:
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.infra.child_host", stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    child_pid = int(await host.stdout.readline())
    watched = os.pidfd_open(child_pid)
    try:
        host.kill()
        await host.wait()
        ended, _, _ = await asyncio.to_thread(select.select, [watched], [], [], TIMEOUT_S)
        assert ended == [watched]
    finally:
        os.close(watched)
