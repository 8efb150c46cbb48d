"""The face pipeline as the host sees it: a child process that is asked about photos."""

from collections.abc import Sequence
from typing import Any, Final

from infra.child import CallRefused, ChildAbsent, ChildFailed, ChildProcess
from schemas.recognition import Engine, ModelStamp, PhotoLimits
from workers.recognition.analysis import Answer, PhotoRequest, answer_from_frame, request_to_frame
from workers.recognition.opened_photo import MAX_OPENINGS
from workers.recognition.opener_process import OpenerBudget
from workers.recognition.weights import ModelFiles

_MODULE: Final = "workers.recognition.compute_child"
_START_TIMEOUT_S: Final = 120
"""Loading the model takes 1 s, on a GPU some more, and many times that on a cold and busy disk."""
_SHARE_CORES: Final = {"GOMP_SPINCOUNT": "1000"}
"""How long PyTorch's threads (GNU OpenMP) spin for each other before they sleep. Measured on two cores, alone
and beside another process that computes, ms a face: never 74 and 72, this 46 and 100, default 41 and 4660."""
_CALL_BYTES: Final = 32 * 1024 * 1024
"""Photos of more than this are asked about in several calls, so that each fits into a frame."""
NO_OPENER: Final = "no_opener"
"""The child's refusal when its opener is away."""


def compute_child(
    files: ModelFiles, *, device: str, threads: int, limits: PhotoLimits, opener: OpenerBudget
) -> ChildProcess:
    """The child process that serves the model of these weights; not started yet.

    `device` is that of the settings; `threads` are those of the processor."""
    arguments = {
        "folder": str(files.folder),
        "device": device,
        "threads": threads,
        "limits": limits.model_dump(),
        "opener": opener.model_dump(),
    }
    return ChildProcess(
        "compute",
        _MODULE,
        arguments=arguments,
        start_timeout_s=_START_TIMEOUT_S,
        environment=_SHARE_CORES,
    )


class Compute:
    """Calls of a compute child, which its owner starts and closes.

    `open_timeout_s` is the longest that the child takes to open a photo."""

    def __init__(self, child: ChildProcess, *, open_timeout_s: float) -> None:
        self._child = child
        self._open_timeout_s = open_timeout_s
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine | None:
        """What the child computes templates with, as it said when it last tried its model."""
        return self._engine

    @property
    def restarts(self) -> int:
        """How often the child had to be started again."""
        return self._child.restarts

    async def analyse(self, requests: Sequence[PhotoRequest], *, timeout_s: float) -> list[Answer]:
        """An answer for each photo, in order. The time is that of the model in one call; photos beyond 32 MiB
        make several, and so do those that take long to open.

        Raises `ChildFailed` for the batch as a whole; the caller tries its photos again one by one."""
        answers: list[Answer] = []
        while photos := _next_call(requests[len(answers) :]):
            answers.extend(await self._analyse(photos, timeout_s))
        return answers

    async def _analyse(self, photos: Sequence[PhotoRequest], timeout_s: float) -> list[Answer]:
        """Answers for the first of the photos, one at least."""
        payload = {
            "photos": [request_to_frame(request) for request in photos],
            "prepare_s": self._open_timeout_s,
        }
        # The child's own start is not counted against a photo: else one that hangs could not be told from it.
        await self._child.ready(timeout_s=_START_TIMEOUT_S)
        # A photo may be opened at the last moment, as often as can be, and take all of its time.
        longest_s = timeout_s + (1 + MAX_OPENINGS) * self._open_timeout_s
        try:
            frames: Sequence[dict[str, Any]] = await self._child.call("analyse", payload, timeout_s=longest_s)
        except CallRefused as refused:
            if refused.code == NO_OPENER:
                raise ChildAbsent(refused.detail) from refused
            raise
        if not 0 < len(frames) <= len(photos):
            raise ChildFailed(f"the compute child answered {len(frames)} of {len(photos)} photos")
        return [answer_from_frame(frame) for frame in frames]

    async def self_test(self, *, timeout_s: float) -> ModelStamp:
        """Have the child try its model; which model it is. Raises `ChildFailed`."""
        frame = await self._child.call("self_test", timeout_s=timeout_s)
        self._engine = Engine.model_validate(frame["engine"])
        return ModelStamp.model_validate(frame["model"])


def _next_call(requests: Sequence[PhotoRequest]) -> Sequence[PhotoRequest]:
    """The first photos that fit into a call, one at least where there is one."""
    call_bytes = 0
    for index, request in enumerate(requests):
        call_bytes += len(request.photo)
        if index and call_bytes > _CALL_BYTES:
            return requests[:index]
    return requests
