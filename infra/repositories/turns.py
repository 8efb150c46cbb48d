"""Who of many processes does what one of them is enough for."""

from dataclasses import dataclass
from datetime import timedelta

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.repositories.changing import replaced_record
from infra.repositories.collections import TURNS
from schemas.ids import PLATFORM
from schemas.records import Turn


@dataclass(frozen=True)
class Turns:
    """Spares work, and is no lock: two may do it at once when a clock is wrong or somebody is slow."""

    documents: Documents
    clock: Clock

    async def take(self, name: str, every_s: float) -> bool:
        """Whether it is due, and now ours to do: nobody has taken the turn in the last `every_s` seconds."""
        now = self.clock.now()
        turn = Turn(id=name, taken_at=now)
        known = await self.documents.get(TURNS, PLATFORM, name)
        if known is None:
            try:
                await self.documents.insert(TURNS, PLATFORM, turn, synced=False)
            except AlreadyExists:
                return False
            return True
        # One from the future was taken by a clock that is wrong, and must not keep everybody off until then.
        if abs(now - known.taken_at) < timedelta(seconds=every_s):
            return False
        return await replaced_record(self.documents, TURNS, PLATFORM, known, turn, synced=False) is not None
