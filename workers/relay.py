"""The relay: hands the events of ended jobs on to those who follow them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from infra.documents.port import AlreadyExists
from infra.metric_table import EVENTS
from infra.repositories.collections import AUDIT_EVENTS, JOBS
from infra.services import Services
from schemas.events import AuditEvent
from schemas.jobs import JobRecord

# The worker that ended a job relays it at once; what is older has been left by one that died.
LEFT_BEHIND: Final = timedelta(seconds=5)

_PAGE: Final = 200


@dataclass(frozen=True)
class Relay:
    """Writes events where they are followed, under the ids that the job gave them: telling twice is telling
    once."""

    services: Services

    async def tell(self, company_id: UUID, job: JobRecord) -> None:
        """Hand on the events of one ended job."""
        for event in job.events:
            audit = AuditEvent(
                id=event.id,
                type=event.type,
                occurred_at=event.occurred_at,
                job_id=job.id,
                actor=job.submitted_by,
                correlation_id=job.correlation_id,
                data=event.data,
            )
            try:
                await self.services.documents.insert(AUDIT_EVENTS, company_id, audit, synced=False)
            except AlreadyExists:
                continue  # An earlier run told it.
            self.services.metrics.count(EVENTS)
        await self.services.jobs.mark_told(company_id, job)

    async def sweep(self) -> int:
        """Tell what others left behind; answers how many jobs that were."""
        before = self.services.clock.now() - LEFT_BEHIND
        told = 0
        for company_id in await self.services.documents.companies(JOBS, where={"events_pending": True}):
            for job in await self.services.jobs.untold(company_id, before, limit=_PAGE):
                await self.tell(company_id, job)
                told += 1
        return told
