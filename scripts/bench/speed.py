"""`faceid bench speed`: where the time of one search goes, beside a plain facenet-pytorch script on the same
photo.

Both take the same photo in turns, in one run, so that whatever else the machine does falls on both.
"""

import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from rich.console import Console
from rich.table import Table

from faceid_client import AsyncClient
from infra.documents.sqlite import SqliteDocuments
from infra.settings import Settings
from infra.sqlite.writer import Statistics
from infra.telemetry import configure_logging
from scripts.bench.embedding import embedding_times
from scripts.bench.plain_network import plain_network
from scripts.bench.seeing import Seeing, seeing
from scripts.photos import prepare_photos
from scripts.serve import RunningService, running_service
from scripts.service_process import ServiceProcess
from scripts.setup import set_up
from workers.recognition.facenet_weights import PROJECTION_TENSOR
from workers.recognition.model import CalibratedModel

_STEPS = ("open", "detect", "embed", "index")
_GALLERY_FACES = 1000
_WARM_UP = 5
_SYNCS_TIMED = 50
_PHOTO_SIDE_PX = 640
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Spread:
    """Milliseconds over all rounds."""

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> "Spread":
        low, *_, high = statistics.quantiles(values_ms, n=10)
        return cls(round(statistics.median(values_ms), 2), round(low, 2), round(high, 2))


@dataclass(frozen=True)
class Embedding:
    """Milliseconds a face in batches of one size, and how many times faster ours is, turn by turn."""

    batch: int
    ours: Spread
    plain: Spread
    times_faster: float

    @classmethod
    def of(cls, batch: int, ours: Sequence[float], plain: Sequence[float]) -> "Embedding":
        ratios = [theirs / mine for mine, theirs in zip(ours, plain, strict=True)]
        return cls(batch, Spread.of(ours), Spread.of(plain), round(statistics.median(ratios), 2))


@dataclass(frozen=True)
class SpeedReport:
    """One run's figures."""

    photo: str
    searches: int
    service: dict[str, Spread]
    plain: dict[str, Spread]
    engine: dict[str, str]
    """What computes our embeddings."""
    embedding: list[Embedding]
    commits_a_search: float
    synced_commits_a_search: float
    sync_ms: Spread
    seeing: list[Seeing]
    """Opening and detecting alone, of photos of several sizes."""


def speed_command(settings: Settings, console: Console, *, searches: int, as_json: bool) -> None:
    """Measure and print."""
    configure_logging("warning")  # What the service logs of each request is not what is looked for here.
    model = set_up(settings, lambda words: console.print(words, highlight=False)).model
    photos = prepare_photos(settings.cache_dir)
    enrolled, probe = (sized(path) for path in photos.people["Barack Obama"][:2])
    with tempfile.TemporaryDirectory(prefix="faceid-bench-") as folder:
        home = Path(folder)
        service, plain = asyncio.run(_rounds(home, model, enrolled, probe, searches))
        commits, synced = asyncio.run(_commits(home, enrolled, probe))
        times = embedding_times(model.files, settings, searches)
        report = SpeedReport(
            photo=f"{_PHOTO_SIDE_PX} px, {len(probe) // 1000} kB",
            searches=searches,
            service={step: Spread.of(values) for step, values in service.items()},
            plain={step: Spread.of(values) for step, values in plain.items()},
            engine=times.engine.model_dump(),
            embedding=[
                Embedding.of(batch, times.ours[batch], times.plain[batch]) for batch in sorted(times.ours)
            ],
            commits_a_search=commits,
            synced_commits_a_search=synced,
            sync_ms=Spread.of(_syncs(home)),
            seeing=seeing(settings, photos.people["Barack Obama"][0], searches),
        )
    _print(report, console, as_json=as_json)


class PlainScript:
    """What everybody writes: facenet-pytorch as it comes, its steps timed one by one."""

    def __init__(self, model: CalibratedModel, gallery_faces: int) -> None:
        tensors = safetensors.numpy.load(model.files.read_tensors())
        del tensors[PROJECTION_TENSOR]
        self._mtcnn = MTCNN()
        self._network = plain_network(tensors)
        gallery = np.random.default_rng(1).normal(size=(gallery_faces, 512)).astype(np.float32)
        self._gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)

    @torch.inference_mode()
    def search(self, photo: bytes) -> dict[str, float]:
        """Milliseconds of each step."""
        marks = [time.perf_counter()]
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        marks.append(time.perf_counter())
        face = self._mtcnn(image)
        marks.append(time.perf_counter())
        embedding = self._network(face.unsqueeze(0))[0].numpy()
        marks.append(time.perf_counter())
        int((self._gallery @ embedding).argmax())
        marks.append(time.perf_counter())
        return {
            step: (end - start) * 1000 for step, start, end in zip(_STEPS, marks, marks[1:], strict=False)
        } | {"all": (marks[-1] - marks[0]) * 1000}


