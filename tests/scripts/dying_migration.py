"""`python -m tests.scripts.dying_migration FILE WRITES`: `faceid migrate --to FILE`, killed in the place of
the write after so many; it ends with 0 if it needs no more."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from infra.clock import SystemClock
from infra.settings import Settings
from infra.settings_file import read_settings
from scripts.migration import Asked, migrator
from tests.workers.migrating import Target
from workers.migrating.watching import Unwatched


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die(file: Path, writes: int) -> int:
    asked = Asked(Settings(), read_settings(file))
    async with migrator(asked, Unwatched(), SystemClock()) as opened:
        cut = Target(opened.target, opened.vectors).cut(writes, kill_itself)
        rows = await replace(opened, target=cut.services, vectors=cut.vectors).run(None, replace=False)
    return 0 if all(row.is_same for row in rows) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(die(Path(sys.argv[1]), int(sys.argv[2]))))
