"""Not waiting for a store that lets everybody wait in vain."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

from infra.telemetry import get_logger

_SILENCES: Final = 3
_TRIED_EVERY_S: Final = 1.0

_log = get_logger(__name__)


class StoreState(IntEnum):
    """The further from 0, the longer until it is asked again."""

    ASKED = 0
    TRIED = 1
    LEFT_ALONE = 2


class StoreLeftAlone(Exception):
    """The store has not answered lately, and is not asked now."""


class StoreBreaker:
    """After some calls in a row that nobody answered in time, further ones fail at once, so that they neither
    wait nor pile up. One at a time is let through, not more often than once a second; when that is answered,
    all are.

    Only silence counts: who is refused or cut off knows it without waiting.
    """

    def __init__(self, store: str, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._monotonic_s = monotonic_s
        self._silences = 0
        self._trying = False
        self._tried_again_s = 0.0

    def state(self) -> StoreState:
        if self._silences < _SILENCES:
            return StoreState.ASKED
        return StoreState.TRIED if self._trying else StoreState.LEFT_ALONE

    @contextmanager
    def call(self, is_silence: Callable[[BaseException], bool]) -> Generator[None]:
        """The block asks the store. Raises StoreLeftAlone."""
        trying = self._admitted()
        try:
            yield
        except BaseException as error:
            if is_silence(error):
                self._silent()
            raise
        else:
            self._answered()
        finally:
            if trying:
                self._trying = False
                self._tried_again_s = self._monotonic_s() + _TRIED_EVERY_S

    def _admitted(self) -> bool:
        """Whether this is the one that finds out."""
        if self.state() is StoreState.ASKED:
            return False
        if self._trying or self._monotonic_s() < self._tried_again_s:
            raise StoreLeftAlone(f"{self.store}: it has not answered lately, and is left alone for a moment")
        self._trying = True
        return True

    def _silent(self) -> None:
        self._silences += 1
        if self._silences == _SILENCES:
            self._tried_again_s = self._monotonic_s() + _TRIED_EVERY_S
            _log.warning("store_left_alone", store=self.store)

    def _answered(self) -> None:
        if self._silences >= _SILENCES:
            _log.info("store_answers", role=self.store)
        self._silences = 0
