"""Signs of life of worker processes: what each can do, and whether its parts answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.repositories.collections import WORKER_SIGNS
from infra.repositories.scanning import pages_of
from infra.seen import Seen
from schemas.ids import PLATFORM
from schemas.records import WorkerSign

# Long after nobody takes it for alive any more, however wrong a clock may be.
_KEPT_FOR: Final = timedelta(minutes=15)
_PAGE: Final = 500


@dataclass(frozen=True)
class WorkerSigns:
    """Writes and reads the signs. A sign is fresh when its version moves: that needs no common clock."""

    documents: Documents
    clock: Clock

    async def give(self, worker_id: str, roles: Sequence[str], seen: Seen) -> None:
        """Say that a worker lives."""
        now = self.clock.now()
        known = await self.documents.get(WORKER_SIGNS, PLATFORM, worker_id)
        sign = WorkerSign(
            id=worker_id,
            version=known.version + 1 if known else 1,
            roles=tuple(roles),
            parts=dict(seen.parts),
            engines=seen.engines,
            seen_at=now,
            expires_at=now + _KEPT_FOR,
        )
        if known is not None:
            expected = {"version": known.version}
            if await self.documents.compare_and_set(
                WORKER_SIGNS, PLATFORM, sign, expected=expected, synced=False
            ):
                return
        try:
            await self.documents.insert(WORKER_SIGNS, PLATFORM, sign, synced=False)
        except AlreadyExists:
            return  # Our own, of a moment ago.

    async def take_back(self, worker_id: str) -> None:
        """Say that a worker has gone."""
        await self.documents.delete(WORKER_SIGNS, PLATFORM, worker_id, synced=False)

    async def all(self) -> Sequence[WorkerSign]:
        """Every worker's last sign, however old."""
        pages = pages_of(self.documents, WORKER_SIGNS, PLATFORM, limit=_PAGE)
        return [sign async for page in pages for sign in page]
