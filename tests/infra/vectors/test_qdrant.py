"""The adapter for Qdrant servers: who is let in, what becomes of calls when the server goes, and how the
collection is made. What only a real server can show is asked of one where it can be had."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import models

from infra.clock import SystemClock
from infra.refused import StoreRefused
from infra.starting import started
from infra.vectors.port import Point, Template, VectorsUnavailable
from infra.vectors.qdrant import QdrantVectors
from infra.vectors.qdrant_calls import QdrantAddress
from infra.vectors.qdrant_collection import QdrantLayout
from tests.contract.vectors_adapters import until_answering
from tests.servers import qdrant
from tests.servers.certificates import make_certificates
from tests.servers.engine import free_port
from tests.servers.qdrant import QdrantServer

pytestmark = pytest.mark.system

DIMENSIONS = 32
COMPANY = UUID(int=0xA)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[QdrantServer]:
    with qdrant.preferred(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[QdrantServer]:
    """It wants a key, and speaks TLS with a certificate of an authority of its own."""
    with qdrant.stand_in(tmp_path_factory.mktemp("guarded"), key=True, tls=True) as server:
        yield server


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex}"


def index(
    address: QdrantAddress, name: str, layout: QdrantLayout | None = None, **given: Any
) -> QdrantVectors:
    return QdrantVectors(address, DIMENSIONS, name, layout, flush_wait_s=0, **given)


def template(seed: int) -> Template:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def point(seed: int) -> Point:
    return Point(UUID(int=seed + 1), template(seed), f"user-{seed}", ("staff",), seed)


async def refusal(vectors: QdrantVectors) -> str:
    with pytest.raises(StoreRefused) as refused:
        await vectors.start()
    await vectors.close()
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_key_over_tls_lets_in(guarded: QdrantServer, name: str) -> None:
    vectors = index(guarded.address, name)
    await vectors.start()
    await vectors.upsert(COMPANY, [point(1)])
    assert await vectors.count(COMPANY) == 1
    await vectors.close()


@pytest.mark.parametrize("key", [None, "another key"])
async def test_a_wrong_key_is_refused_in_a_line_that_does_not_tell_it(
    guarded: QdrantServer, name: str, key: str | None
) -> None:
    told = await refusal(index(replace(guarded.address, api_key=key), name))
    assert "FACEID_QDRANT_API_KEY" in told
    assert f":{guarded.port} " in told
    assert key is None or key not in told


async def test_a_certificate_of_another_authority_is_refused(
    guarded: QdrantServer, name: str, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path)
    told = await refusal(index(replace(guarded.address, ca_file=other.ca), name))
    assert "FACEID_QDRANT_CA_FILE" in told
    told = await refusal(index(replace(guarded.address, ca_file=tmp_path / "none.pem"), name))
    assert "No such file" in told


async def test_a_server_without_tls_is_refused_by_who_wants_it(server: QdrantServer, name: str) -> None:
    address = QdrantAddress(server.address.url.replace("http:", "https:"))
    assert "does not speak TLS" in await refusal(index(address, name))


async def test_a_server_that_comes_up_later_is_waited_for(name: str, tmp_path: Path) -> None:
    with qdrant.stand_in(tmp_path, started=False) as late:
        vectors = index(late.address, name, call_timeout_s=2)
        with pytest.raises(VectorsUnavailable):
            await vectors.start()
        starting = asyncio.create_task(started("index", vectors.start, SystemClock()))
        await asyncio.to_thread(late.start)
        async with asyncio.timeout(30):
            await starting
        assert await vectors.count(COMPANY) == 0
        await vectors.close()


async def test_nothing_acknowledged_is_lost_to_kills_under_writers(name: str, tmp_path: Path) -> None:
    acknowledged: set[UUID] = set()
    written = asyncio.Event()
    with qdrant.stand_in(tmp_path) as mortal:
        vectors = index(mortal.address, name)
        await vectors.start()

        async def write(first: int) -> None:
            for seed in range(first, first + 60):
                new = point(seed)
                while new.face_id not in acknowledged:
                    try:
                        await vectors.upsert(COMPANY, [new])
                    except VectorsUnavailable:
                        continue
                    acknowledged.add(new.face_id)
                    written.set()

        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for writer in range(4):
                group.create_task(write(writer * 1000))
            for _ in range(2):
                written.clear()
                await written.wait()
                await asyncio.to_thread(mortal.restart)
        found, _ = await vectors.scroll(COMPANY, after=None, limit=1000)
        assert {one.face_id for one in found} == acknowledged
        assert len(acknowledged) == 240
        await vectors.close()


async def test_every_call_of_a_server_that_hangs_ends_in_time(name: str, tmp_path: Path) -> None:
    with qdrant.stand_in(tmp_path) as hanging:
        vectors = index(hanging.address, name)
        await vectors.start()
        vectors._call_timeout_s = vectors._calls._timeout_s = 0.3
        assert hanging.running is not None
        hanging.running.pause()
        calls: list[Callable[[], Awaitable[object]]] = [
            vectors.ping,
            vectors.flush,
            lambda: vectors.upsert(COMPANY, [point(1)]),
            lambda: vectors.query(COMPANY, [template(1)], limit=1, timeout_s=0.3),
            lambda: vectors.retrieve(COMPANY, [UUID(int=1)]),
            lambda: vectors.scroll(COMPANY, after=None, limit=1),
            lambda: vectors.delete(COMPANY, [UUID(int=1)]),
            lambda: vectors.count(COMPANY),
        ]
        try:
            async with asyncio.timeout(30):
                for call in calls:
                    with pytest.raises(VectorsUnavailable):
                        await call()
        finally:
            hanging.running.go_on()
        await until_answering(vectors)
        await vectors.close()


async def test_of_many_that_start_at_once_all_have_the_same_index(server: QdrantServer, name: str) -> None:
    several = [index(server.address, name) for _ in range(5)]
    await asyncio.gather(*(vectors.start() for vectors in several))
    assert len({vectors.edition for vectors in several}) == 1
    await several[0].upsert(COMPANY, [point(1)])
    assert {await vectors.count(COMPANY) for vectors in several} == {1}
    for vectors in several:
        await vectors.close()


async def test_an_index_with_another_layout_is_changed_or_refused(server: QdrantServer, name: str) -> None:
    first = index(server.address, name)
    await first.start()
    await first.upsert(COMPANY, [point(1)])
    for other, setting in ((QdrantLayout(shards=3), "SHARDS"), (QdrantLayout(replicas=2), "REPLICAS")):
        told = await refusal(index(server.address, name, other))
        assert f"FACEID_QDRANT_{setting}" in told
        assert "faceid reindex" in told
    wider = QdrantVectors(server.address, 64, name)
    assert "64 dimensions" in await refusal(wider)
    second = index(server.address, name, QdrantLayout(graph=True))
    await second.start()
    assert second.edition == first.edition
    assert await payload_links(second, name) == 16
    await first.close()
    third = index(server.address, name)
    await third.start()
    assert await payload_links(third, name) == 0
    assert await third.count(COMPANY) == 1
    await second.close()
    await third.close()


async def payload_links(vectors: QdrantVectors, name: str) -> int | None:
    info = await vectors._calls.client.get_collection(f"{name}~1")
    return info.config.hnsw_config.payload_m


async def test_an_index_made_anew_is_found_by_who_used_the_former(server: QdrantServer, name: str) -> None:
    vectors = index(server.address, name)
    await vectors.start()
    former = vectors.edition
    await vectors.upsert(COMPANY, [point(1)])
    renewed = index(server.address, name)
    await renewed.start_anew()
    assert await renewed.count(COMPANY) == 0
    await vectors.upsert(COMPANY, [point(2)])
    assert await vectors.count(COMPANY) == 2, "the former answers until it is retired"
    await renewed.remove_others()
    late = index(server.address, name)
    for used in (vectors.count(COMPANY), vectors.upsert(COMPANY, [point(3)]), late.start()):
        with pytest.raises(VectorsUnavailable):
            await used
    await renewed.put_in_use()
    await until_answering(vectors)
    assert await vectors.count(COMPANY) == 0
    await late.start()
    assert {vectors.edition, late.edition} == {renewed.edition}
    assert renewed.edition != former
    for one in (vectors, renewed, late):
        await one.close()


async def test_large_companies_are_compared_by_rescored_candidates_and_small_ones_exactly(
    server: QdrantServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in does not mind what is asked of it, so the question itself is looked at."""
    vectors = index(server.address, name, QdrantLayout(graph=True), exact_up_to=2)
    await vectors.start()
    asked: list[models.SearchParams] = []
    batch = vectors._calls.client.query_batch_points

    def noted(collection: str, requests: list[models.QueryRequest], **given: Any) -> Awaitable[Any]:
        asked.extend(request.params for request in requests if request.params is not None)
        return batch(collection, requests, **given)

    monkeypatch.setattr(vectors._calls.client, "query_batch_points", noted)
    for company_id, faces in ((COMPANY, 2), (UUID(int=0xB), 3)):
        await vectors.upsert(company_id, [point(company_id.int * 10 + seed) for seed in range(faces)])
        await vectors.query(company_id, [template(1)], limit=16, timeout_s=30)
    small, large = asked
    assert (small.exact, large.exact) == (True, False)
    assert large.quantization == models.QuantizationSearchParams(rescore=True, oversampling=4.0)
    assert large.hnsw_ef == 512
    await vectors.close()


