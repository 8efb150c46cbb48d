"""How long embedding takes: our engine beside facenet-pytorch's network as it comes, in turns."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from infra.settings import Settings
from schemas.recognition import Engine
from scripts.bench.plain_network import plain_network
from workers.recognition.devices import encoder_on
from workers.recognition.facenet_weights import PROJECTION_TENSOR, FaceNetWeights
from workers.recognition.parameters import CROP_SIDE_PX, STANDARD_DIVISOR, STANDARD_MEAN
from workers.recognition.weights import ModelFiles

BATCHES: Final = (1, 32)
_WARM_UP: Final = 2

Crops = NDArray[np.uint8]


class EmbeddingTimes:
    """Milliseconds a face of both, by batch, over all rounds."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ours: dict[int, list[float]] = {batch: [] for batch in BATCHES}
        self.plain: dict[int, list[float]] = {batch: [] for batch in BATCHES}


def embedding_times(files: ModelFiles, settings: Settings, rounds: int) -> EmbeddingTimes:
    """Each round embeds one crop and 32 with both; the first rounds warm up and do not count.

    What is in a picture does not change how long it takes, so the crops are noise."""
    encoder = encoder_on(settings.device, FaceNetWeights.read(files), threads=settings.compute_threads)
    plain = _plain(files)
    shape = (max(BATCHES), CROP_SIDE_PX, CROP_SIDE_PX, 3)
    crops = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    times = EmbeddingTimes(encoder.engine)
    for turn in range(_WARM_UP + rounds):
        for batch in BATCHES:
            taken = [_ms(run, crops[:batch]) for run in (encoder.embed, plain)]
            for kept, value_ms in zip((times.ours, times.plain), taken, strict=True):
                if turn >= _WARM_UP:
                    kept[batch].append(value_ms / batch)
    return times


def _plain(files: ModelFiles) -> Callable[[Crops], object]:
    tensors = safetensors.numpy.load(files.read_tensors())
    del tensors[PROJECTION_TENSOR]
    module = plain_network(tensors)

    @torch.inference_mode()
    def embed(crops: Crops) -> object:
        # As facenet-pytorch's `fixed_image_standardization` has it.
        faces = (torch.as_tensor(crops).permute(0, 3, 1, 2).float() - STANDARD_MEAN) / STANDARD_DIVISOR
        return module(faces).numpy()

    return embed


def _ms(embed: Callable[[Crops], object], crops: Crops) -> float:
    started_s = time.perf_counter()
    embed(crops)
    return (time.perf_counter() - started_s) * 1000
