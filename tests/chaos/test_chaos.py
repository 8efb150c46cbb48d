"""The short form of `make chaos`: fewer jobs, fewer kills, the same verdict."""

import random
from pathlib import Path

import pytest

from scripts.photos import Photos
from tests.chaos.embedded import embedded_cluster
from tests.chaos.running import ENVIRONMENT, run

pytestmark = pytest.mark.system

_JOBS = 90
_KILLS = 8


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_on_one_machine(tmp_path: Path, photos: Photos) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    async with embedded_cluster(tmp_path, ENVIRONMENT) as cluster:
        report = await run(cluster, photos, jobs=_JOBS, kills=_KILLS, seed=seed)
    print(report)
    assert report.kills.total() == _KILLS
    assert report.faults == []
