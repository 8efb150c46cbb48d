"""What is particular to the embedded index: its base, the change to a copy, crashes, and what it refuses."""

import asyncio
import errno
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from infra.vectors.edge import EdgeVectors
from infra.vectors.edge_generations import Generations
from infra.vectors.port import Point, Template, VectorsError, VectorsUnavailable
from tests.children import own_children
from tests.infra.vectors import edge_host

# Index processes are started, killed and rebuilt here, which takes too long for the quick part.
pytestmark = pytest.mark.system

DIMENSIONS = 16
COMPANY = UUID(int=0xA)
TIMEOUT_S = 60.0


def templates(count: int, seed: int = 0) -> list[Template]:
    numbers = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return list(numbers / np.linalg.norm(numbers, axis=1, keepdims=True).astype(np.float32))


def points(count: int, start: int = 0, change: int = 1) -> list[Point]:
    return [
        Point(UUID(int=start + n), vector, "user", (), change)
        for n, vector in enumerate(templates(count, seed=start + change))
    ]


@asynccontextmanager
async def opened(
    folder: Path, *, collection: str = "model-1", dimensions: int = DIMENSIONS, rebuild_after: int = 10**6
) -> AsyncGenerator[EdgeVectors, None]:
    vectors = EdgeVectors(folder, dimensions, collection, rebuild_after=rebuild_after)
    try:
        await vectors.start()
        yield vectors
    finally:
        await vectors.close()
    assert own_children() == []


async def status(vectors: EdgeVectors) -> dict[str, int]:
    return await vectors._index.read("status", None, TIMEOUT_S)


async def rebuilt(vectors: EdgeVectors) -> None:
    """Wait for a rebuild that is under way."""
    while (rebuilding := vectors._index._rebuilding) is not None:
        await asyncio.wait((rebuilding,))


