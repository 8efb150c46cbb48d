"""`faceid bench scale`: the embedded index with a million synthetic faces, beside a plain matrix product.

Every step says what it found as it ends. The index is a new one in a folder of its own, which is gone
afterwards.
"""

# long because: the measurements follow one another on one index, and share what they are told by

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.progress import Progress

from infra.settings import Settings
from infra.telemetry import configure_logging
from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Hit
from schemas.calibration import Calibration
from scripts.bench.figures import Latency, wilson_interval
from scripts.bench.gallery import Slot, SyntheticGallery, companies
from scripts.bench.population import DIMENSIONS, Agreement, Population, Templates, agreement
from scripts.bench.reckoning import Reckoned, reckon
from scripts.bench.room import Need, bench_folder, bytes_below, run_to_the_end
from workers.recognition.model import calibrated_model
from workers.recognition.weights import find_weights

_PHOTOS_A_USER: Final = 2
_SLICE: Final = 500
_LIMIT: Final = 10
_TIMEOUT_S: Final = 30.0
_SHARE_ADDED: Final = 0.1
_BASELINE_EVERY: Final = 5
_WARM_UP: Final = 5

# At its peak, that is while the base is built anew beside the old one; the templates lie in a file of ours,
# too.
_DISK_A_FACE: Final = 4_000
_MEMORY_A_FACE: Final = 1_500
_ALWAYS: Final = 500_000_000


@dataclass(frozen=True)
class Memory:
    """Of the index process, in bytes."""

    anonymous: int
    file_backed: int
    """Pages of its files that it has mapped, which the system may take back at any time."""
    a_face: float
    """Both together."""


@dataclass(frozen=True)
class Recall:
    """How often the nearest template of all came first."""

    probes: int
    right: int
    share: float
    low: float
    """End of the 95 % interval."""


@dataclass(frozen=True)
class CompanySearched:
    """Searches in one company, one after another."""

    faces: int
    at_rest: Latency
    matrix_product: Latency
    """All of the company's templates by one probe, with numpy, in turns with the searches."""
    recall: Recall


@dataclass(frozen=True)
class ScaleReport:
    """One run's figures."""

    faces: int
    companies: int
    seed: int
    agreement: list[Agreement]
    fill_s: float
    rebuild_s: float
    disk_bytes_a_face: float
    memory: Memory
    reopen_s: float
    memory_reopened: Memory
    big: CompanySearched
    small: CompanySearched
    added: int
    add_s: float
    """The additional faces written and the index built anew, with searches all the while."""
    while_adding: Latency
    on_paper: list[Reckoned]


