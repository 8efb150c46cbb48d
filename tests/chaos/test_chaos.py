"""The short form of `make chaos`: fewer jobs, fewer kills, the same verdict."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.photos import Photos
from tests.chaos.distributed import distributed_cluster
from tests.chaos.embedded import embedded_cluster
from tests.chaos.running import ENVIRONMENT, Report, run
from tests.stores import Servers, running_servers

pytestmark = pytest.mark.system


@pytest.fixture
def seed() -> int:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return seed


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers of the test's own: it kills them."""
    with running_servers(tmp_path / "servers") as servers:
        yield servers


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_on_one_machine(tmp_path: Path, photos: Photos, seed: int) -> None:
    async with embedded_cluster(tmp_path, ENVIRONMENT) as cluster:
        _check(await run(cluster, photos, jobs=90, kills=8, seed=seed), kills=8)


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_on_servers(
    tmp_path: Path, servers: Servers, photos: Photos, seed: int
) -> None:
    (tmp_path / "processes").mkdir()
    async with distributed_cluster(tmp_path / "processes", servers, ENVIRONMENT) as cluster:
        _check(await run(cluster, photos, jobs=60, kills=6, seed=seed), kills=6)


def _check(report: Report, *, kills: int) -> None:
    print(report)
    assert report.kills.total() == kills
    assert report.faults == []
