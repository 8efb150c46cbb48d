"""Coming up beside servers that may not be up yet."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from infra.broker.delivery import STORE_DOWN
from infra.clock import Clock
from infra.telemetry import get_logger

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
# While nothing changes it is said once a minute that this still waits, and for whom.
_SAID_EVERY_S: Final = 60.0

_log = get_logger(__name__)


async def started(role: str, start: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Start an adapter, again and again while its store does not answer: it may come up later. Answers what
    `start` does.

    `role` is what the log calls it. What no waiting can mend (`StoreRefused`, a wrong declaration) is raised
    at once.
    """
    pause_s, said_at_s, waited = _FIRST_PAUSE_S, -_SAID_EVERY_S, False
    while True:
        try:
            answer = await start()
        except STORE_DOWN as error:
            if clock.monotonic_s() - said_at_s >= _SAID_EVERY_S:
                _log.warning("waiting_for_store", role=role, reason=str(error))
                said_at_s = clock.monotonic_s()
            waited = True
            await clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            continue
        if waited:
            _log.info("store_answers", role=role)
        return answer
