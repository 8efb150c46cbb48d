"""The service as a process of its own: nothing of it stays when its start is broken off."""

import asyncio
from pathlib import Path

import psutil
import pytest

from scripts.service_process import ServiceNotStarted, ServiceProcess

SLOW = """\
import os, pathlib, sys, time
mark = pathlib.Path({mark!r} + sys.argv[1])
mark.with_suffix(".new").write_text(str(os.getpid()))
mark.with_suffix(".new").rename(mark)
time.sleep(600)
"""


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """A module that is run in place of the `faceid` command."""
    (folder / "in_its_place.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "in_its_place"


async def begun(mark: Path) -> psutil.Process:
    """The child, once it has said that it runs."""
    async with asyncio.timeout(30):
        while not mark.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it, and tells nobody
            await asyncio.sleep(0.01)
    return psutil.Process(int(await asyncio.to_thread(mark.read_text)))


@pytest.mark.parametrize("command", ["setup", "serve"])
async def test_a_start_that_is_cancelled_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    service = ServiceProcess(tmp_path / "home", tmp_path / "log")
    service.program = program(tmp_path, monkeypatch, SLOW.format(mark=str(tmp_path / "begun-")))
    if command == "serve":
        service.ca_file.parent.mkdir(parents=True)
        service.ca_file.touch()
    starting = asyncio.create_task(service.start())
    child = await begun(tmp_path / f"begun-{command}")
    starting.cancel()
    await asyncio.wait((starting,))
    assert starting.cancelled()
    assert not child.is_running()
    assert await service.stop() == 0


async def test_a_stop_that_is_cancelled_ends_the_process_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\n"
    text += "print('https://nowhere', flush=True)\nwhile True: time.sleep(600)\n"
    service = ServiceProcess(tmp_path / "home", tmp_path / "log")
    service.program = program(tmp_path, monkeypatch, text)
    service.ca_file.parent.mkdir(parents=True)
    service.ca_file.touch()
    await service.start()
    child = psutil.Process(service.pid)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait((stopping,))
    assert not child.is_running()


async def test_a_service_that_ends_without_a_word_was_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = ServiceProcess(tmp_path / "home", tmp_path / "log")
    service.program = program(tmp_path, monkeypatch, "")
    with pytest.raises(ServiceNotStarted, match="did not start"):
        await service.start()
