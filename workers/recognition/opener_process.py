"""The opener as the compute process sees it: a process of its own that is asked to decode one photo at a
time.

A decoder that crashes, runs out of memory or takes too long costs that photo alone. Nothing of it reaches the
model, and the next opener is there a moment later."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from infra.child import BlockingChild, CallRefused, ChildDied, ChildFailed, ChildProcess, ChildTimedOut
from schemas.recognition import PhotoLimits
from workers.recognition.opened_photo import WHOLE, OpenedPhoto, View, opened_from_frame, view_to_frame
from workers.recognition.opener import PhotoRefused, check_size
from workers.recognition.shared_photo import SharedPhoto

OPENER_MODULE: Final = "workers.recognition.opener_child"
_START_TIMEOUT_S: Final = 60
_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM})
"""What ends a process that has not done it itself: somebody, or the system for want of memory."""
_ENVIRONMENT: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
}
"""Threads' stacks would count as memory. And glibc is to keep up to 64 MB: to get the pages of each 1080p
photo anew costs nearly as much as its decoding."""


class OpenerBudget(BaseModel):
    """What opening one photo may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: float = Field(ge=1)
    cpu_s: int = Field(ge=1)
    memory_bytes: int = Field(ge=1)


class _Opener(ChildProcess):
    """Its deaths are the photos' doing, and the next photo waits for it."""

    longest_pause_s = 0.1


class OpenerUnavailable(Exception):
    """There is no opener, through no fault of the photo."""


class OpenerProcess:
    """Opens photos in the process; made by `opener_process`. Not for several threads at once."""

    def __init__(
        self, child: BlockingChild, shared: SharedPhoto, limits: PhotoLimits, budget: OpenerBudget
    ) -> None:
        self._child = child
        self._shared = shared
        self._limits = limits
        self._budget = budget

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def open(self, photo: bytes, view: View = WHOLE) -> OpenedPhoto:
        """What is wanted of the photo; its pixels hold until the next one, or `give_back`.

        Raises `PhotoRefused` as `open_photo` does, besides with `image_too_costly` when a budget does not
        suffice, and `OpenerUnavailable`."""
        check_size(photo, self._limits)
        self.give_back()
        self._shared.write_photo(photo)
        try:
            answer = self._asked(len(photo), view)
        except ChildTimedOut as error:
            raise _too_slow() from error
        except ChildDied as died:
            raise (_too_slow() if died.signal == signal.SIGXCPU else _corrupt()) from died
        except CallRefused as refused:
            raise _corrupt() from refused
        except ChildFailed as failure:
            raise OpenerUnavailable(str(failure)) from failure
        if "code" in answer:
            raise PhotoRefused(answer["code"], answer["detail"])
        return opened_from_frame(answer, self._shared.pixels(*answer["shape"]))

    def _asked(self, photo_bytes: int, view: View) -> dict[str, Any]:
        """The opener's answer. Who was killed from outside, in whatever need, may not have been so over this
        photo: it is tried once more."""
        for may_be_chance in (True, False):
            try:
                return self._child.call(
                    "open",
                    {"photo_bytes": photo_bytes, "view": view_to_frame(view)},
                    timeout_s=self._budget.timeout_s,
                    start_timeout_s=_START_TIMEOUT_S,
                )
            except ChildDied as died:
                if not may_be_chance or died.signal not in _FROM_OUTSIDE:
                    raise
        raise AssertionError("it was answered or raised")

    def give_back(self) -> None:
        """Return to the system what a large photo took: when nobody needs its pixels any more."""
        self._shared.give_back()


@contextmanager
def opener_process(
    limits: PhotoLimits, budget: OpenerBudget, *, module: str = OPENER_MODULE
) -> Generator[OpenerProcess]:
    """An opener that is ready, until the end of the block. Raises `ChildStartFailed`."""
    shared = SharedPhoto.create(limits)
    try:
        child = _Opener(
            "opener",
            module,
            arguments={
                "limits": limits.model_dump(),
                "memory_bytes": budget.memory_bytes,
                "cpu_s": budget.cpu_s,
                "memory_fd": shared.fd,
            },
            start_timeout_s=_START_TIMEOUT_S,
            environment=_ENVIRONMENT,
            inherited_fds=(shared.fd,),
        )
        with BlockingChild(child) as running:
            yield OpenerProcess(running, shared, limits, budget)
    finally:
        shared.close()


def _too_slow() -> PhotoRefused:
    return PhotoRefused(
        "image_too_costly",
        "Opening it takes longer than allowed. Save it again as a plain JPEG, of fewer pixels.",
    )


def _corrupt() -> PhotoRefused:
    return PhotoRefused("corrupt_image", "The decoder broke down over it. Export it again.")
