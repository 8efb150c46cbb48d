"""Sweeps: what a crash may leave half done is found by its age and brought to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from infra.broker.port import Topic
from infra.broker.topics import ENROLL, GROUP, SEARCH, TEMPLATES
from infra.keys.company import CompanyKeyGone
from infra.objects.port import ObjectInfo
from infra.repositories.collections import (
    ATTEMPTS,
    CLAIMS,
    DEAD_LETTERS,
    JOBS,
    SESSIONS,
    UNREAD_MESSAGES,
    USERS,
    WORKER_SIGNS,
)
from infra.services import Services
from schemas.jobs import JobKind, JobRecord, JobState
from workers.ending import Finisher, expired, failed

# How far the clocks of two machines may differ, and how long a message may be on its way between two topics.
SKEW: Final = timedelta(minutes=5)

_PAGE: Final = 200
_EXPIRING: Final = (JOBS, SESSIONS, USERS, DEAD_LETTERS, UNREAD_MESSAGES, ATTEMPTS, CLAIMS, WORKER_SIGNS)

# The topics that a job passes through, and who reads them there.
ROUTES: Final[Mapping[JobKind, tuple[Topic, ...]]] = {
    JobKind.SEARCH: (SEARCH,),
    JobKind.VERIFY: (SEARCH,),
    JobKind.DETECT: (SEARCH,),
    JobKind.ENROLL: (ENROLL, TEMPLATES),
    JobKind.DELETE_FACE: (TEMPLATES,),
    JobKind.ERASE_USER: (TEMPLATES,),
    JobKind.REGROUP_USER: (TEMPLATES,),
}


@dataclass(frozen=True)
class Sweeper:
    """Ends jobs that nobody will end any more, and clears away what is past its time."""

    services: Services
    finisher: Finisher

    async def end_lost_jobs(self) -> int:
        """Close jobs whose message is gone; send again instead what must happen: a deletion, a change of
        groups. Answers how many.

        A message is gone when its topics have been consumed past the job's creation by more than the skew
        allowed for.
        """
        count = 0
        before = self.services.clock.now() - SKEW
        consumed = {kind: await self._consumed_until(topics) for kind, topics in ROUTES.items()}
        for company_id in await self.services.documents.companies(JOBS, where={"state": JobState.QUEUED}):
            after = None
            while True:
                page = await self.services.jobs.queued(company_id, before, after=after, limit=_PAGE)
                for job in page.items:
                    if (job.replayed_at or job.created_at) + SKEW < consumed[job.kind]:
                        count += await self._end(company_id, job)
                if page.next_key is None:
                    break
                after = page.next_key
        return count

    async def drop_orphaned_blobs(self) -> int:
        """Delete photos in flight whose job has ended or never was. Answers how many."""
        older_than = self.services.clock.now() - SKEW
        count = 0
        async for blob in self.services.objects.list(None, "inflight/", older_than=older_than):
            job_id = _job_of(blob)
            if job_id is None:
                continue
            job = await self.services.jobs.get(blob.company_id, job_id)
            waiting = job is not None and job.state is JobState.QUEUED
            if not waiting and (job is None or not await self._has_letter(blob.company_id, job)):
                count += await self.services.objects.delete(blob.company_id, blob.key)
        return count

    async def drop_expired(self) -> int:
        """Delete records past their time, and answers of jobs past theirs. Answers how many."""
        now = self.services.clock.now()
        count = 0
        for collection in _EXPIRING:
            count += await self.services.documents.delete_expired(collection, now, limit=1000)
        for company_id in await self.services.documents.companies(JOBS, where={"logged": True}):
            count += await self.services.jobs.drop_results(company_id, now, limit=1000)
        return count

    async def _end(self, company_id: UUID, job: JobRecord) -> int:
        try:
            if job.kind in (JobKind.DELETE_FACE, JobKind.ERASE_USER):
                await self.services.submission.publish_removal(company_id, job, synced=True)
            elif job.kind is JobKind.REGROUP_USER:
                await self.services.submission.publish_regrouping(company_id, job, synced=True)
            else:
                late = job.deadline_at is not None and job.deadline_at < self.services.clock.now()
                keep_blob = await self._has_letter(company_id, job)  # Then it can be replayed once more.
                ending = expired(job) if late else failed(job)
                await self.finisher.finish(company_id, job, ending, keep_blob=keep_blob)
        except CompanyKeyGone:
            return 0  # A deleted company's jobs can't be read or ended any more; they expire.
        return 1

    async def _has_letter(self, company_id: UUID, job: JobRecord) -> bool:
        letter = await self.services.documents.get(DEAD_LETTERS, company_id, job.id)
        return letter is not None and letter.wrapped_key is not None

    async def _consumed_until(self, topics: tuple[Topic, ...]) -> datetime:
        """Everything appended to the topics before this time has been dealt with."""
        until = self.services.clock.now()
        for topic in topics:
            lag = await self.services.broker.lag(topic, GROUP)
            if lag.oldest_appended_at is not None:
                until = min(until, lag.oldest_appended_at)
        return until


def _job_of(blob: ObjectInfo) -> UUID | None:
    """Whose photo is in flight; None for what no version of this program has put there."""
    try:
        return UUID(blob.key.removeprefix("inflight/"))
    except ValueError:
        return None
