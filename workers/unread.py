"""What an operator does with messages that can't be read: see that there are some, hand them in again after
an upgrade that can, or let go of them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from infra.broker.dead_letters import DeadLetter as Message
from infra.broker.dead_letters import DeadLetterUnreadable, place_of, stored_letters
from infra.broker.port import OutgoingMessage
from infra.broker.topics import DEAD_LETTERS
from infra.repositories.unread_messages import UnreadMessages
from infra.services import Services
from schemas.letters import UnreadMessage
from workers.replaying import TOPICS, Replayed


@dataclass(frozen=True)
class UnreadDesk:
    """Works on the messages that are nobody's."""

    services: Services

    @property
    def messages(self) -> UnreadMessages:
        return UnreadMessages(self.services.documents, self.services.clock)

    async def find(self, *, message_id: str | None, cause: str | None) -> dict[str, UnreadMessage]:
        """The one of this id, or those that died of this; all where neither is said."""
        if message_id is not None:
            found = await self.messages.get(message_id)
            return {} if found is None else {found.id: found}
        return {one.id: one async for one in self.messages.all() if cause in {None, one.cause}}

    async def replay(self, messages: Mapping[str, UnreadMessage]) -> dict[str, Replayed]:
        """Hand these in again, each to the topic that it came from. What can't be read then either comes back
        as another letter; one that is handed in twice is done once."""
        left, done = dict(messages), dict[str, Replayed]()
        async with aclosing(self._stored()) as stored:
            async for message in stored:
                message_id = place_of(message)
                if left.pop(message_id, None) is not None:
                    done[message_id] = await self._replay(message_id, message)
                if not left:
                    break
        return {**done, **dict.fromkeys(left, Replayed.GONE)}

    async def drop(self, messages: Mapping[str, UnreadMessage]) -> Sequence[str]:
        """Let go of these; the topic clears them away in its time. Answers which."""
        return [message_id for message_id in messages if await self.messages.forget(message_id)]

    async def _replay(self, message_id: str, message: Message) -> Replayed:
        if await self.messages.get(message_id) is None:
            return Replayed.OVERTAKEN
        await self.services.broker.publish(
            TOPICS[message.topic], [OutgoingMessage(message.key, message.value)]
        )
        await self.messages.forget(message_id)
        return Replayed.QUEUED

    async def _stored(self) -> AsyncGenerator[Message]:
        async with aclosing(stored_letters(self.services.broker, DEAD_LETTERS)) as stored:
            async for delivery in stored:
                try:
                    message = Message.unpack(delivery.value)
                except DeadLetterUnreadable:
                    continue
                if message.topic in TOPICS:
                    yield message
