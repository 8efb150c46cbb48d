"""What every adapter of the vectors role does."""

import random
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from infra.vectors.port import Hit, Point, Template, Vectors, VectorsError
from tests.contract.vectors_adapters import ADAPTERS, DIMENSIONS, Adapter, MakeAdapter

pytestmark = pytest.mark.system

TIMEOUT_S = 60.0
TOLERANCE = 1e-5

A, B = UUID(int=0xA), UUID(int=0xB)


@pytest.fixture(params=list(ADAPTERS), scope="module")
def make_adapter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[MakeAdapter]:
    with ADAPTERS[request.param](tmp_path_factory.mktemp("vectors")) as made:
        yield made


@pytest.fixture
def adapter(make_adapter: MakeAdapter, tmp_path: Path) -> Adapter:
    return make_adapter(tmp_path)


@pytest.fixture
async def vectors(adapter: Adapter) -> AsyncGenerator[Vectors, None]:
    vectors = adapter.make()
    await vectors.start()
    yield vectors
    await vectors.close()


class Model:
    """The index as it should be: exact cosines over a dictionary."""

    def __init__(self, seed: int) -> None:
        print(f"seed {seed}")
        self.random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self.points: dict[UUID, dict[UUID, Point]] = {A: {}, B: {}}

    def template(self) -> Template:
        template = self._numbers.standard_normal(DIMENSIONS).astype(np.float32)
        return template / np.float32(np.linalg.norm(template))

    def point(self, face_id: UUID | None = None, *, groups: tuple[str, ...] = (), change: int = 1) -> Point:
        new_id = face_id or UUID(int=self.random.getrandbits(128))
        return Point(new_id, self.template(), f"user-{self.random.randrange(9)}", groups, change)

    def put(self, company_id: UUID, *points: Point) -> list[Point]:
        self.points[company_id].update({point.face_id: point for point in points})
        return list(points)

    def nearest(
        self, company_id: UUID, probe: Template, limit: int, groups: frozenset[str] | None
    ) -> list[tuple[UUID, float]]:
        scored = [
            (point.face_id, float(point.vector @ probe))
            for point in self.points[company_id].values()
            if groups is None or groups & set(point.groups)
        ]
        return sorted(scored, key=lambda pair: -pair[1])[:limit]


async def query_one(vectors: Vectors, company_id: UUID, probe: Template, limit: int = 10) -> list[Hit]:
    (hits,) = await vectors.query(company_id, [probe], limit=limit, timeout_s=TIMEOUT_S)
    return hits


def assert_same(actual: Point, expected: Point) -> None:
    assert np.abs(actual.vector - expected.vector).max() < TOLERANCE
    assert (actual.face_id, actual.user_hash, actual.change) == (
        expected.face_id,
        expected.user_hash,
        expected.change,
    )
    assert sorted(actual.groups) == sorted(expected.groups)


async def assert_holds(vectors: Vectors, model: Model, probes: int = 5) -> None:
    """The index gives what the model gives, by every way of reading."""
    for company_id, points in model.points.items():
        assert await vectors.count(company_id) == len(points)
        scrolled = await scroll_all(vectors, company_id, limit=model.random.choice((1, 7, 1000)))
        assert [point.face_id for point in scrolled] == sorted(points)
        for point in scrolled:
            assert_same(point, points[point.face_id])
        for groups in (None, frozenset({"g1"}), frozenset({"g2", "g3"})):
            limit = model.random.choice((1, 3, 20))
            sought = [model.template() for _ in range(probes)]
            answers = await vectors.query(company_id, sought, limit=limit, groups=groups, timeout_s=TIMEOUT_S)
            for probe, hits in zip(sought, answers, strict=True):
                expected = model.nearest(company_id, probe, limit, groups)
                assert [hit.face_id for hit in hits] == [face_id for face_id, _ in expected]
                for hit, (face_id, similarity) in zip(hits, expected, strict=True):
                    assert abs(hit.similarity - similarity) < TOLERANCE
                    assert (hit.user_hash, hit.change) == (points[face_id].user_hash, points[face_id].change)


async def scroll_all(vectors: Vectors, company_id: UUID, limit: int) -> list[Point]:
    points, after = await vectors.scroll(company_id, after=None, limit=limit)
    while after is not None:
        page, following = await vectors.scroll(company_id, after=after, limit=limit)
        assert len(page) <= limit
        assert following is None or following > after
        points, after = points + page, following
    return points


