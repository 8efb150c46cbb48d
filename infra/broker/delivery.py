"""What can become of a delivery, and the rules by which it is tried again or given up."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from infra.broker.port import BrokerUnavailable, Delivery
from infra.documents.port import DocumentsUnavailable
from infra.keys.errors import KeyStoreUnavailable
from infra.objects.port import ObjectsUnavailable
from infra.vectors.port import VectorsUnavailable
from schemas.messages import MessageUnreadable

STORE_DOWN: Final = (
    BrokerUnavailable,
    DocumentsUnavailable,
    KeyStoreUnavailable,
    ObjectsUnavailable,
    VectorsUnavailable,
)
"""Errors that say nothing about the message: whatever is tried now fails, and later it will do."""

KILLED: Final = "poison"
"""The cause of death of a message whose handling never came to an end, however often it was begun."""

UNREADABLE: Final = "unreadable_message"
"""The cause of death of a message that is not of a form or version that this program reads."""

UNEXPECTED: Final = "unexpected_error"
"""The cause of death of a message whose handler raised what nobody foresaw."""


@dataclass(frozen=True)
class Done:
    """What came of it is saved: never deliver it again."""


@dataclass(frozen=True)
class Retry:
    """Try again after a wait. It holds up nothing but, on a keyed topic, the messages of its key."""

    after_s: float | None = None


@dataclass(frozen=True)
class Failed:
    """The message did that. After its last attempt it goes to the dead letters, with this cause."""

    cause: str


@dataclass(frozen=True)
class StoreDown:
    """A store does not answer: pause, then try one message, then all. No attempt is counted."""


Outcome = Done | Retry | Failed | StoreDown


def outcome_of(error: Exception) -> Outcome:
    """What an error raised by a handler means for its message."""
    if isinstance(error, STORE_DOWN):
        return StoreDown()
    return Failed(UNREADABLE if isinstance(error, MessageUnreadable) else UNEXPECTED)


@dataclass(frozen=True)
class Backoff:
    """Waits that grow by `factor` from `first_s` to `max_s`, each less a random share of up to `jitter`."""

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.5
    chance: Callable[[], float] = field(default=random.random, repr=False)
    """Gives numbers from 0 up to 1."""

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row (1 or more)."""
        # Beyond 64 the power only grows past what a float holds; the maximum is reached long before.
        wait_s = min(self.first_s * self.factor ** min(failures - 1, 64), self.max_s)
        return wait_s * (1 - self.jitter * self.chance())


@dataclass(frozen=True)
class DeliveryPolicy:
    """How much a consumer takes at once, and how often and how soon it tries again."""

    max_in_flight: int = 256
    max_bytes_in_flight: int = 64 * 1024 * 1024
    max_attempts: int = 3
    backoff: Backoff = Backoff()


class Attempts(Protocol):
    """Remembers, across the death of this process, how often work on a message was begun and not ended."""

    async def count(self, key: str) -> int: ...

    async def record(self, key: str) -> int:
        """One more; answers how many there are now. Written before the work begins."""
        ...


class DeadLetters(Protocol):
    """Where messages go that can't be dealt with."""

    async def put(self, delivery: Delivery, cause: str, attempts: int) -> None:
        """Take a message over; when this returns it is kept there. The same one may come twice."""
        ...
