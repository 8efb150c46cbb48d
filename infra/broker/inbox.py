"""Replies within one process: bounded inboxes of hints that a job has ended."""

import asyncio
from collections import deque
from typing import Final
from uuid import UUID

from infra.broker.port import BrokerError, Replies
from infra.clock import Entropy

# Hints may be lost, since who waits reads the record again: an inbox that nobody empties drops its oldest.
_HINTS_MAX: Final = 4096

_ADDRESS_BYTES: Final = 8


class Inboxes:
    """The open inboxes by address. Addresses are random: one of a process that was killed reaches nobody."""

    def __init__(self, entropy: Entropy, *, hints_max: int = _HINTS_MAX) -> None:
        self._entropy = entropy
        self._hints_max = hints_max
        self._open: dict[str, Inbox] = {}

    def open(self) -> "Inbox":
        inbox = Inbox(self, self._entropy(_ADDRESS_BYTES).hex(), self._hints_max)
        self._open[inbox.address] = inbox
        return inbox

    def put(self, address: str, company_id: UUID, job_id: UUID) -> None:
        inbox = self._open.get(address)
        if inbox is not None:
            inbox.put(company_id, job_id)

    def forget(self, address: str) -> None:
        self._open.pop(address, None)

    def close(self) -> None:
        for inbox in list(self._open.values()):
            inbox.shut()


class Inbox(Replies):
    """One receiver's hints, oldest first."""

    def __init__(self, inboxes: Inboxes, address: str, hints_max: int) -> None:
        self._inboxes = inboxes
        self._address = address
        self._hints: deque[tuple[UUID, UUID]] = deque(maxlen=hints_max)
        self._arrived = asyncio.Event()
        self._closed = False

    @property
    def address(self) -> str:
        return self._address

    async def receive(self) -> tuple[UUID, UUID]:
        """The next hint. Raises BrokerError once the inbox is closed."""
        while not self._hints:
            if self._closed:
                raise BrokerError("the inbox is closed")
            self._arrived.clear()
            await self._arrived.wait()
        return self._hints.popleft()

    async def close(self) -> None:
        self.shut()

    def put(self, company_id: UUID, job_id: UUID) -> None:
        self._hints.append((company_id, job_id))
        self._arrived.set()

    def shut(self) -> None:
        self._inboxes.forget(self._address)
        self._hints.clear()
        self._closed = True
        self._arrived.set()
