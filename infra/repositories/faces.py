"""Face records: the truth about who is enrolled, ordered by the company's change numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents, Range
from infra.repositories.collections import FACES
from schemas.records import FaceRecord, FaceState


class Overtaken(Exception):
    """The change number was taken by somebody else: read what they did and decide again."""


class AlreadyDecided(Exception):
    """This job's face record exists: an earlier run decided it. `record` is what it decided."""

    def __init__(self, record: FaceRecord) -> None:
        super().__init__("the job's face record exists")
        self.record = record


@dataclass(frozen=True)
class Faces:
    """Reads and writes face records. Every write that the index must hear of takes the next change number."""

    documents: Documents
    clock: Clock

    async def get(self, company_id: UUID, face_id: UUID) -> FaceRecord | None:
        return await self.documents.get(FACES, company_id, str(face_id))

    async def get_many(self, company_id: UUID, face_ids: Sequence[UUID]) -> dict[str, FaceRecord]:
        return await self.documents.get_many(FACES, company_id, [str(face_id) for face_id in face_ids])

    async def last_change(self, company_id: UUID) -> int:
        page = await self.documents.find(FACES, company_id, order_by=("change",), descending=True, limit=1)
        return page.items[0].change if page.items else 0

    async def changed_since(self, company_id: UUID, change: int, *, limit: int) -> tuple[FaceRecord, ...]:
        """Records whose change number is above `change`, oldest change first."""
        within = Range("change", start=change + 1)
        page = await self.documents.find(FACES, company_id, within=within, order_by=("change",), limit=limit)
        return page.items

    async def active_of_user(
        self, company_id: UUID, user_hash: str, *, limit: int = 500
    ) -> tuple[FaceRecord, ...]:
        where = {"user_hash": user_hash, "state": FaceState.ACTIVE}
        return (await self.documents.find(FACES, company_id, where=where, limit=limit)).items

    async def users_enrolled(self, company_id: UUID) -> int:
        """How many users have at least one active face."""
        return await self.documents.count(
            FACES, company_id, where={"state": FaceState.ACTIVE}, distinct="user_hash"
        )

    async def enrolled(self, company_id: UUID) -> int:
        """How many active faces there are."""
        return await self.documents.count(FACES, company_id, where={"state": FaceState.ACTIVE})

    async def insert(self, company_id: UUID, record: FaceRecord) -> None:
        """Decide: the record is in, at its change number, or nothing has happened.

        Raises Overtaken when the number is taken, AlreadyDecided when the job has its record.
        Not synced: the job's terminal write, which follows, makes both safe at once.
        """
        try:
            await self.documents.insert(FACES, company_id, record, synced=False)
        except AlreadyExists as collision:
            existing = await self.documents.get(FACES, company_id, record.id)
            if existing is not None:
                raise AlreadyDecided(existing) from collision
            raise Overtaken from collision

    async def delete(self, company_id: UUID, face_id: UUID) -> FaceRecord | None:
        """Leave a tombstone in place of the face; answers the record as it was, None if there was no active
        one.

        From when this returns the face is denied everywhere: a hit on its index entry no longer counts.
        """
        while True:
            record = await self.get(company_id, face_id)
            if record is None or record.state is not FaceState.ACTIVE:
                return None
            emptied = record.model_copy(
                update={
                    "version": record.version + 1,
                    "change": await self.last_change(company_id) + 1,
                    "state": FaceState.DELETED,
                    "job_id": None,
                    "user_hash": None,
                    "template_sealed": None,
                    "photo_hash": None,
                    "photo_key": None,
                    "reference_photo_key": None,
                    "box": None,
                    "landmarks": None,
                    "quality": None,
                    "detection_confidence": None,
                    "enrolled_by": None,
                    "deleted_at": self.clock.now(),
                }
            )
            if await self._replaced(company_id, record, emptied):
                return record

    async def touch(self, company_id: UUID, face_id: UUID) -> bool:
        """Take a new change number, so that the face's index entry is written again from the records."""
        while True:
            record = await self.get(company_id, face_id)
            if record is None or record.state is not FaceState.ACTIVE:
                return False
            change = await self.last_change(company_id) + 1
            touched = record.model_copy(update={"version": record.version + 1, "change": change})
            if await self._replaced(company_id, record, touched):
                return True

    async def _replaced(self, company_id: UUID, record: FaceRecord, new: FaceRecord) -> bool:
        try:
            return await self.documents.compare_and_set(
                FACES, company_id, new, expected={"version": record.version}
            )
        except AlreadyExists:
            return False  # Another change took the number: read again and take the next.
