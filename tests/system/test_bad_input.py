"""Damaged photos and other nonsense against the whole service: refused by whoever looks first, and gone."""

import io
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from faceid_client import AsyncClient
from scripts.photos import Photos
from scripts.service_process import ServiceProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ACCOUNT = {"company_name": "Acme", "email": "ada@example.org", "password": "correct horse battery"}
ATTEMPTS: dict[str, dict[str, str | list[str]]] = {
    "/face/search": {},
    "/face/enroll": {"user_id": "u-1"},
}
REFUSALS = {413, 415, 422}
MEMORY_BYTES = 300 * 2**20
"""More than one large photo takes while it is decoded, less than a leak of a few would."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path / "home", tmp_path / "serve.log", extra_environment={"FACEID_MAX_PHOTO_BYTES": "900000"}
    )
    await service.start()
    yield service
    await service.stop()


async def test_damaged_photos_are_refused_and_leave_nothing_behind(
    service: ServiceProcess, photos: Photos
) -> None:
    good = photos.stranger.read_bytes()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        assert (await api.call("POST", "/face/search", photo=good)).status == 200
        children, files, resident = processes(service), left_on_disk(service), memory(service)
        for case, photo in damaged(good):
            for path, fields in ATTEMPTS.items():
                answer = await api.call(
                    "POST", path, photo=photo, fields=fields, headers={"Prefer": "wait=60"}
                )
                if path == "/face/enroll" and answer.status == 201:
                    # Damage that a decoder does not notice: the photo is as good as any.
                    await api.call("DELETE", "/users/u-1", headers={"Prefer": "wait=60"})
                    continue
                assert (case, path, answer.status) in {(case, path, status) for status in (200, *REFUSALS)}
                assert answer.status == 200 or answer.body["code"]
        assert processes(service) == children, "no process was started again"
        assert left_on_disk(service) == files
        assert memory(service) - resident < MEMORY_BYTES
        enrolled = await api.call("POST", "/face/enroll", photo=good, fields={"user_id": "u-2"})
        assert enrolled.status == 201
        found = await api.call("POST", "/face/search", photo=good)
        assert found.body["best"]["user_id"] == "u-2"


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


def left_on_disk(service: ServiceProcess) -> set[str]:
    """Photos in flight or kept, and whatever lies in the folder for temporary files under our name."""
    objects = (service.home / "data" / "objects").rglob("*")
    temporary = Path(tempfile.gettempdir()).glob("*faceid*")
    return {str(path) for path in (*objects, *temporary) if path.is_file()}


def memory(service: ServiceProcess) -> int:
    process = psutil.Process(service.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
