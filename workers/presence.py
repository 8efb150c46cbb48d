"""Being seen: a worker process says every few seconds that it lives, and what of it answers."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from infra.broker.delivery import STORE_DOWN
from infra.owning import owned
from infra.repositories.worker_signs import WorkerSigns
from infra.seen import Seen
from infra.services import Services
from schemas.ids import new_id
from workers.chores import Chore, ChoreRunner

_GIVEN_EVERY_S: Final = 5.0
# Asking costs the model a little work.
_CHECKED_EVERY_S: Final = 30.0


@dataclass
class _Presence:
    services: Services
    roles: Sequence[str]
    check: Callable[[], Awaitable[Seen]]
    worker_id: str
    _seen: Seen = field(default_factory=lambda: Seen({}))
    _checked_s: float | None = None

    async def give(self) -> None:
        """Give one sign."""
        clock = self.services.clock
        if self._checked_s is None or clock.monotonic_s() - self._checked_s >= _CHECKED_EVERY_S:
            self._seen = await self.check()
            self._checked_s = clock.monotonic_s()
        await self.signs.give(self.worker_id, self.roles, self._seen)

    @property
    def signs(self) -> WorkerSigns:
        return WorkerSigns(self.services.documents, self.services.clock)


@asynccontextmanager
async def present(
    services: Services, roles: Sequence[str], check: Callable[[], Awaitable[Seen]]
) -> AsyncGenerator[None]:
    """Give signs until the block ends, and then take the last one back."""
    presence = _Presence(services, roles, check, str(new_id(services.clock.now(), services.entropy)))
    with suppress(*STORE_DOWN):  # A later one gets through.
        await presence.give()
    chore = Chore("sign of life", _GIVEN_EVERY_S, presence.give)
    async with owned(ChoreRunner(services).every(chore), chore.name):
        yield
    with suppress(*STORE_DOWN):  # It then lapses by itself.
        await presence.signs.take_back(presence.worker_id)
