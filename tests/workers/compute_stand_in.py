"""A compute process without a model: `python -m tests.workers.compute_stand_in`.

A photo is text: `face 3 1` is person 3, variation 1; `nobody` has no face; `die`, `hang` and `break` are
photos that bring the process down, each in its way. Every real photo is of somebody else.
"""

import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from infra.child import Handlers, child_main
from tests.workers.conftest import ENGINE, FACE, MODEL, person
from workers.recognition.analysis import (
    AnalysedFace,
    Analysis,
    Refusal,
    answer_to_frame,
    request_from_frame,
)


def _told(photo: bytes) -> str:
    return f"face {crc32(photo)} 0" if photo.startswith(b"\xff\xd8") else photo.decode()


def _answer(photo: str) -> Analysis | Refusal:
    match photo.split():
        case ["face", number, variation]:
            face = AnalysedFace(FACE, person(int(number), int(variation)))
            return Analysis(640, 480, (face,), {"open": 1.0, "detect": 1.0, "embed": 1.0}, engine=ENGINE)
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["hang"]:
            time.sleep(3600)
        case ["break"]:
            raise ValueError(photo)
        case _:
            pass
    return Refusal("no_face", "No face was found.")


@contextmanager
def stand_in(_: Mapping[str, Any]) -> Generator[Handlers]:
    def analyse(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        requests = [request_from_frame(frame) for frame in payload["photos"]]
        return [answer_to_frame(_answer(_told(request.photo))) for request in requests]

    told = {"model": MODEL.model_dump(), "engine": ENGINE.model_dump()}
    yield {"analyse": analyse, "self_test": lambda _: told}


if __name__ == "__main__":
    child_main(stand_in)
