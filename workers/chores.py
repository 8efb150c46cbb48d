"""Work that is due again and again, each chore in its own time: none can end the others or the process."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from infra.broker.delivery import STORE_DOWN
from infra.broker.doorbell import Doorbell
from infra.metric_table import CHORE_DONE, CHORE_RUNS
from infra.repositories.turns import Turns
from infra.services import Services
from infra.telemetry import get_logger

# So that workers that were started together do not come together.
_JITTER: Final = 0.25
# A chore that fails each time is tried ever less often, but at least so often.
_LONGEST_PAUSE_S: Final = 900.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class Chore:
    """What is to be done about every `period_s`.

    `shared`: once a period is enough for all processes together, as it looks through what all of them have;
    `passed_on` is called where another has taken the turn.
    `bell`: it is done at the start, too, and whenever that rings.
    """

    name: str
    period_s: float
    do: Callable[[], Awaitable[object]]
    shared: bool = False
    passed_on: Callable[[], None] | None = None
    bell: Doorbell | None = None


@dataclass(frozen=True)
class ChoreRunner:
    """Does chores until it is cancelled. Each may be cut off anywhere and be done by two processes at once:
    that is the chore's part."""

    services: Services
    chance: Callable[[], float] = field(default=random.random, repr=False)
    """Gives numbers from 0 up to 1."""

    async def every(self, chore: Chore) -> NoReturn:
        """Do it in its period, and after failures nobody foresaw ever less often."""
        failures, longest_s = 0, max(_LONGEST_PAUSE_S, chore.period_s)
        while True:
            pause_s = min(chore.period_s * 2.0 ** min(failures, 64), longest_s)
            await self.services.clock.sleep(pause_s * (1 + _JITTER * (2 * self.chance() - 1)))
            failures = failures + 1 if await self._do(chore, taking_turns=chore.shared) is False else 0

    async def when_rung(self, chore: Chore, bell: Doorbell) -> NoReturn:
        """Do it now and whenever the bell rings."""
        while True:
            rung = bell.listen()
            await self._do(chore, taking_turns=False)
            await rung.wait()

    async def _do(self, chore: Chore, *, taking_turns: bool) -> bool:
        """Whether that was all right, if only as it is somebody else's turn, or a store's fault."""
        metrics, label = self.services.metrics, chore.name.replace(" ", "_")
        try:
            if taking_turns and not await self._turn(chore):
                if chore.passed_on is not None:
                    chore.passed_on()
                return True
            await chore.do()
        except STORE_DOWN:
            metrics.count(CHORE_RUNS, label, "put_off")
            _log.warning("chore_put_off", chore=chore.name)  # The next round does it.
            return True
        except Exception:  # noqa: BLE001 - one chore's fault must not end the workers, nor the other chores
            metrics.count(CHORE_RUNS, label, "failed")
            _log.exception("chore_failed", chore=chore.name)
            return False
        metrics.count(CHORE_RUNS, label, "done")
        metrics.set(CHORE_DONE, self.services.clock.now().timestamp(), label)
        return True

    async def _turn(self, chore: Chore) -> bool:
        # A process alone must find it free each time, however its jitter and its clock fall.
        turns = Turns(self.services.documents, self.services.clock)
        return await turns.take(chore.name, chore.period_s * (1 - 2 * _JITTER))