async def _rounds(
    home: Path, model: CalibratedModel, enrolled: bytes, probe: bytes, searches: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The service and the plain script in turns; the first rounds of each warm up and do not count."""
    plain_script = await asyncio.to_thread(PlainScript, model, _GALLERY_FACES)
    service_process = ServiceProcess(home / "timed", home / "timed.log")
    await service_process.start()
    service: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    try:
        async with AsyncClient(service_process.url, ca_file=service_process.ca_file) as api:
            await _prepare(api, enrolled)
            for turn in range(_WARM_UP + searches):
                times = await _search(api, probe), await asyncio.to_thread(plain_script.search, probe)
                for kept, taken in zip((service, plain), times, strict=True):
                    for step, value_ms in taken.items() if turn >= _WARM_UP else ():
                        kept.setdefault(step, []).append(value_ms)
    finally:
        await service_process.stop()
    return service, plain


async def _commits(home: Path, enrolled: bytes, probe: bytes) -> tuple[float, float]:
    """Commits a search and those of them that wait for the disk, counted by the store itself."""
    inside = ServiceProcess(home / "counted", home / "counted.log")
    await inside.set_up()
    counted = Settings.model_validate(
        {name.removeprefix("FACEID_").lower(): value for name, value in inside.settings.items()}
    )
    async with running_service(counted) as running, AsyncClient(running.url, ca_file=inside.ca_file) as api:
        await _prepare(api, enrolled)
        for _ in range(_WARM_UP):
            await _search(api, probe)
        before = _statistics(running)
        for _ in range(_SYNCS_TIMED):
            await _search(api, probe)
        after = _statistics(running)
    commits = (after.commits - before.commits) / _SYNCS_TIMED
    return commits, (after.synced_commits - before.synced_commits) / _SYNCS_TIMED


def _statistics(running: RunningService) -> Statistics:
    documents = running.services.documents
    if not isinstance(documents, SqliteDocuments):
        raise TypeError("commits are counted on the embedded store")
    return documents.statistics()


async def _prepare(api: AsyncClient, enrolled: bytes) -> None:
    account = {"company_name": "Bench", "email": "bench@example.com", "password": "a long enough password"}
    await api.call("POST", "/register", json=account)
    await api.login(account["email"], account["password"])
    reply = await api.call("POST", "/face/enroll", photo=enrolled, fields={"user_id": "u-1"})
    if reply.status != 201:
        raise RuntimeError(f"the photo to search for was not enrolled: {reply.status}")


async def _search(api: AsyncClient, probe: bytes) -> dict[str, float]:
    started_s = time.perf_counter()
    reply = await api.call("POST", "/face/search", photo=probe)
    all_ms = (time.perf_counter() - started_s) * 1000
    if reply.status != 200 or not reply.body["matched"]:
        raise RuntimeError(f"the search did not find who was enrolled: {reply.status}")
    steps = {step: reply.body["timings_ms"][step] for step in _STEPS}
    return {**steps, "everything else": all_ms - sum(steps.values()), "all": all_ms}


def _syncs(folder: Path) -> list[float]:
    """What one `fdatasync` of a page costs on the disk that the data is on."""
    times_ms: list[float] = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS_TIMED):
            file.write(os.urandom(4096))
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times_ms.append((time.perf_counter() - started_s) * 1000)
    return times_ms


def sized(path: Path, quality: int = _JPEG_QUALITY) -> bytes:
    """The photo as a camera at a door would send it."""
    with Image.open(path) as image:
        image.thumbnail((_PHOTO_SIDE_PX, _PHOTO_SIDE_PX))
        target = io.BytesIO()
        image.convert("RGB").save(target, "JPEG", quality=quality)
    return target.getvalue()


def _print(report: SpeedReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(asdict(report)))
        return
    table = Table("step", "this service, ms", "p10 to p90", "plain script, ms", "p10 to p90")
    for step, ours in report.service.items():
        theirs = report.plain.get(step)
        table.add_row(
            step,
            f"{ours.median_ms:.1f}",
            f"{ours.p10_ms:.1f} to {ours.p90_ms:.1f}",
            f"{theirs.median_ms:.1f}" if theirs else "",
            f"{theirs.p10_ms:.1f} to {theirs.p90_ms:.1f}" if theirs else "",
        )
    console.print(f"One search, {report.photo}, median of {report.searches}:")
    console.print(table)
    for one in report.embedding:
        console.print(
            f"Embedding alone in batches of {one.batch}, ms a face: {one.ours.median_ms:.1f} "
            f"({one.ours.p10_ms:.1f} to {one.ours.p90_ms:.1f}) by {' '.join(report.engine.values())}, "
            f"{one.plain.median_ms:.1f} ({one.plain.p10_ms:.1f} to {one.plain.p90_ms:.1f}) by the plain "
            f"script: {one.times_faster:.1f} times faster."
        )
    console.print(
        f"Commits a search: {report.commits_a_search:.1f}, of which {report.synced_commits_a_search:.1f} "
        "wait for the disk; "
        f"one sync on this disk: {report.sync_ms.median_ms:.2f} ms."
    )
    for found in report.seeing:
        console.print(
            f"Open, detect and crop, {found.photo}: {found.service_ms:.1f} ms, plain script "
            f"{found.plain_ms:.1f} ms; {found.ratio:.1f} times as fast."
        )