async def test_an_empty_index_has_nothing(vectors: Vectors) -> None:
    model = Model(1)
    assert await vectors.count(A) == 0
    assert await query_one(vectors, A, model.template()) == []
    assert await vectors.query(A, [], limit=1, timeout_s=TIMEOUT_S) == []
    assert await vectors.retrieve(A, [UUID(int=1)]) == {}
    assert await vectors.retrieve(A, []) == {}
    assert await vectors.scroll(A, after=None, limit=5) == ([], None)
    await vectors.upsert(A, [])
    await vectors.delete(A, [])
    await vectors.ping()


async def test_a_point_is_found_at_once_with_all_that_was_written(vectors: Vectors) -> None:
    model = Model(2)
    point = model.point(groups=("lab", "night"), change=2**40)
    await vectors.upsert(A, [point])
    (hit,) = await query_one(vectors, A, point.vector)
    assert (hit.face_id, hit.user_hash, hit.change) == (point.face_id, point.user_hash, 2**40)
    assert abs(hit.similarity - 1.0) < TOLERANCE
    assert hit.similarity <= 1.0
    found = await vectors.retrieve(A, [point.face_id, UUID(int=5)])
    assert list(found) == [point.face_id]
    assert_same(found[point.face_id], point)


async def test_companies_do_not_see_or_touch_each_other(vectors: Vectors) -> None:
    model = Model(3)
    (ours,) = model.put(A, model.point())
    (theirs,) = model.put(B, model.point())
    await vectors.upsert(A, [ours])
    await vectors.upsert(B, [theirs])
    assert [hit.face_id for hit in await query_one(vectors, A, theirs.vector)] == [ours.face_id]
    assert await vectors.retrieve(A, [theirs.face_id]) == {}
    await vectors.delete(A, [theirs.face_id])
    await assert_holds(vectors, model)


async def test_a_point_of_another_company_keeps_its_id_and_all_it_has(vectors: Vectors) -> None:
    """Ids of faces differ; one that does not must not be a way into another company."""
    model = Model(12)
    (theirs,) = model.put(B, model.point(groups=("g1",)))
    await vectors.upsert(B, [theirs])
    with suppress(VectorsError):  # Saying so is as good as leaving it out.
        await vectors.upsert(A, [model.point(theirs.face_id, groups=("g2",))])
    await vectors.delete(A, [theirs.face_id])
    await assert_holds(vectors, model)


async def test_only_points_of_one_of_the_groups_are_found(vectors: Vectors) -> None:
    model = Model(4)
    lab, night, both, none = (
        model.point(groups=groups) for groups in (("lab",), ("night",), ("lab", "night"), ())
    )
    await vectors.upsert(A, [lab, night, both, none])

    async def found(groups: frozenset[str] | None) -> set[UUID]:
        (hits,) = await vectors.query(A, [none.vector], limit=9, groups=groups, timeout_s=TIMEOUT_S)
        return {hit.face_id for hit in hits}

    assert await found(None) == {lab.face_id, night.face_id, both.face_id, none.face_id}
    assert await found(frozenset({"lab"})) == {lab.face_id, both.face_id}
    assert await found(frozenset({"lab", "night"})) == {lab.face_id, night.face_id, both.face_id}
    assert await found(frozenset({"other"})) == set()
    assert await found(frozenset()) == set()


async def test_an_upsert_replaces_the_whole_point(adapter: Adapter, vectors: Vectors) -> None:
    model = Model(5)
    first = model.point(groups=("g1",), change=1)
    await vectors.upsert(A, [first])
    await adapter.optimise(vectors)
    second = model.point(first.face_id, groups=("g2",), change=2)
    await vectors.upsert(A, model.put(A, second))
    await assert_holds(vectors, model)


async def test_of_two_points_of_one_id_in_one_upsert_the_last_counts(vectors: Vectors) -> None:
    model = Model(6)
    first = model.point()
    second = model.point(first.face_id, change=2)
    model.put(A, second)
    await vectors.upsert(A, [first, second])
    await assert_holds(vectors, model)


