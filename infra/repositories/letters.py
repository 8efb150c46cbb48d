"""Dead letters: jobs that were given up, and what is needed to try them again."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import Documents
from infra.repositories.changing import replaced_record
from infra.repositories.collections import DEAD_LETTERS, JOBS
from infra.repositories.scanning import pages_of
from schemas.jobs import JobRecord, JobState
from schemas.letters import DeadLetter

_PAGE: Final = 200
_COMPANIES_MAX: Final = 1_000_000


@dataclass(frozen=True)
class Letters:
    """Reads and changes the letters' records."""

    documents: Documents
    clock: Clock

    async def all(self) -> AsyncGenerator[tuple[UUID, DeadLetter]]:
        """Every letter that still holds a job's key, with its company."""
        for company_id in await self.documents.companies(DEAD_LETTERS, limit=_COMPANIES_MAX):
            async for letters in pages_of(self.documents, DEAD_LETTERS, company_id, limit=_PAGE):
                for letter in letters:
                    if self._stands(letter):
                        yield company_id, letter

    async def get(self, company_id: UUID, job_id: str) -> DeadLetter | None:
        letter = await self.documents.get(DEAD_LETTERS, company_id, job_id)
        return letter if letter is not None and self._stands(letter) else None

    async def requeue(
        self, company_id: UUID, job: JobRecord, letter: DeadLetter, *, deadline_at: datetime | None
    ) -> bool:
        """Take a job that was given up back into the queue, under the key that its letter has kept; False if
        somebody else has changed it since it was read. What it ended with is taken back, its entry in the
        access log, too, until it ends again."""
        queued = JobRecord(
            id=job.id,
            kind=job.kind,
            state=JobState.QUEUED,
            created_at=job.created_at,
            replays=job.replays + 1,
            replayed_at=self.clock.now(),
            deadline_at=deadline_at,
            submitted_by=job.submitted_by,
            correlation_id=job.correlation_id,
            wrapped_key=letter.wrapped_key,
            blob_key=letter.blob_key,
            subject_user_hash=letter.mentions[0] if letter.mentions else None,
            subject_epoch=job.subject_epoch,
            subject_face_id=job.subject_face_id,
            mentions=letter.mentions,
            log_sealed=job.log_sealed,
        )
        return await replaced_record(self.documents, JOBS, company_id, job, queued) is not None

    async def empty(self, company_id: UUID, letter: DeadLetter) -> bool:
        """Take the key out of a letter, which is then cleared away; False if it is another letter by now."""
        emptied = letter.model_copy(
            update={
                "wrapped_key": None,
                "blob_key": None,
                "mentions": (),
                "expires_at": self.clock.now(),
            }
        )
        return await replaced_record(self.documents, DEAD_LETTERS, company_id, letter, emptied) is not None

    def _stands(self, letter: DeadLetter) -> bool:
        return letter.wrapped_key is not None and letter.expires_at > self.clock.now()
