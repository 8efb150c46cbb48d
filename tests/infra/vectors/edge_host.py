"""A host to be killed by `test_edge.py`: writes to an index without end, and prints the number of each write
that was acknowledged and the generation in use.

`python -m tests.infra.vectors.edge_host FOLDER`
"""

import asyncio
import sys
from pathlib import Path
from uuid import UUID

import numpy as np
import structlog

from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Point

DIMENSIONS = 8
COMPANY = UUID(int=0xA)


def operation(number: int) -> tuple[bool, UUID]:
    """What is done as the n-th: whether it is a deletion, and of which id. Ids come again after a while."""
    return number % 3 == 2, UUID(int=number - 2 if number % 3 == 2 else number * 7919 % 1000)


def point(number: int) -> Point:
    vector = np.random.default_rng(number).standard_normal(DIMENSIONS).astype(np.float32)
    _, face_id = operation(number)
    return Point(face_id, vector / np.float32(np.linalg.norm(vector)), "user", (), number)


def make(folder: Path) -> EdgeVectors:
    # Few enough that a copy is being built, or comes into use, nearly all the time.
    return EdgeVectors(folder, DIMENSIONS, "model-1", rebuild_after=20)


async def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    vectors = make(Path(sys.argv[1]))
    await vectors.start()
    number = 0
    while True:
        deletion, face_id = operation(number)
        if deletion:
            await vectors.delete(COMPANY, [face_id])
        else:
            await vectors.upsert(COMPANY, [point(number)])
        assert vectors._index._in_use is not None
        print(number, vectors._index._in_use.number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(main())