async def test_what_is_deleted_is_gone_and_may_come_back(adapter: Adapter, vectors: Vectors) -> None:
    model = Model(7)
    kept, gone = model.point(), model.point()
    model.put(A, kept)
    await vectors.upsert(A, [kept, gone])
    await adapter.optimise(vectors)
    await vectors.delete(A, [gone.face_id, UUID(int=5)])
    await vectors.delete(A, [gone.face_id])
    await assert_holds(vectors, model)
    await vectors.upsert(A, model.put(A, gone))
    await assert_holds(vectors, model)


async def test_more_points_than_fit_into_one_call(vectors: Vectors) -> None:
    model = Model(8)
    await vectors.upsert(A, model.put(A, *(model.point() for _ in range(1203))))
    found = await vectors.retrieve(A, list(model.points[A]))
    assert found.keys() == model.points[A].keys()
    assert len((await vectors.scroll(A, after=None, limit=1100))[0]) == 1100
    gone = list(model.points[A])[:1100]
    await vectors.delete(A, gone)
    for face_id in gone:
        del model.points[A][face_id]
    await assert_holds(vectors, model)


async def test_scroll_goes_on_after_any_id(vectors: Vectors) -> None:
    model = Model(9)
    ends = [UUID(int=0), UUID(int=2**128 - 1)]
    await vectors.upsert(A, model.put(A, *(model.point(face_id) for face_id in ends)))
    await assert_holds(vectors, model)
    assert await vectors.scroll(A, after=ends[1], limit=5) == ([], None)
    points, after = await vectors.scroll(A, after=UUID(int=1), limit=5)
    assert ([point.face_id for point in points], after) == ([ends[1]], None)


async def test_a_template_that_cannot_be_compared_is_refused(vectors: Vectors) -> None:
    model = Model(10)
    point = model.point()
    for bad in (
        point.vector[:-1],
        point.vector * 2,
        np.zeros(DIMENSIONS, np.float32),
        np.full(DIMENSIONS, np.nan, np.float32),
    ):
        with pytest.raises(ValueError, match="template"):
            await vectors.upsert(A, [Point(point.face_id, bad, "u", (), 1)])
        with pytest.raises(ValueError, match="template"):
            await query_one(vectors, A, bad)
    with pytest.raises(ValueError, match="limit"):
        await query_one(vectors, A, point.vector, limit=0)
    assert await vectors.count(A) == 0


async def test_everything_acknowledged_outlives_crash_flush_and_reopening(
    adapter: Adapter, vectors: Vectors
) -> None:
    model = Model(11)
    await vectors.upsert(A, model.put(A, *(model.point(groups=("g1",)) for _ in range(50))))
    await vectors.flush()
    await vectors.upsert(B, model.put(B, *(model.point() for _ in range(50))))
    gone = next(iter(model.points[A]))
    await vectors.delete(A, [gone])
    del model.points[A][gone]
    await adapter.crash(vectors)
    await assert_holds(vectors, model)
    await vectors.flush()
    await vectors.close()
    reopened = adapter.make()
    await reopened.start()
    try:
        await assert_holds(reopened, model)
    finally:
        await reopened.close()


@pytest.mark.parametrize("seed", [101, 102])
async def test_after_any_operations_the_index_is_the_model(
    adapter: Adapter, vectors: Vectors, seed: int
) -> None:
    model = Model(seed)
    operations = ["upsert"] * 6 + ["replace"] * 3 + ["delete"] * 3 + ["optimise", "crash", "flush"]
    for change in range(40):
        company_id = model.random.choice((A, B))
        known = sorted(model.points[company_id])
        groups = tuple(g for g in ("g1", "g2", "g3") if model.random.random() < 0.4)
        match model.random.choice(operations):
            case "upsert":
                new = [
                    model.point(groups=groups, change=change) for _ in range(model.random.choice((1, 5, 60)))
                ]
                await vectors.upsert(company_id, model.put(company_id, *new))
            case "replace":
                old = model.random.sample(known, min(len(known), 5))
                points = [model.point(face_id, groups=groups, change=change) for face_id in old]
                await vectors.upsert(company_id, model.put(company_id, *points))
            case "delete":
                gone = model.random.sample(known, min(len(known), 7))
                await vectors.delete(company_id, gone)
                for face_id in gone:
                    del model.points[company_id][face_id]
            case "optimise":
                await adapter.optimise(vectors)
            case "crash":
                await adapter.crash(vectors)
            case _:
                await vectors.flush()
        if change % 10 == 9:
            await assert_holds(vectors, model, probes=2)