async def test_a_server_that_is_not_there_is_named_with_the_reason(name: str) -> None:
    port = free_port()
    vectors = index(QdrantAddress(f"http://127.0.0.1:{port}"), name, call_timeout_s=5)
    with pytest.raises(VectorsUnavailable, match=f"Qdrant at 127.0.0.1:{port}: UNAVAILABLE"):
        await vectors.start()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Generator[QdrantServer]:
    with qdrant.real(tmp_path_factory.mktemp("real")) as server:
        yield server


@pytest.mark.parametrize("graph", [False, True])
async def test_quantised_points_are_found_with_their_exact_cosines(
    real: QdrantServer, name: str, graph: bool
) -> None:
    """On a real server alone: enough points for it to quantise, index and build, searched while it does."""
    vectors = QdrantVectors(real.address, 128, name, QdrantLayout(graph=graph), exact_up_to=0)
    await vectors.start()
    numbers = np.random.default_rng(7)
    templates = numbers.standard_normal((30_000, 128)).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    points = [
        Point(UUID(int=place + 1), vector, "user", ("staff",), 1) for place, vector in enumerate(templates)
    ]
    await vectors.upsert(COMPANY, points)
    async with asyncio.timeout(100):
        while not (await vectors._calls.client.get_collection(f"{name}~1")).indexed_vectors_count:
            await vectors.query(COMPANY, [templates[0]], limit=1, timeout_s=30)
    info = await vectors._calls.client.get_collection(f"{name}~1")
    assert info.payload_schema.keys() == {"company", "groups"}
    assert isinstance(info.config.quantization_config, models.ScalarQuantization)
    right = 0
    for probe in templates[:100]:
        noisy = probe + 0.05 * numbers.standard_normal(128).astype(np.float32)
        noisy /= np.linalg.norm(noisy)
        (hits,) = await vectors.query(COMPANY, [noisy], limit=5, groups=frozenset({"staff"}), timeout_s=30)
        for hit in hits:
            exact = float(templates[hit.face_id.int - 1] @ noisy)
            assert hit.similarity == pytest.approx(exact, abs=1e-5)
        right += hits[0].face_id.int - 1 == int(np.argmax(templates @ noisy))
    assert right == 100
    await vectors.close()
