"""A host to be killed by `test_filesystem.py`: replaces objects without end, and prints each that it has put.

`python -m tests.infra.objects.writing_host FOLDER`
"""

import asyncio
import hashlib
import sys
from itertools import count
from pathlib import Path
from uuid import UUID

from infra.objects.filesystem import FilesystemObjects

COMPANY = UUID(int=0xA)
KEYS = 5


def blob(number: int) -> bytes:
    """Tells of itself which it is, and that it is whole."""
    body = number.to_bytes(8, "big") * 20_000
    return hashlib.sha256(body).digest() + body


async def main() -> None:
    objects = FilesystemObjects(Path(sys.argv[1]))
    await objects.start()
    for number in count():
        await objects.put(COMPANY, f"photos/{number % KEYS}", blob(number))
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
