"""Giving a message up: its job ends as failed, and what is needed to look into it is kept for a week."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from infra.broker.dead_letters import BrokerDeadLetters, place_of
from infra.broker.port import Delivery
from infra.documents.port import AlreadyExists, DocumentsError, DocumentsUnavailable
from infra.keys.company import CompanyKeyGone
from infra.metric_table import DEAD_LETTERS as DEAD_LETTER_COUNT
from infra.repositories.changing import replaced_record
from infra.repositories.collections import DEAD_LETTERS
from infra.repositories.unread_messages import UnreadMessages
from infra.services import Services
from schemas.jobs import ATTEMPT_KINDS, JobRecord, JobState
from schemas.letters import DeadLetter, UnreadMessage
from schemas.messages import MessageUnreadable, decode_message, job_named
from workers.ending import Finisher, failed, superseded
from workers.telling import message_context

KEPT_FOR: Final = timedelta(days=7)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _GivenUp:
    """A message, what it died of after how many attempts, and why it can't be read (None: it can)."""

    delivery: Delivery
    cause: str
    attempts: int
    fault: str | None


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
        given_up = _GivenUp(delivery, cause, attempts, _fault_of(delivery.value))
        try:
            is_seen_to = await self._end_job(given_up)
        except CompanyKeyGone:
            is_seen_to = True  # Of a company that is gone: no job to end, and nothing to look into.
        if given_up.fault is not None and not is_seen_to:
            await self._note(given_up, given_up.fault)
        self.services.metrics.count(DEAD_LETTER_COUNT, delivery.topic, cause)
        with message_context(delivery):
            _log.error("message_given_up", topic=delivery.topic, cause=cause, attempts=attempts)

    async def _end_job(self, given_up: _GivenUp) -> bool:
        """End the message's job, its letter kept; False if there is no such job, or one that goes on without
        the message."""
        named = job_named(given_up.delivery.value)
        job = await self._job(*named, given_up) if named is not None else None
        if named is None or job is None:
            return False
        if job.state is not JobState.QUEUED:
            return True
        if given_up.fault is not None and job.kind not in ATTEMPT_KINDS:
            return False  # What must happen is sent again by the sweep, in a form that is read here.
        company_id, _ = named
        now = self.services.clock.now()
        letter = DeadLetter(
            id=job.id,
            topic=given_up.delivery.topic,
            replays=job.replays,
            cause=given_up.cause,
            attempts=given_up.attempts,
            wrapped_key=job.wrapped_key,
            blob_key=job.blob_key,
            mentions=job.mentions,
            died_at=now,
            expires_at=now + KEPT_FOR,
        )
        await self._keep(company_id, letter)
        if await self._is_void(company_id, job):
            # Its person was erased while it was tried, maybe before the letter could be found.
            await self.services.documents.delete(DEAD_LETTERS, company_id, letter.id)
            await self.finisher.finish(company_id, job, superseded(job))
        else:
            await self.finisher.finish(company_id, job, failed(job), keep_blob=True)
        return True

    async def _job(self, company_id: UUID, job_id: UUID, given_up: _GivenUp) -> JobRecord | None:
        try:
            return await self.services.jobs.get(company_id, job_id)
        except DocumentsUnavailable:
            raise
        except DocumentsError:
            if given_up.fault is None:
                raise
            return None  # The record, too, is of a version that is not read here.

    async def _note(self, given_up: _GivenUp, fault: str) -> None:
        """Let an operator know of a message that is nobody's."""
        delivery, now = given_up.delivery, self.services.clock.now()
        unread = UnreadMessage(
            id=place_of(delivery),
            topic=delivery.topic,
            partition=delivery.partition,
            offset=delivery.offset,
            size_bytes=len(delivery.value),
            reason=fault,
            cause=given_up.cause,
            attempts=given_up.attempts,
            died_at=now,
            expires_at=now + KEPT_FOR,
        )
        await UnreadMessages(self.services.documents, self.services.clock).keep(unread)

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


def _fault_of(value: bytes) -> str | None:
    try:
        decode_message(value)
    except MessageUnreadable as error:
        return str(error)
    return None
