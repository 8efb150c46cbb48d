"""Damaged photos and other nonsense against the whole service: refused by whoever looks first, and gone."""

import asyncio
import io
import os
import random
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from faceid_client import AsyncClient
from faceid_client.connection import Reply
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.workers.recognition.test_opener_process import bomb, many_scans

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ACCOUNT = {"company_name": "Acme", "email": "ada@example.org", "password": "correct horse battery"}
ATTEMPTS: dict[str, dict[str, str | list[str]]] = {
    "/face/search": {},
    "/face/enroll": {"user_id": "u-1"},
}
REFUSALS = {413, 415, 422}
GROWN_BYTES = 640 * 2**20
"""What the first time through may leave: the networks keep room for the largest picture that they have looked
at closely, the store's caches fill up, and the opener keeps up to 64 MB."""
GROWN_AGAIN_BYTES = 24 * 2**20
"""What the second time through may add to that: of what leaks once a photo, there would be much more."""
HOSTILE = many_scans(7_000, 10_000)
"""A JPEG of a few megabytes that takes minutes to decode."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    async with running(tmp_path, FACEID_MAX_PHOTO_BYTES="900000") as service:
        yield service


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncGenerator[ServiceProcess]:
    service = ServiceProcess(folder / "home", folder / "serve.log", extra_environment=settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def admin(service: ServiceProcess) -> AsyncGenerator[AsyncClient]:
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        yield api


async def search(api: AsyncClient, photo: bytes) -> Reply:
    return await api.call("POST", "/face/search", photo=photo, headers={"Prefer": "wait=60"})


async def test_damaged_photos_are_refused_and_leave_nothing_behind(
    service: ServiceProcess, photos: Photos
) -> None:
    good = photos.stranger.read_bytes()
    async with admin(service) as api:
        assert (await search(api, good)).status == 200
        children, files = processes(service), left_on_disk(service)
        taken = [memory(service)]
        for _ in range(2):
            for case, photo in damaged(good):
                for path, fields in ATTEMPTS.items():
                    await attempt(api, case, path, photo, fields)
            taken.append(memory(service))
        assert processes(service) == children, "no process was started again"
        assert left_on_disk(service) == files
        assert taken[1] - taken[0] < GROWN_BYTES, taken
        assert taken[2] - taken[1] < GROWN_AGAIN_BYTES, taken
        enrolled = await api.call("POST", "/face/enroll", photo=good, fields={"user_id": "u-2"})
        assert enrolled.status == 201
        found = await api.call("POST", "/face/search", photo=good)
        assert found.body["best"]["user_id"] == "u-2"


async def attempt(
    api: AsyncClient, case: str, path: str, photo: bytes, fields: dict[str, str | list[str]]
) -> None:
    answer = await api.call("POST", path, photo=photo, fields=fields, headers={"Prefer": "wait=60"})
    if path == "/face/enroll" and answer.status == 201:
        # Damage that a decoder does not notice: the photo is as good as any.
        await api.call("DELETE", "/users/u-1", headers={"Prefer": "wait=60"})
        return
    assert (case, path, answer.status) in {(case, path, status) for status in (200, *REFUSALS)}
    assert answer.status == 200 or answer.body["code"]


async def test_a_photo_that_ends_its_opener_ends_nothing_else(tmp_path: Path, photos: Photos) -> None:
    good = photos.stranger.read_bytes()
    async with running(tmp_path, FACEID_OPEN_CPU_S="2") as service, admin(service) as api:
        assert (await search(api, good)).status == 200
        children, files = processes(service), left_on_disk(service)
        # Bombs: of more pixels than are allowed, and of as many, but none there. Nobody has to die of them.
        for side_px, code in ((40_000, "image_dimensions"), (7_000, "corrupt_image")):
            answer = await search(api, bomb(side_px))
            assert (answer.status, answer.body["code"]) == (422, code)
        assert processes(service) == children
        # Beyond its budget of processor time the opener is killed, and so it is by a stranger in mid-photo.
        costly, opener = await search(api, HOSTILE), opener_of(service)
        assert (costly.status, costly.body["code"]) == (422, "image_too_costly")
        assert (opener.pid, "opener") not in numbered(children)
        assert (await search(api, good)).status == 200
        in_flight = asyncio.create_task(search(api, HOSTILE))
        await asyncio.to_thread(at_work, opener)
        opener.kill()
        killed = await in_flight
        assert (killed.status, killed.body["code"]) == (422, "image_too_costly"), "it was tried once more"
        assert (await search(api, good)).status == 200
        changed = {name for _, name in numbered(processes(service)) ^ numbered(children)}
        assert changed == {"opener"}, "of all processes only openers died"
        assert left_on_disk(service) == files


async def test_a_host_that_is_killed_over_a_photo_leaves_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as service, admin(service) as api:
        accepted = await api.call("POST", "/face/search", photo=HOSTILE, headers={"Prefer": "respond-async"})
        assert accepted.status == 202
        await asyncio.to_thread(at_work, opener_of(service))
        tree = psutil.Process(service.pid).children(recursive=True)
        await service.kill()
        _, left = await asyncio.to_thread(psutil.wait_procs, tree, timeout=10)
        assert not left


def opener_of(service: ServiceProcess) -> psutil.Process:
    (number,) = [number for number, name in numbered(processes(service)) if name == "opener"]
    return psutil.Process(number)


def at_work(opener: psutil.Process) -> None:
    """Return when it has computed for some time since now."""
    before_s = opener.cpu_times().user
    while opener.cpu_times().user - before_s < 0.2:
        os.sched_yield()


def damaged(good: bytes) -> Iterator[tuple[str, bytes]]:
    """What can happen to a photo on its way, and what somebody may do to one on purpose."""
    yield "empty", b""
    for share in (0.01, 0.1, 0.5, 0.9, 0.999):
        yield f"cut to {share:%}", good[: int(len(good) * share)]
    for seed in range(8):
        generator = random.Random(seed)
        spoilt = bytearray(good)
        for _ in range(50):
            spoilt[generator.randrange(2, len(spoilt))] = generator.randrange(256)
        yield f"spoilt {seed}", bytes(spoilt)
    yield "zeros from the middle", good[: len(good) // 2] + bytes(len(good) // 2)
    yield "twice over", good + good
    for format_ in ("GIF", "TIFF", "WEBP", "PNG", "BMP"):
        yield format_, _as(good, format_)
    png = _as(good, "PNG")
    yield "a PNG whose data are cut", png[: len(png) // 2]
    yield "a PNG whose checksums are wrong", png.replace(b"IDAT", b"IDAU", 1)
    other = Image.new("RGB", (320, 240), "green")
    yield "an animated PNG", _as(good, "PNG", save_all=True, append_images=[other])
    yield "several pictures", _as(good, "MPO", save_all=True, append_images=[other])
    flat = io.BytesIO()
    Image.new("1", (7000, 7000)).save(flat, "PNG")
    yield "49 megapixels in a few kilobytes", flat.getvalue()
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    yield "900 megapixels", bomb.getvalue()
    yield "one line", _as(good, "PNG", size=(4000, 1))
    yield "too many bytes", good + bytes(900_000)


def _as(photo: bytes, format_: str, *, size: tuple[int, int] | None = None, **options: Any) -> bytes:
    target = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as image:
        image.convert("RGB").resize(size or (320, 240)).save(target, format_, **options)
    return target.getvalue()


def processes(service: ServiceProcess) -> set[tuple[int, str]]:
    """The processes below the service's, by number and program."""
    return {
        (child.pid, " ".join(child.cmdline()))
        for child in psutil.Process(service.pid).children(recursive=True)
    }


def numbered(found: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """The same, with `opener` for the program of an opener."""
    return {
        (number, "opener" if "workers.recognition.opener_child" in program else program)
        for number, program in found
    }


def left_on_disk(service: ServiceProcess) -> set[str]:
    """Photos in flight or kept, and whatever lies in the folder for temporary files under our name."""
    objects = (service.home / "data" / "objects").rglob("*")
    temporary = Path(tempfile.gettempdir()).glob("*faceid*")
    return {str(path) for path in (*objects, *temporary) if path.is_file()}


def memory(service: ServiceProcess) -> int:
    """What the processes of the service take that is no file's: each one's own, and once what compute and
    opener share.

    The sum of what is resident counts libraries, and a photo's pixels, once for each process that maps them.
    Who would have it exactly needs to trace the processes, which they do not let anybody.
    """
    process = psutil.Process(service.pid)
    taken = [_taken(each.pid) for each in (process, *process.children(recursive=True))]
    return sum(own for own, _ in taken) + max(shared for _, shared in taken)


def _taken(pid: int) -> tuple[int, int]:
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if words and words[0].startswith("Rss")}
    return sizes["RssAnon:"], sizes["RssShmem:"]