def generations(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def changes(vectors: EdgeVectors) -> dict[UUID, int]:
    found, _ = await vectors.scroll(COMPANY, after=None, limit=100_000)
    return {point.face_id: point.change for point in found}


async def test_a_rebuild_quantises_all_points_and_scores_stay_exact(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    written = points(3000)
    matrix = np.stack([point.vector for point in written])
    async with opened(folder) as vectors:
        await vectors.upsert(COMPANY, written)
        assert await status(vectors) == {"points": 3000, "indexed": 0}
        assert list(folder.glob("**/quantized.data")) == []
        await vectors.rebuild()
        assert await status(vectors) == {"points": 3000, "indexed": 3000}
        (quantised,) = folder.glob("**/quantized.data")
        assert quantised.stat().st_size >= 3000 * DIMENSIONS
        probes = templates(20, seed=99)
        for probe, hits in zip(
            probes, await vectors.query(COMPANY, probes, limit=3, timeout_s=TIMEOUT_S), strict=True
        ):
            best = np.argsort(-(matrix @ probe))[:3]
            assert [hit.face_id.int for hit in hits] == best.tolist()
            assert np.abs([hit.similarity for hit in hits] - matrix[best] @ probe).max() < 1e-5


async def test_searches_and_writes_go_on_during_a_rebuild_and_none_is_lost(tmp_path: Path) -> None:
    async with opened(tmp_path / "index") as vectors:
        await vectors.upsert(COMPANY, points(1000))
        expected = {UUID(int=n): 1 for n in range(1000)}
        rebuild = asyncio.create_task(vectors.rebuild())
        number, first = 0, vectors.pid
        while not rebuild.done() or number < 50:
            number += 1
            fresh, again = points(2, start=10_000 + 2 * number), points(2, start=3 * number, change=2)
            await vectors.upsert(COMPANY, fresh + again)
            gone = [again[1].face_id, UUID(int=3 * number + 2)]
            await vectors.delete(COMPANY, gone)
            expected.update({point.face_id: point.change for point in (*fresh, *again)})
            for face_id in gone:
                expected.pop(face_id, None)
            ((hit,),) = await vectors.query(COMPANY, [again[0].vector], limit=1, timeout_s=TIMEOUT_S)
            assert (hit.face_id, hit.change) == (again[0].face_id, 2)
        await rebuild
        assert vectors.pid != first
        assert await changes(vectors) == expected
    async with opened(tmp_path / "index") as vectors:
        assert await changes(vectors) == expected


async def test_a_rebuild_begins_by_itself_after_enough_writes_and_deletions(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    async with opened(folder, rebuild_after=100) as vectors:
        await vectors.upsert(COMPANY, points(99))
        assert vectors._index._rebuilding is None
        await vectors.upsert(COMPANY, points(1, start=99))
        await rebuilt(vectors)
        assert await status(vectors) == {"points": 100, "indexed": 100}
        assert generations(folder) == ["generation-2", "manifest.json"]
        await vectors.upsert(COMPANY, points(20, change=2))
        await vectors.delete(COMPANY, [UUID(int=n) for n in range(80)])
        await rebuilt(vectors)
        assert await status(vectors) == {"points": 20, "indexed": 20}
    async with opened(folder, rebuild_after=15) as vectors:
        # What was not in the base when it was closed counts.
        await vectors.upsert(COMPANY, points(14, start=1000))
    async with opened(folder, rebuild_after=15) as vectors:
        await vectors.upsert(COMPANY, points(1, start=2000))
        await rebuilt(vectors)
        assert await status(vectors) == {"points": 35, "indexed": 35}


async def test_a_rebuild_that_fails_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    async with opened(folder) as vectors:
        await vectors.upsert(COMPANY, points(10))
        in_the_way = folder / "generation-2"
        in_the_way.write_text("not a folder")
        with pytest.raises(VectorsUnavailable, match="not rebuilt"):
            await vectors.rebuild()
        in_the_way.unlink()
        await vectors.upsert(COMPANY, points(10, start=10))
        assert await vectors.count(COMPANY) == 20
        assert generations(folder) == ["generation-1", "manifest.json"]
        await vectors.rebuild()
        assert await vectors.count(COMPANY) == 20
        assert generations(folder) == ["generation-2", "manifest.json"]


@pytest.mark.parametrize("moved", [False, True])
async def test_when_the_manifest_cannot_be_written_what_is_on_disk_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    move = Generations.switch_to

    def fail(generations: Generations, number: int) -> None:
        if moved:
            move(generations, number)
        raise OSError(errno.EIO, "Input/output error")

    async with opened(tmp_path / "index") as vectors:
        await vectors.upsert(COMPANY, points(10))
        monkeypatch.setattr(Generations, "switch_to", fail)
        if moved:
            await vectors.rebuild()
        else:
            with pytest.raises(VectorsUnavailable, match="not rebuilt"):
                await vectors.rebuild()
        await vectors.upsert(COMPANY, points(10, start=10))
    async with opened(tmp_path / "index") as vectors:
        assert await vectors.count(COMPANY) == 20


async def test_a_rebuild_whose_process_is_killed_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path / "index") as vectors:
        await vectors.upsert(COMPANY, points(3000))
        rebuild = asyncio.create_task(vectors.rebuild())
        while not (others := {child.pid for child in own_children()} - {vectors.pid}):
            await vectors.ping()
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(VectorsUnavailable, match="not rebuilt"):
            await rebuild
        assert await vectors.count(COMPANY) == 3000


async def test_a_hung_index_process_is_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path / "index") as vectors:
        await vectors.upsert(COMPANY, points(10))
        assert vectors.pid is not None
        os.kill(vectors.pid, signal.SIGSTOP)
        with pytest.raises(VectorsUnavailable, match="hung"):
            await vectors.query(COMPANY, templates(1), limit=1, timeout_s=1.1)
        assert await vectors.count(COMPANY) == 10


async def test_an_index_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    vectors = EdgeVectors(tmp_path / "index", DIMENSIONS, "model-1")
    with pytest.raises(VectorsUnavailable):
        await vectors.ping()
    await vectors.start()
    await vectors.close()
    for call in (vectors.ping(), vectors.upsert(COMPANY, points(1)), vectors.rebuild()):
        with pytest.raises(VectorsUnavailable):
            await call


async def test_closing_during_a_rebuild_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    for begun in range(4):
        async with opened(folder, rebuild_after=20) as vectors:
            await vectors.upsert(COMPANY, points(20, start=100 * begun))
            assert vectors._index._rebuilding is not None
            for _ in range(begun * 40):
                await vectors.ping()
    async with opened(folder) as vectors:
        assert await vectors.count(COMPANY) == 80
        assert len(generations(folder)) == 2


@pytest.mark.parametrize(("collection", "dimensions"), [("model-2", DIMENSIONS), ("model-1", DIMENSIONS * 2)])
async def test_the_index_of_another_model_is_refused(
    tmp_path: Path, collection: str, dimensions: int
) -> None:
    folder = tmp_path / "index"
    async with opened(folder) as vectors:
        await vectors.upsert(COMPANY, points(1))
    with pytest.raises(VectorsError, match="not of an index"):
        async with opened(folder, collection=collection, dimensions=dimensions):
            pass
    async with opened(folder) as vectors:
        assert await vectors.count(COMPANY) == 1


async def test_a_damaged_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    async with opened(folder):
        pass
    (segment,) = folder.glob("generation-1/segments/*")
    (segment / "segment.json").write_text("rubbish")
    with pytest.raises(VectorsUnavailable, match="unreadable_index"):
        async with opened(folder):
            pass
    (folder / "generation-1").rename(folder / "elsewhere")
    with pytest.raises(VectorsError, match="reindex"):
        async with opened(folder):
            pass
    (folder / "manifest.json").write_text("rubbish")
    with pytest.raises(VectorsError, match="reindex"):
        async with opened(folder):
            pass


async def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    async with opened(folder) as vectors:
        await vectors.upsert(COMPANY, points(10))
    for leftover in ("generation-0", "generation-2"):
        shutil.copytree(folder / "generation-1", folder / leftover)
    (folder / "manifest.new").write_text("half")
    async with opened(folder) as vectors:
        assert generations(folder) == ["generation-1", "manifest.json"]
        assert await vectors.count(COMPANY) == 10


async def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "index"
    async with opened(folder):
        modes = {path: path.stat().st_mode & 0o777 for path in (folder.parent, *folder.iterdir())}
    assert modes == {
        folder.parent: 0o700,
        folder / "generation-1": 0o700,
        folder / "manifest.json": 0o600,
    }


@pytest.mark.parametrize("seed", [2, 5])
async def test_a_killed_host_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "index"
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.infra.vectors.edge_host", folder, stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    # Killed some operations after so many changes of generation, at any step of the next one.
    chance = random.Random(seed)
    generation, more = chance.randrange(2, 4), chance.randrange(4000)
    said: list[bytes] = []
    while not said or int(said[-1].split()[1]) < generation:
        said.append(await host.stdout.readline())
    said += [await host.stdout.readline() for _ in range(more)]
    host.kill()
    said += (await host.stdout.read()).splitlines()
    await host.wait()
    assert [int(line.split()[0]) for line in said] == list(range(len(said)))
    vectors = edge_host.make(folder)
    await vectors.start()
    try:
        # The operation that was under way may have been carried out or not.
        assert await changes(vectors) in (after(len(said)), after(len(said) + 1))
    finally:
        await vectors.close()


def after(operations: int) -> dict[UUID, int]:
    """The changes by id that the index holds after so many operations of the host."""
    held: dict[UUID, int] = {}
    for number in range(operations):
        deletion, face_id = edge_host.operation(number)
        if deletion:
            held.pop(face_id, None)
        else:
            held[face_id] = number
    return held
