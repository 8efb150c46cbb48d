"""What opening a photo and finding its face cost, beside facenet-pytorch as it comes, at two common sizes."""

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from facenet_pytorch import MTCNN
from PIL import Image, ImageFilter

from infra.clock import SystemClock
from infra.settings import Settings
from schemas.recognition import PhotoLimits
from workers.recognition.analysis import PhotoRequest
from workers.recognition.detector import Detector
from workers.recognition.looking import Looking, OpenPhoto
from workers.recognition.opener_process import OpenerBudget, opener_process

SIZES = ((1920, 1080), (640, 480))
_WARM_UP = 5
_JPEG_QUALITY = 90
_BLUR_PX = 60


@dataclass(frozen=True)
class Seeing:
    """Medians of opening a photo, finding its most prominent face and cropping it."""

    photo: str
    service_ms: float
    plain_ms: float
    ratio: float
    """The median of each turn's ratio: whatever slows a turn down slows both."""


def seeing(settings: Settings, portrait: Path, turns: int) -> list[Seeing]:
    """Both ways in turns. Ours opens photos in a process of its own, as the service does."""
    limits = PhotoLimits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
    budget = OpenerBudget(
        timeout_s=settings.open_timeout_s, cpu_s=settings.open_cpu_s, memory_bytes=settings.open_memory_bytes
    )
    torch.set_num_threads(settings.compute_threads)
    plain: Any = MTCNN()
    with opener_process(limits, budget) as opener:
        ours = partial(_look, Detector(settings.compute_threads), opener.open)
        return [_compared(_scene(portrait, size), ours, partial(_plain, plain), turns) for size in SIZES]


def _compared(
    photo: bytes, ours: Callable[[bytes], None], plain: Callable[[bytes], None], turns: int
) -> Seeing:
    pairs = [(_timed_ms(ours, photo), _timed_ms(plain, photo)) for _ in range(_WARM_UP + turns)][_WARM_UP:]
    with Image.open(io.BytesIO(photo)) as image:
        name = f"{image.width} x {image.height}, {len(photo) // 1000} kB"
    return Seeing(
        name,
        round(statistics.median(mine for mine, _ in pairs), 2),
        round(statistics.median(theirs for _, theirs in pairs), 2),
        round(statistics.median(theirs / mine for mine, theirs in pairs), 2),
    )


def _look(detector: Detector, open_photo: OpenPhoto, photo: bytes) -> None:
    looking = Looking(PhotoRequest(photo, "probe"), detector, open_photo, SystemClock())
    looking.crops(looking.faces())


def _plain(mtcnn: Any, photo: bytes) -> None:
    mtcnn(Image.open(io.BytesIO(photo)).convert("RGB"))


def _timed_ms(call: Callable[[bytes], None], photo: bytes) -> float:
    started_s = time.perf_counter()
    call(photo)
    return (time.perf_counter() - started_s) * 1000


def _scene(portrait: Path, size: tuple[int, int]) -> bytes:
    """The person as high as the picture, before what a camera has out of focus."""
    with Image.open(portrait) as image:
        person = image.convert("RGB")
    scene = person.resize(size).filter(ImageFilter.GaussianBlur(_BLUR_PX))
    person = person.resize((person.width * size[1] // person.height, size[1]), Image.Resampling.LANCZOS)
    scene.paste(person, ((size[0] - person.width) // 2, 0))
    target = io.BytesIO()
    scene.save(target, "JPEG", quality=_JPEG_QUALITY)
    return target.getvalue()
