"""The face pipeline as the host sees it: a child process that is asked about photos."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from infra.child import ChildFailed, ChildProcess
from schemas.recognition import ModelStamp, PhotoLimits
from workers.recognition.analysis import Answer, PhotoRequest, answer_from_frame, request_to_frame
from workers.recognition.weights import ModelFiles

_MODULE: Final = "workers.recognition.compute_child"
_START_TIMEOUT_S: Final = 120
"""Importing torch and loading the weights take 3 s, and many times that on a cold and busy disk."""
_SHARE_CORES: Final = {"GOMP_SPINCOUNT": "1000"}
"""How long torch's threads (GNU OpenMP) spin for each other before they sleep. Measured on two cores, alone
and beside another process that computes, ms a face: never 74 and 72, this 46 and 100, default 41 and 4660."""
_CALL_BYTES: Final = 32 * 1024 * 1024
"""Photos of more than this are asked about in several calls, so that each fits into a frame."""


def compute_child(files: ModelFiles, *, device: str, threads: int, limits: PhotoLimits) -> ChildProcess:
    """The child process that serves the model of these weights; not started yet.

    `device` is `auto`, `cpu` or `cuda`; `threads` are those of torch."""
    arguments = {
        "folder": str(files.folder),
        "device": device,
        "threads": threads,
        "limits": limits.model_dump(),
    }
    return ChildProcess(
        "compute",
        _MODULE,
        arguments=arguments,
        start_timeout_s=_START_TIMEOUT_S,
        environment=_SHARE_CORES,
    )


class Compute:
    """Calls of a compute child, which its owner starts and closes."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    async def analyse(self, requests: Sequence[PhotoRequest], *, timeout_s: float) -> list[Answer]:
        """An answer for each photo, in order. The time is that of one call; photos beyond 32 MiB make
        several.

        Raises `ChildFailed` for the batch as a whole; the caller tries its photos again one by one."""
        answers: list[Answer] = []
        for photos in _calls(requests):
            payload = {"photos": [request_to_frame(request) for request in photos]}
            # The child's own start is not counted against a photo: else one that hangs could not be told from
            # it.
            await self._child.ready(timeout_s=_START_TIMEOUT_S)
            frames = await self._child.call("analyse", payload, timeout_s=timeout_s)
            answers.extend(_answers(frames, len(photos)))
        return answers

    async def self_test(self, *, timeout_s: float) -> ModelStamp:
        """Have the child try its model; which model it is. Raises `ChildFailed`."""
        frame = await self._child.call("self_test", timeout_s=timeout_s)
        return ModelStamp.model_validate(frame["model"])


def _calls(requests: Sequence[PhotoRequest]) -> Iterator[list[PhotoRequest]]:
    call: list[PhotoRequest] = []
    call_bytes = 0
    for request in requests:
        if call and call_bytes + len(request.photo) > _CALL_BYTES:
            yield call
            call, call_bytes = [], 0
        call.append(request)
        call_bytes += len(request.photo)
    if call:
        yield call


def _answers(frames: Sequence[dict[str, Any]], expected: int) -> list[Answer]:
    if len(frames) != expected:
        raise ChildFailed(f"the compute child answered {len(frames)} of {expected} photos")
    return [answer_from_frame(frame) for frame in frames]
