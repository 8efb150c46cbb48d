"""Changes of a user's groups: the index follows the user's record."""

from dataclasses import dataclass
from uuid import UUID

from infra.repositories.jobs import Ending
from infra.services import Services
from schemas.jobs import JobRecord, JobState
from schemas.messages import RegroupingBody
from schemas.results import RegroupingResult
from workers.ending import Finisher, superseded
from workers.gallery import Gallery
from workers.indexing import Indexer

_OK = 200


@dataclass(frozen=True)
class Regrouper:
    """Writes a user's index entries anew. A search looks only among the entries of its groups, so until this
    is done one that is limited to a new group does not find the user."""

    services: Services
    indexer: Indexer
    gallery: Gallery
    finisher: Finisher

    async def regroup(self, company_id: UUID, job: JobRecord, body: RegroupingBody) -> None:
        """Bring the index in line and end the job; doing it again changes nothing."""
        services = self.services
        if await services.users.epoch(company_id, body.user_hash) != job.subject_epoch:
            await self.finisher.finish(company_id, job, superseded(job))
            return
        faces = await services.faces.active_of_user(company_id, body.user_hash)
        touched = [await services.faces.touch(company_id, UUID(face.id)) for face in faces]
        await self.indexer.catch_up(company_id)
        self.gallery.forget_size(company_id)
        ending = Ending(
            state=JobState.SUCCEEDED,
            http_status=_OK,
            answer=RegroupingResult(job_id=UUID(job.id), faces_updated=sum(touched)),
            event_type="user.regrouped",
            event_data={"user_hash": body.user_hash, "faces_updated": sum(touched)},
        )
        await self.finisher.finish(company_id, job, ending)