def scale_command(
    settings: Settings,
    console: Console,
    *,
    faces: int,
    probes: int,
    seed: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure and print."""
    configure_logging("error")
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    need = Need(_ALWAYS + faces * _DISK_A_FACE, _ALWAYS + faces * _MEMORY_A_FACE)
    told = Console(stderr=True, quiet=as_json, highlight=False)
    with bench_folder(folder or settings.cache_dir / "bench", need) as home:
        bench = _Scale(home, model.calibration, told, faces, probes, seed)
        report = run_to_the_end(bench.run())
    if as_json:
        console.print_json(json.dumps(asdict(report)))


class _Scale:
    """The steps, in order."""

    def __init__(
        self, home: Path, calibration: Calibration, told: Console, faces: int, probes: int, seed: int
    ) -> None:
        self._home = home
        self._calibration = calibration
        self._told = told
        self._faces = faces
        self._probes = probes
        self._seed = seed
        self._slots = companies(faces)
        self._added = max(_SLICE, int(faces * _SHARE_ADDED))

    async def run(self) -> ScaleReport:
        population = Population(self._seed, _PHOTOS_A_USER)
        alike = agreement(population, self._calibration)
        for one in alike:
            self._say(f"similarity, {one.what}: {one.synthetic:.3f} (calibration {one.calibrated:.3f})")
        rows = self._faces + self._added
        gallery = await asyncio.to_thread(
            SyntheticGallery.make, self._home / "templates", population, _PHOTOS_A_USER, rows
        )
        async with self._index() as index:
            fill_s = await _timed(self._fill(index, gallery, self._slots))
            self._say(f"filled with {self._faces:,} in {fill_s:.1f} s ({self._faces / fill_s:,.0f} a second)")
            rebuild_s = await _timed(index.rebuild())
            await index.flush()
            disk = bytes_below(self._home / "index") / self._faces
            memory = self._memory(index)
            self._say(f"built anew in {rebuild_s:.1f} s; on disk {disk:,.0f} bytes a face, {_told(memory)}")
        opened_s = time.perf_counter()
        async with self._index() as index:
            first = gallery.probes(self._slots[0], 2, self._seed)[0]
            await _search(index, self._slots[0], first)
            reopen_s = time.perf_counter() - opened_s
            self._say(f"opened again, and the first search answered, in {reopen_s:.1f} s")
            big = await self._searched(index, gallery, self._slots[0])
            small = await self._searched(index, gallery, self._slots[-1])
            reopened = self._memory(index)
            self._say(f"after these searches: {_told(reopened)}")
            add_s, while_adding = await self._while_adding(index, gallery)
        report = ScaleReport(
            faces=self._faces,
            companies=len(self._slots),
            seed=self._seed,
            agreement=alike,
            fill_s=round(fill_s, 2),
            rebuild_s=round(rebuild_s, 2),
            disk_bytes_a_face=round(disk, 1),
            memory=memory,
            reopen_s=round(reopen_s, 2),
            memory_reopened=reopened,
            big=big,
            small=small,
            added=self._added,
            add_s=round(add_s, 2),
            while_adding=while_adding,
            on_paper=[self._on_paper(size, big, reopened, disk) for size in (10_000_000, 100_000_000)],
        )
        for one in report.on_paper:
            self._say(
                f"on paper, one company of {one.faces:,}: a scan takes {one.scan_p50_ms:,.0f} ms (p50) on one"
                f" machine like this; {one.shards} of them for 40 ms; memory {one.memory_gb} GB"
                f" ({one.memory_building_graph_gb} GB while a graph is built), disk {one.disk_gb} GB"
            )
        return report

    @asynccontextmanager
    async def _index(self) -> AsyncGenerator[EdgeVectors]:
        index = EdgeVectors(self._home / "index", DIMENSIONS, "bench", call_timeout_s=_TIMEOUT_S)
        try:
            await index.start()
            yield index
        finally:
            await index.close()

    async def _fill(self, index: EdgeVectors, gallery: SyntheticGallery, slots: list[Slot]) -> None:
        with Progress(console=self._told, transient=True, disable=not self._told.is_terminal) as progress:
            task = progress.add_task("faces written", total=sum(slot.faces for slot in slots))
            for slot in slots:
                for points in gallery.points(slot.first, slot.faces, _SLICE):
                    await index.upsert(slot.company_id, points)
                    progress.advance(task, len(points))

    async def _searched(self, index: EdgeVectors, gallery: SyntheticGallery, slot: Slot) -> CompanySearched:
        probes = gallery.probes(slot, self._probes, self._seed)
        for probe in probes[:_WARM_UP]:
            await _search(index, slot, probe)
        times_ms: list[float] = []
        product_ms: list[float] = []
        answers: list[list[Hit]] = []
        everybody = gallery.templates[slot.first : slot.first + slot.faces]
        for number, probe in enumerate(probes):
            hits, took_ms = await _search(index, slot, probe)
            answers.append(hits)
            times_ms.append(took_ms)
            if number % _BASELINE_EVERY == 0:
                started_s = time.perf_counter()
                int((everybody @ probe).argmax())
                product_ms.append((time.perf_counter() - started_s) * 1000)
        right = await asyncio.to_thread(gallery.hits_at_first, slot, probes, answers)
        low, _ = wilson_interval(right, len(probes))
        found = CompanySearched(
            faces=slot.faces,
            at_rest=Latency.of(times_ms),
            matrix_product=Latency.of(product_ms),
            recall=Recall(len(probes), right, round(right / len(probes), 5), round(low, 5)),
        )
        self._say(
            f"company of {slot.faces:,}: p50 {found.at_rest.p50_ms} ms, p99 {found.at_rest.p99_ms} ms (matrix"
            f" product {found.matrix_product.p50_ms} ms), recall@1 {found.recall.share:.4f} (95 %: from"
            f" {found.recall.low:.4f}) over {found.recall.probes} probes"
        )
        return found

    async def _while_adding(self, index: EdgeVectors, gallery: SyntheticGallery) -> tuple[float, Latency]:
        """Searches in the big company while it gets more faces and the index is built anew."""
        big = self._slots[0]
        more = Slot(big.company_id, self._faces, self._added)
        probes = gallery.probes(big, self._probes, self._seed + 1)

        async def add() -> None:
            await self._fill(index, gallery, [more])
            await index.rebuild()

        adding = asyncio.create_task(_timed(add()), name="adding")
        times_ms: list[float] = []
        try:
            while not adding.done() or not times_ms:
                _, took_ms = await _search(index, big, probes[len(times_ms) % len(probes)])
                times_ms.append(took_ms)
            took_s = await adding
        finally:
            adding.cancel()
            await asyncio.wait((adding,))
        found = Latency.of(times_ms)
        self._say(
            f"while {self._added:,} were added and the index built anew ({took_s:.1f} s):"
            f" p50 {found.p50_ms} ms, p99 {found.p99_ms} ms over {found.calls} searches"
        )
        return took_s, found

    def _memory(self, index: EdgeVectors) -> Memory:
        used = psutil.Process(index.pid).memory_info()
        return Memory(used.rss - used.shared, used.shared, round(used.rss / self._faces, 1))

    def _on_paper(self, faces: int, big: CompanySearched, memory: Memory, disk: float) -> Reckoned:
        return reckon(
            faces,
            measured_faces=big.faces,
            p50_ms=big.at_rest.p50_ms,
            memory_bytes_a_face=memory.a_face,
            disk_bytes_a_face=disk,
        )

    def _say(self, words: str) -> None:
        self._told.print(words, soft_wrap=True)


async def _search(index: EdgeVectors, slot: Slot, probe: Templates) -> tuple[list[Hit], float]:
    """The hits, and milliseconds."""
    started_s = time.perf_counter()
    (hits,) = await index.query(slot.company_id, [probe], limit=_LIMIT, timeout_s=_TIMEOUT_S)
    return hits, (time.perf_counter() - started_s) * 1000


async def _timed(work: Awaitable[None]) -> float:
    """Seconds."""
    started_s = time.perf_counter()
    await work
    return time.perf_counter() - started_s


def _told(memory: Memory) -> str:
    parts = f"{memory.anonymous / 1e6:,.0f} MB anonymous, {memory.file_backed / 1e6:,.0f} MB of files"
    return f"{memory.a_face:,.0f} bytes of memory a face ({parts})"
