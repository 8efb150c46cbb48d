"""The long form: `make chaos`, or `python -m tests.chaos --seed N` to replay a run."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from infra.settings import Settings
from scripts.photos import prepare_photos
from tests.chaos.embedded import embedded_cluster
from tests.chaos.running import ENVIRONMENT, Report, run


async def main(jobs: int, kills: int, seed: int) -> Report:
    photos = prepare_photos(Settings().cache_dir)
    with tempfile.TemporaryDirectory(prefix="faceid-chaos-") as folder:
        async with embedded_cluster(Path(folder), ENVIRONMENT) as cluster:
            return await run(cluster, photos, jobs=jobs, kills=kills, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    report = asyncio.run(main(given.jobs, given.kills, given.seed))
    print(report)
    sys.exit(bool(report.faults))
