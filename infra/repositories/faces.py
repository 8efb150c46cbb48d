"""Face records: the truth about who is enrolled, ordered by the company's change numbers."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents, Page, Range, Scalar
from infra.repositories.changing import replaced_record
from infra.repositories.collections import FACES
from infra.repositories.scanning import sifted
from schemas.records import FaceRecord, FaceState

# So many are looked for, or counted, in one question.
USERS_AT_ONCE: Final = 100


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
        """The user's faces, the oldest first."""
        where = {"user_hash": user_hash, "state": FaceState.ACTIVE}
        page = await self.documents.find(
            FACES, company_id, where=where, order_by=("created_at",), limit=limit
        )
        return page.items

    async def counted(self, company_id: UUID, user_hashes: Sequence[str]) -> Counter[str]:
        """How many active faces each of the users has."""
        counts = Counter[str]()
        for start in range(0, len(user_hashes), USERS_AT_ONCE):
            some = list(user_hashes[start : start + USERS_AT_ONCE])
            where: dict[str, Scalar | Sequence[Scalar]] = {"user_hash": some, "state": FaceState.ACTIVE}
            found = await self.documents.group_count(FACES, company_id, "user_hash", where=where)
            counts.update({str(user_hash): number for user_hash, number in found.items()})
        return counts

    async def page(
        self,
        company_id: UUID,
        user_hashes: Sequence[str] | None,
        sift: Callable[[Sequence[FaceRecord]], Awaitable[Sequence[FaceRecord]]],
        *,
        after: tuple[Scalar, ...] | None,
        limit: int,
    ) -> Page[FaceRecord]:
        """Active faces that `sift` leaves, newest first; a page as `sifted` has it. Of these users, at most
        `USERS_AT_ONCE`, or of all (None)."""
        where: dict[str, Scalar | Sequence[Scalar]] = {"state": FaceState.ACTIVE}
        if user_hashes is not None:
            where["user_hash"] = list(user_hashes)

        async def find(position: tuple[Scalar, ...] | None, number: int) -> Page[FaceRecord]:
            return await self.documents.find(
                FACES,
                company_id,
                where=where,
                order_by=("created_at",),
                descending=True,
                after=position,
                limit=number,
            )

        def position_of(face: FaceRecord) -> tuple[Scalar, ...]:
            return (face.created_at, face.id)

        return await sifted(find, sift, position_of, after=after, limit=limit)

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

    async def forget_photos(self, company_id: UUID, face_id: UUID) -> None:
        """Let the face name no photo any more. The index need not hear of it."""
        while True:
            record = await self.get(company_id, face_id)
            if record is None or (record.photo_key is None and record.reference_photo_key is None):
                return
            bare = {"version": record.version + 1, "photo_key": None, "reference_photo_key": None}
            if await self._replaced(company_id, record, record.model_copy(update=bare)):
                return

    async def touch(self, company_id: UUID, face_id: UUID) -> bool:
        """Take a new change number, so that the face's index entry is written again from the records."""
        while True:
            record = await self.get(company_id, face_id)
            if record is None or record.state is not FaceState.ACTIVE:
                return False
            change = await self.last_change(company_id) + 1
            touched = record.model_copy(update={"change": change})
            if await self._replaced(company_id, record, touched):
                return True

    async def _replaced(self, company_id: UUID, record: FaceRecord, new: FaceRecord) -> bool:
        try:
            return await replaced_record(self.documents, FACES, company_id, record, new) is not None
        except AlreadyExists:
            return False  # Another change took the number: read again and take the next.
