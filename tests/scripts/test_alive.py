"""A container's health check says what a listener of its own says, and asks nobody else."""

import asyncio
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.settings import PROJECT_ROOT
from scripts.alive import fault


@asynccontextmanager
async def listener(answer: bytes, tls_folder: Path | None = None) -> AsyncGenerator[int]:
    """The port of one that says `answer` to whoever asks, or nothing and waits."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        else:
            await reader.read()  # until the other side gives up
        writer.close()

    context = None
    if tls_folder is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls_folder / "server.pem")
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_whoever_answers_200_is_alive(tls_folder: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with listener(answer) as plain, listener(answer, tls_folder) as sealed:
        for url in (f"http://127.0.0.1:{plain}/metrics", f"https://127.0.0.1:{sealed}/healthz"):
            asked = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "scripts.alive", url, cwd=PROJECT_ROOT
            )
            assert await asked.wait() == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"hm\r\n\r\n", "BadStatusLine"),
        (b"", "TimeoutError"),
    ],
)
async def test_whoever_does_not_is_not(answer: bytes, told: str) -> None:
    async with listener(answer) as port:
        assert await asyncio.to_thread(fault, f"http://127.0.0.1:{port}/metrics", 0.2) == told


async def test_nobody_listening_is_not_alive() -> None:
    async with listener(b"") as port:
        pass
    url = f"http://127.0.0.1:{port}/metrics"
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.alive", url, cwd=PROJECT_ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asked.communicate()
    assert (asked.returncode, told) == (1, b"ConnectionRefusedError\n")


@pytest.mark.parametrize("host", ["192.0.2.1", "faces.example.com", ""])
def test_only_this_machine_is_asked(host: str) -> None:
    with pytest.raises(ValueError, match=r"this machine|IPv4 or IPv6"):
        fault(f"https://{host}/healthz")
