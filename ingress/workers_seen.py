"""What an ingress can know of workers in other processes: whether signs of life still come from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from infra.documents.port import DocumentsError
from infra.repositories.worker_signs import WorkerSigns
from infra.seen import Seen
from infra.services import Services
from infra.telemetry import get_logger
from ingress.readiness import READY
from schemas.records import WorkerSign

_LOOKED_EVERY_S: Final = 5.0
# Several signs of a worker that is well, and less than anybody takes over from one that is not.
_FRESH_S: Final = 20.0
_UNKNOWN: Final = "not known yet"
_NONE: Final = "no worker answers"

# By which role's workers each part is told of.
_ROLES: Final = {"model": "face", "index": "registrar"}

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Seen:
    sign: WorkerSign
    moved_at_s: float | None
    """When its version was last seen to move; None for never: it may be left from a worker that has died."""


class WorkersSeen:
    """Looks at the signs every few seconds. A worker answers if its sign has moved lately, by this process's
    own clock."""

    def __init__(self, services: Services) -> None:
        self._signs = WorkerSigns(services.documents, services.clock)
        self._clock = services.clock
        self._begun_s = services.clock.monotonic_s()
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> NoReturn:
        """Look until cancelled. While the store is down what was seen gets old."""
        while True:
            try:
                await self.look()
            except DocumentsError as error:
                _log.warning("workers_not_looked_for", reason=str(error))
            await self._clock.sleep(_LOOKED_EVERY_S)

    async def look(self) -> None:
        now_s, seen = self._clock.monotonic_s(), dict[str, _Seen]()
        for sign in await self._signs.all():
            before = self._seen.get(sign.id)
            moved = before is not None and before.sign.version != sign.version
            seen[sign.id] = _Seen(sign, now_s if moved else before and before.moved_at_s)
        self._seen = seen

    async def state(self) -> Seen:
        """Whether a model and an index answer somewhere, and what computes templates there."""
        now_s = self._clock.monotonic_s()
        fresh = [
            seen.sign
            for seen in self._seen.values()
            if seen.moved_at_s is not None and now_s - seen.moved_at_s < _FRESH_S
        ]
        parts = {
            part: self._state(
                [sign.parts[part] for sign in fresh if role in sign.roles and part in sign.parts]
            )
            for part, role in _ROLES.items()
        }
        engines = {str(engine): engine for sign in fresh for engine in sign.engines}
        return Seen(parts, tuple(engines[told] for told in sorted(engines)))

    def _state(self, told: Iterable[str]) -> str:
        states = set(told)
        if states:
            return READY if READY in states else min(states)
        lately = self._clock.monotonic_s() - self._begun_s < _FRESH_S
        return _UNKNOWN if lately else _NONE
