"""Attempts at messages, kept in documents: they outlive the process that a message kills."""

from datetime import timedelta
from typing import Final

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.repositories.changing import replaced_record
from infra.repositories.collections import ATTEMPTS
from schemas.ids import PLATFORM
from schemas.records import Attempts

# Longer than any topic keeps its messages; an offset is never used again.
_KEPT: Final = timedelta(days=30)


class DocumentAttempts:
    """Counts by key. The collection's expiry takes the counts away again."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def count(self, key: str) -> int:
        known = await self._documents.get(ATTEMPTS, PLATFORM, key)
        return known.count if known else 0

    async def record(self, key: str) -> int:
        """Synced: what is about to begin may take the whole machine down."""
        expires_at = self._clock.now() + _KEPT
        while True:
            known = await self._documents.get(ATTEMPTS, PLATFORM, key)
            if known is None:
                first = Attempts(id=key, count=1, expires_at=expires_at)
                try:
                    await self._documents.insert(ATTEMPTS, PLATFORM, first)
                except AlreadyExists:
                    continue
                return first.count
            more = known.model_copy(update={"count": known.count + 1, "expires_at": expires_at})
            if await replaced_record(self._documents, ATTEMPTS, PLATFORM, known, more) is not None:
                return more.count
