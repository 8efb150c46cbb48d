"""The opener process: decodes strangers' photos within its budgets, and may die of one."""

import resource
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from infra.child import Handlers, child_main, limit_resources
from schemas.recognition import PhotoLimits
from workers.recognition.opened_photo import opened_to_frame, view_from_frame
from workers.recognition.opener import PhotoRefused, open_photo
from workers.recognition.shared_photo import SharedPhoto

_TOO_MUCH_MEMORY: Final = (
    "Opening it takes more memory than allowed. Save it again as a plain JPEG, of fewer pixels."
)


@contextmanager
def serve(arguments: Mapping[str, Any]) -> Generator[Handlers]:
    """`arguments`: `limits` (of photos), `memory_bytes`, `cpu_s` (for one photo), `memory_fd`."""
    limits = PhotoLimits.model_validate(arguments["limits"])
    shared = SharedPhoto(arguments["memory_fd"], limits)
    limit_resources({resource.RLIMIT_AS: arguments["memory_bytes"]})

    def open_one(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        _allow_processor_time(arguments["cpu_s"])
        try:
            photo = shared.read_photo(asked["photo_bytes"])
            opened = open_photo(photo, limits, view_from_frame(asked["view"]))
        except PhotoRefused as refused:
            return {"code": refused.code, "detail": refused.detail}
        except MemoryError:
            return {"code": "image_too_costly", "detail": _TOO_MUCH_MEMORY}
        shared.write_pixels(opened.pixels)
        return opened_to_frame(opened)

    yield {"open": open_one}


def _allow_processor_time(seconds: int) -> None:
    """From now; whoever takes more is killed by SIGXCPU. The limit counts whole seconds since the process's
    start."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


if __name__ == "__main__":
    child_main(serve)
