"""Removals: clearing what the records already deny, and what must not outlive them."""

from dataclasses import dataclass
from uuid import UUID

from infra.repositories.collections import DEAD_LETTERS
from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.ids import new_id
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.messages import RemovalBody
from schemas.results import DeletionResult
from workers.ending import Finisher
from workers.indexing import Indexer

_NO_CONTENT = 204
_PAGE = 100


def photo_key_of(face_id: str | UUID) -> str:
    """Where a face's photo is kept, if the company keeps photos."""
    return f"photos/{face_id}"


def reference_key_of(face_id: str | UUID) -> str:
    """Where the reference photo that a face was enrolled with is kept, likewise."""
    return f"photos/{face_id}.reference"


@dataclass(frozen=True)
class Remover:
    """Does what a deletion has promised: index entry and photo gone, and for a person all faces and
    traces."""

    services: Services
    indexer: Indexer
    finisher: Finisher

    async def remove(self, company_id: UUID, job: JobRecord, body: RemovalBody) -> None:
        """Carry out a removal and end its job; doing it again changes nothing."""
        if job.kind is JobKind.DELETE_FACE and body.face_id is not None:
            await self._delete_faces(company_id, [body.face_id])
            await self._end(company_id, job, "face.deleted", 1, face_id=body.face_id)
        elif job.kind is JobKind.ERASE_USER and body.user_hash is not None:
            count = await self._erase(company_id, body.user_hash, job.subject_epoch)
            await self._end(company_id, job, "user.erased", count)
        else:
            raise ValueError("this message removes nothing")

    async def _erase(self, company_id: UUID, user_hash: str, epoch: int) -> int:
        services = self.services
        await services.users.erase(company_id, user_hash, epoch)
        count = 0
        while True:
            faces = await services.faces.active_of_user(company_id, user_hash, limit=_PAGE)
            # Faces of a later epoch belong to somebody who was enrolled again after the erasure was asked
            # for.
            erased = [face.id for face in faces if face.epoch <= epoch]
            if not erased:
                break
            await self._delete_faces(company_id, erased)
            count += len(erased)
        await self._drop_dead_letters(company_id, user_hash)
        pseudonym = f"erased-{new_id(services.clock.now(), services.entropy)}"
        await services.jobs.forget_user(company_id, user_hash, pseudonym, epoch=epoch)
        return count

    async def _drop_dead_letters(self, company_id: UUID, user_hash: str) -> None:
        documents = self.services.documents
        while letters := (
            await documents.find(DEAD_LETTERS, company_id, where={"mentions": user_hash})
        ).items:
            for letter in letters:
                await documents.delete(DEAD_LETTERS, company_id, letter.id)
                if letter.blob_key is not None:
                    await self.services.objects.delete(company_id, letter.blob_key)

    async def _delete_faces(self, company_id: UUID, face_ids: list[str]) -> None:
        for face_id in face_ids:
            await self.services.faces.delete(company_id, UUID(face_id))
        await self.indexer.catch_up(company_id)
        for face_id in face_ids:
            await self.services.objects.delete(company_id, photo_key_of(face_id))
            await self.services.objects.delete(company_id, reference_key_of(face_id))

    async def _end(self, company_id: UUID, job: JobRecord, event_type: str, count: int, **data: str) -> None:
        ending = Ending(
            state=JobState.SUCCEEDED,
            http_status=_NO_CONTENT,
            answer=DeletionResult(job_id=UUID(job.id), faces_deleted=count),
            event_type=event_type,
            event_data={**data, "faces_deleted": count},
        )
        await self.finisher.finish(company_id, job, ending)
