"""The long form: `make chaos`, or `python -m tests.chaos --stores S --seed N` to replay a run."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from infra.settings import Settings
from scripts.photos import prepare_photos
from tests.chaos.distributed import distributed_cluster
from tests.chaos.embedded import embedded_cluster
from tests.chaos.running import ENVIRONMENT, Report, run
from tests.stores import running_servers


async def on_one_machine(folder: Path, jobs: int, kills: int, seed: int) -> Report:
    photos = prepare_photos(Settings().cache_dir)
    async with embedded_cluster(folder, ENVIRONMENT) as cluster:
        return await run(cluster, photos, jobs=jobs, kills=kills, seed=seed)


def on_servers(folder: Path, jobs: int, kills: int, seed: int) -> Report:
    async def running() -> Report:
        async with distributed_cluster(folder / "processes", servers, ENVIRONMENT) as cluster:
            return await run(cluster, photos, jobs=jobs, kills=kills, seed=seed)

    photos = prepare_photos(Settings().cache_dir)
    (folder / "processes").mkdir()
    with running_servers(folder / "servers") as servers:
        return asyncio.run(running())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--stores", choices=("embedded", "distributed"), default="embedded")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="faceid-chaos-") as name:
        asked = (Path(name), given.jobs, given.kills, given.seed)
        embedded = given.stores == "embedded"
        report = asyncio.run(on_one_machine(*asked)) if embedded else on_servers(*asked)
    print(report)
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
