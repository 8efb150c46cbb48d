"""Carrying dead letters over: their messages, which a replay needs, are in the broker and not in a record."""

import hashlib
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from uuid import UUID

from infra.broker.dead_letters import DeadLetter, DeadLetterUnreadable, stored_letters
from infra.broker.port import Delivery, OutgoingMessage
from infra.broker.topics import DEAD_LETTERS as TOPIC
from infra.repositories.collections import DEAD_LETTERS
from infra.services import Services
from schemas.messages import job_named
from workers.migrating.watching import Watcher

_ALL = 1_000_000


async def copy_letters(
    source: Services, target: Services, companies: Collection[UUID], watcher: Watcher
) -> None:
    """Publish again, on the target, the messages of these companies' letters that are not there yet."""
    if not await _any(source, companies):
        return
    there = await letter_hashes(target, companies)
    async with aclosing(_messages(source, companies)) as messages:
        async for delivery, digest in messages:
            if digest not in there:
                message = OutgoingMessage(delivery.key, delivery.value)
                await target.broker.publish(TOPIC, [message])
                there.add(digest)
            watcher.advance(1)


async def letter_hashes(services: Services, companies: Collection[UUID]) -> set[str]:
    """The messages of these companies' letters, by their hashes: a crash may have left one twice."""
    if not await _any(services, companies):
        return set()
    async with aclosing(_messages(services, companies)) as messages:
        return {digest async for _, digest in messages}


async def _any(services: Services, companies: Collection[UUID]) -> bool:
    having = await services.documents.companies(DEAD_LETTERS, limit=_ALL)
    return not set(companies).isdisjoint(having)


async def _messages(services: Services, companies: Collection[UUID]) -> AsyncGenerator[tuple[Delivery, str]]:
    """Messages whose letters stand."""
    async with aclosing(stored_letters(services.broker, TOPIC)) as stored:
        async for delivery in stored:
            try:
                named = job_named(DeadLetter.unpack(delivery.value).value)
            except DeadLetterUnreadable:
                continue
            if named is None or named[0] not in companies:
                continue  # It belongs to nobody, or to somebody else.
            letter = await services.documents.get(DEAD_LETTERS, named[0], str(named[1]))
            if letter is not None and letter.wrapped_key is not None:
                yield delivery, hashlib.sha256(delivery.value).hexdigest()
