"""Giving a message up: its job ends as failed, and what is needed to look into it is kept for a week."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from infra.broker.dead_letters import BrokerDeadLetters
from infra.broker.port import Delivery
from infra.documents.port import AlreadyExists
from infra.keys.company import CompanyKeyGone
from infra.metric_table import DEAD_LETTERS as DEAD_LETTER_COUNT
from infra.repositories.changing import replaced_record
from infra.repositories.collections import DEAD_LETTERS
from infra.services import Services
from schemas.jobs import ATTEMPT_KINDS, JobRecord, JobState
from schemas.messages import MessageHeader, MessageUnreadable, decode_message
from schemas.records import DeadLetter
from workers.ending import Finisher, failed, superseded
from workers.telling import message_context

KEPT_FOR: Final = timedelta(days=7)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobDeadLetters:
    """Where messages go that were tried too often: the topic, with the job ended so that nobody waits for
    it."""

    services: Services
    finisher: Finisher
    topic: BrokerDeadLetters

    async def put(self, delivery: Delivery, cause: str, attempts: int) -> None:
        """Give a message up. In this order, so that a crash in between does it again and loses nothing."""
        await self.topic.put(delivery, cause, attempts)
        try:
            header, _, _ = decode_message(delivery.value)
            await self._end_job(header, delivery.topic, cause, attempts)
        except (MessageUnreadable, CompanyKeyGone):
            pass  # Not a message of ours, or of a company that is gone: no job to end.
        self.services.metrics.count(DEAD_LETTER_COUNT, delivery.topic, cause)
        with message_context(delivery):
            _log.error("message_given_up", topic=delivery.topic, cause=cause, attempts=attempts)

    async def _end_job(self, header: MessageHeader, topic: str, cause: str, attempts: int) -> None:
        job = await self.services.jobs.get(header.company_id, header.job_id)
        if job is None or job.state is not JobState.QUEUED:
            return
        now = self.services.clock.now()
        letter = DeadLetter(
            id=job.id,
            topic=topic,
            replays=job.replays,
            cause=cause,
            attempts=attempts,
            wrapped_key=job.wrapped_key,
            blob_key=job.blob_key,
            mentions=job.mentions,
            died_at=now,
            expires_at=now + KEPT_FOR,
        )
        await self._keep(header.company_id, letter)
        if await self._is_void(header.company_id, job):
            # Its person was erased while it was tried, maybe before the letter could be found.
            await self.services.documents.delete(DEAD_LETTERS, header.company_id, letter.id)
            await self.finisher.finish(header.company_id, job, superseded(job))
            return
        await self.finisher.finish(header.company_id, job, failed(job), keep_blob=True)

    async def _keep(self, company_id: UUID, letter: DeadLetter) -> None:
        documents = self.services.documents
        while True:
            try:
                await documents.insert(DEAD_LETTERS, company_id, letter)
                return
            except AlreadyExists:
                earlier = await documents.get(DEAD_LETTERS, company_id, letter.id)
            if earlier is None:
                continue  # It was past its time, and has just been cleared away.
            if earlier.replays == letter.replays:
                return  # An earlier run was cut off here.
            if await replaced_record(documents, DEAD_LETTERS, company_id, earlier, letter) is not None:
                return

    async def _is_void(self, company_id: UUID, job: JobRecord) -> bool:
        if job.kind not in ATTEMPT_KINDS or job.subject_user_hash is None:
            return False
        return await self.services.users.epoch(company_id, job.subject_user_hash) != job.subject_epoch
