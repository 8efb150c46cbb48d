"""An opener that decodes nothing: `python -m tests.workers.recognition.opener_stand_in`.

A photo is text: `hang`, `die`, `killed` and `killed once: MARK` bring the process down, each in its way;
whatever else is one grey pixel.
"""

import os
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from infra.child import Handlers, child_main
from schemas.recognition import PhotoLimits
from workers.recognition.opened_photo import of_pixels, opened_to_frame
from workers.recognition.shared_photo import SharedPhoto


@contextmanager
def stand_in(arguments: Mapping[str, Any]) -> Generator[Handlers]:
    shared = SharedPhoto(arguments["memory_fd"], PhotoLimits.model_validate(arguments["limits"]))

    def open_one(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        photo = shared.read_photo(asked["photo_bytes"])
        grey = of_pixels(np.full((1, 1, 3), 128, np.uint8))
        shared.write_pixels(grey.pixels)
        if photo == b"hang":
            time.sleep(3600)
        if photo == b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if photo == b"killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if photo.startswith(b"killed once: ") and not (mark := Path(photo[13:].decode())).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return opened_to_frame(grey)

    yield {"open": open_one}


if __name__ == "__main__":
    child_main(stand_in)
