"""What an operator does with jobs that were given up: look at them, try them again, or let go of them.

The steps of a replay are in an order in which each may be cut off and all be done again: the job's record is
taken back into the queue with its key, its message is published again, the letter is emptied. A job whose
message comes twice is done once; one whose person was erased meanwhile ends as superseded, as any other
would.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from infra.broker.dead_letters import DeadLetter as Message
from infra.broker.dead_letters import DeadLetterUnreadable, stored_letters
from infra.broker.port import OutgoingMessage, Topic
from infra.broker.topics import DEAD_LETTERS, WORKED
from infra.repositories.letters import Letters
from infra.services import Services
from schemas.jobs import JobRecord, JobState
from schemas.letters import DeadLetter
from schemas.messages import job_named
from workers.relay import Relay

TOPICS: Final[Mapping[str, Topic]] = {topic.name: topic for topic in WORKED}
"""Where messages that were given up may have come from."""

Key = tuple[UUID, str]
"""A job: its company's id and its own."""


class Replayed(StrEnum):
    """What came of a replay."""

    QUEUED = "queued"
    """It is on its way again."""
    OVERTAKEN = "overtaken"
    """Somebody else replays it at this moment, or it is being given up just now."""
    ENDED = "ended"
    """It has ended otherwise since: the letter was let go of."""
    GONE = "gone"
    """The message, the job or its company is not there any more: it can't be done."""


@dataclass(frozen=True)
class ReplayDesk:
    """Works on the letters of all companies."""

    services: Services
    relay: Relay

    @property
    def letters(self) -> Letters:
        return Letters(self.services.documents, self.services.clock)

    async def find(self, *, job_id: UUID | None, cause: str | None) -> dict[Key, DeadLetter]:
        """The letters of this job, or that died of this; all where neither is said."""
        return {
            (company_id, letter.id): letter
            async for company_id, letter in self.letters.all()
            if job_id in {None, UUID(letter.id)} and cause in {None, letter.cause}
        }

    async def message(self, key: Key, letter: DeadLetter) -> Message | None:
        """A letter's message; None if the topic does not have it any more."""
        async with aclosing(self._messages()) as messages:
            async for message, its_key in messages:
                if its_key == key and message.topic == letter.topic:
                    return message
        return None

    async def replay(self, letters: Mapping[Key, DeadLetter]) -> dict[Key, Replayed]:
        """Try these jobs again."""
        left, done = dict(letters), dict[Key, Replayed]()
        async with aclosing(self._messages()) as messages:
            async for message, key in messages:
                letter = left.get(key)
                if letter is not None and message.topic == letter.topic:
                    done[key] = await self._replay(key, letter, message)
                    del left[key]
                if not left:
                    break
        return {**done, **dict.fromkeys(left, Replayed.GONE)}

    async def drop(self, letters: Mapping[Key, DeadLetter]) -> list[Key]:
        """Let go of these: nobody can look into them or try them again. Answers which."""
        dropped: list[Key] = []
        for (company_id, job_id), letter in letters.items():
            if await self.letters.empty(company_id, letter):
                if letter.blob_key is not None:
                    await self.services.objects.delete(company_id, letter.blob_key)
                dropped.append((company_id, job_id))
        return dropped

    async def _replay(self, key: Key, letter: DeadLetter, message: Message) -> Replayed:
        company_id, job_id = key
        if await self.letters.get(company_id, job_id) != letter:
            return Replayed.OVERTAKEN
        job = await self.services.jobs.get(company_id, UUID(job_id))
        if job is None:
            return Replayed.GONE
        if _was_given_up(job, letter):
            if job.events_pending:
                await self.relay.tell(company_id, job)  # What is told of it now would be lost.
                job = await self.services.jobs.get(company_id, UUID(job_id)) or job
            if not await self.letters.requeue(company_id, job, letter, deadline_at=self._deadline(job)):
                return Replayed.OVERTAKEN
        elif job.state is JobState.QUEUED:
            if job.replays == letter.replays:
                return Replayed.OVERTAKEN
            # A replay was cut off after it had taken the job back, or is under way: once more does no harm.
        else:
            await self.letters.empty(company_id, letter)
            return Replayed.ENDED
        await self.services.broker.publish(
            TOPICS[message.topic], [OutgoingMessage(message.key, message.value)]
        )
        await self.letters.empty(company_id, letter)
        return Replayed.QUEUED

    def _deadline(self, job: JobRecord) -> datetime | None:
        """A search has its time once more: it is done because somebody wants to see what comes of it."""
        if job.deadline_at is None:
            return None
        return self.services.clock.now() + timedelta(seconds=self.services.settings.search_ttl_s)

    async def _messages(self) -> AsyncGenerator[tuple[Message, Key]]:
        """Everything on the topic that names a job, oldest first."""
        async with aclosing(stored_letters(self.services.broker, DEAD_LETTERS)) as stored:
            async for delivery in stored:
                read = _read(delivery.value)
                if read is not None:
                    yield read


def _was_given_up(job: JobRecord, letter: DeadLetter) -> bool:
    """Whether the job is as its death left it; or as the sweep left it, after a replay that was cut off."""
    failed = job.state is JobState.FAILED and job.code == "job_failed"
    return failed and job.replays - letter.replays in {0, 1}


def _read(value: bytes) -> tuple[Message, Key] | None:
    try:
        message = Message.unpack(value)
    except DeadLetterUnreadable:
        return None
    named = job_named(message.value)
    if named is None or message.topic not in TOPICS:
        return None
    company_id, job_id = named
    return message, (company_id, str(job_id))
