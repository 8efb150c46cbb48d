"""What the benchmark of the index is made of: its population, its plan, its exact answers, its folder."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from infra.settings import PROJECT_ROOT
from infra.vectors.port import Hit
from schemas.calibration import Calibration
from scripts.bench.figures import Latency
from scripts.bench.gallery import SyntheticGallery, companies
from scripts.bench.population import Population, agreement
from scripts.bench.reckoning import reckon
from scripts.bench.room import Need, NoRoom, bench_folder, run_to_the_end

CALIBRATION_FILE = PROJECT_ROOT / "workers" / "recognition" / "calibration" / "casia-webface.json"
NOTHING = Need(0, 0)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(seed=1, photos=2)


@pytest.fixture(scope="module")
def gallery(population: Population, tmp_path_factory: pytest.TempPathFactory) -> SyntheticGallery:
    return SyntheticGallery.make(tmp_path_factory.mktemp("gallery") / "templates", population, 2, 10_000)


def test_synthetic_people_resemble_each_other_as_the_calibration_says_that_real_ones_do(
    population: Population,
) -> None:
    calibration = Calibration.model_validate_json(CALIBRATION_FILE.read_text())
    for found in agreement(population, calibration):
        assert found.synthetic == pytest.approx(found.calibrated, abs=0.025), found.what


def test_the_population_is_the_same_in_every_run_and_another_with_another_seed(
    population: Population,
) -> None:
    again, other = Population(seed=1, photos=2), Population(seed=2, photos=2)
    assert np.array_equal(population.templates(3), again.templates(3))
    assert not np.array_equal(population.templates(3), population.templates(4))
    assert not np.array_equal(population.templates(3), other.templates(3))
    assert np.linalg.norm(population.templates(0), axis=1) == pytest.approx(1, abs=1e-5)


def test_another_photo_is_of_the_same_person_and_none_of_the_templates(population: Population) -> None:
    users = [0, 17, 4095]
    of_users = population.templates(0).reshape(-1, 2, 128)[users]
    again = population.another_photo(0, users, seed=5)
    own = np.einsum("upd,ud->up", of_users, again)
    assert 0.5 < own.mean() < 0.99
    assert own.max() < 0.999


@pytest.mark.parametrize("faces", [1000, 12_345, 1_000_000])
def test_the_companies_hold_all_faces_and_one_of_them_seventy_percent(faces: int) -> None:
    plan = companies(faces)
    assert plan[0].faces == pytest.approx(0.7 * faces, rel=0.05)
    assert len(plan) > 10
    assert [slot.first for slot in plan[1:]] == [slot.first + slot.faces for slot in plan[:-1]]
    assert plan[-1].first + plan[-1].faces == faces
    assert len({slot.company_id for slot in plan}) == len(plan)


def test_recall_counts_the_nearest_and_what_is_as_near_and_nothing_else(gallery: SyntheticGallery) -> None:
    slot = companies(10_000)[0]
    probes = gallery.probes(slot, 8, seed=1)
    everybody = np.array(gallery.templates[: slot.faces])
    order = np.argsort(-(probes @ everybody.T), axis=1)

    def answers(rank: int) -> list[list[Hit]]:
        # The similarity that is stated is a lie: it must not be believed.
        return [[Hit(UUID(int=int(row) + 1), "", 1.0, 1)] for row in order[:, rank]]

    assert gallery.hits_at_first(slot, probes, answers(0)) == 8
    assert gallery.hits_at_first(slot, probes, answers(1)) == 0
    assert gallery.hits_at_first(slot, probes, [[] for _ in probes]) == 0
    outside = [[Hit(UUID(int=10_000), "", 1.0, 1)] for _ in probes]
    assert gallery.hits_at_first(slot, probes, outside) == 0


def test_half_of_the_probes_are_of_people_in_the_company(gallery: SyntheticGallery) -> None:
    slot = companies(10_000)[0]
    best = gallery.best(slot, gallery.probes(slot, 40, seed=1))
    assert 15 <= (best > 0.66).sum() <= 26


def test_points_name_rows_and_the_photos_of_a_user_share_their_hash(gallery: SyntheticGallery) -> None:
    (first, second) = gallery.points(100, 6, 4)
    points = [*first, *second]
    assert [point.face_id.int for point in points] == list(range(101, 107))
    assert [point.user_hash for point in points[:2]] == [points[0].user_hash] * 2
    assert len({point.user_hash for point in points}) == 3
    assert np.array_equal(points[3].vector, gallery.templates[103])


def test_p99_is_a_call_that_was_made() -> None:
    found = Latency.of([float(value) for value in range(1, 101)])
    assert (found.calls, found.p50_ms, found.p99_ms, found.max_ms) == (100, 51.0, 100.0, 100.0)


def test_a_scan_grows_with_the_faces_and_is_shared_out_over_shards() -> None:
    found = reckon(
        10_000_000, measured_faces=700_000, p50_ms=21, memory_bytes_a_face=300, disk_bytes_a_face=1000
    )
    assert (found.scan_p50_ms, found.shards, found.memory_gb, found.disk_gb) == (300, 8, 3, 10)


def test_without_room_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="GB free and this takes"), bench_folder(tmp_path, Need(10**18, 0)):
        pass
    with pytest.raises(NoRoom, match="of memory are free"), bench_folder(tmp_path, Need(0, 10**18)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal: what is run in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_folder_behind(
    tmp_path: Path, signum: signal.Signals, interruptible: None
) -> None:
    closed: list[bool] = []

    async def interrupted(folder: Path) -> None:
        (folder / "index").mkdir()
        (folder / "index" / "segment").write_bytes(b"x")
        os.kill(os.getpid(), signum)
        try:
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt), bench_folder(tmp_path, NOTHING) as folder:
        run_to_the_end(interrupted(folder))
    assert closed == [True]
    assert list(tmp_path.iterdir()) == []
