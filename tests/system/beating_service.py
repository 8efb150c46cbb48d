"""`faceid`, but its service tells how late its event loop is: `python -m tests.system.beating_service serve`.

A beat is due every two milliseconds. How late each came, in tenths of a millisecond, is counted in the file
that the environment variable FACEID_TEST_BEATS names, where another process can read it at any time.
"""

import asyncio
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import scripts.serve
from infra.settings import Settings
from scripts.cli import main as faceid

BEATS_FILE = "FACEID_TEST_BEATS"
_PERIOD_S = 0.002
_BINS = 50_000
_COUNT_BYTES = 8


@dataclass(frozen=True)
class Beats:
    """The counts in the file. It is made when it is not there."""

    counts: memoryview

    @classmethod
    def at(cls, path: Path) -> "Beats":
        with path.open("a+b") as file:
            file.truncate(_BINS * _COUNT_BYTES)
            return cls(memoryview(mmap.mmap(file.fileno(), 0)).cast("Q"))

    def note(self, late_s: float) -> None:
        self.counts[min(max(0, int(late_s * 10_000)), _BINS - 1)] += 1

    def so_far(self) -> list[int]:
        return self.counts.tolist()


def lateness_ms(before: Sequence[int], after: Sequence[int], share: float) -> float:
    """How late at most that share of the beats came that were counted between the two readings."""
    counts = [late - early for early, late in zip(before, after, strict=True)]
    wanted, seen = share * sum(counts), 0
    for tenths, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return (tenths + 1) / 10
    return 0.0


def main() -> None:
    beats, really = Beats.at(Path(os.environ[BEATS_FILE])), scripts.serve.serve

    async def beating(settings: Settings, say: Callable[[str], None]) -> int:
        loop = asyncio.get_running_loop()

        def beat(due_s: float) -> None:
            now_s = loop.time()
            beats.note(now_s - due_s)
            loop.call_at(now_s + _PERIOD_S, beat, now_s + _PERIOD_S)

        beat(loop.time())
        return await really(settings, say)

    scripts.serve.serve = beating
    faceid()


if __name__ == "__main__":
    main()
