"""Messages that were given up and can't be read: which there are, until somebody has seen to them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.repositories.collections import UNREAD_MESSAGES
from infra.repositories.scanning import pages_of
from schemas.ids import PLATFORM
from schemas.letters import UnreadMessage

_PAGE: Final = 200


@dataclass(frozen=True)
class UnreadMessages:
    """Keeps and reads their records. They belong to no company, as far as anybody can tell."""

    documents: Documents
    clock: Clock

    async def keep(self, message: UnreadMessage) -> None:
        """Note one; doing it again changes nothing."""
        try:
            await self.documents.insert(UNREAD_MESSAGES, PLATFORM, message)
        except AlreadyExists:
            return  # An earlier run was cut off after this.

    async def all(self) -> AsyncGenerator[UnreadMessage]:
        async for page in pages_of(self.documents, UNREAD_MESSAGES, PLATFORM, limit=_PAGE):
            for message in page:
                if self._stands(message):
                    yield message

    async def get(self, message_id: str) -> UnreadMessage | None:
        message = await self.documents.get(UNREAD_MESSAGES, PLATFORM, message_id)
        return message if message is not None and self._stands(message) else None

    async def forget(self, message_id: str) -> bool:
        """Let go of one; False if that was done."""
        return await self.documents.delete(UNREAD_MESSAGES, PLATFORM, message_id)

    def _stands(self, message: UnreadMessage) -> bool:
        return message.expires_at > self.clock.now()
