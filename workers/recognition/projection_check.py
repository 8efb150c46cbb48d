"""Whether 128 dimensions hold a network's embeddings."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.openvino_encoder import OpenVinoEncoder
from workers.recognition.parameters import CROP_SIDE_PX, STANDARD_DIVISOR, STANDARD_MEAN
from workers.recognition.projection import normalised

_SAMPLES = 32
_COARSE_PX = 20


def cosine_error(weights: FaceNetWeights) -> float:
    """How much the projection changes the cosines between embeddings of made pictures, at worst."""
    embeddings = OpenVinoEncoder(weights, threads=1, precision="f32").embeddings(_pictures())
    templates, whole = weights.projection.templates(embeddings), normalised(embeddings)
    return float(np.abs(whole @ whole.T - templates @ templates.T).max())


def _pictures() -> NDArray[np.uint8]:
    """Smooth noise of many contrasts and colours, from a fixed seed."""
    generator = np.random.default_rng(20180408)
    coarse = generator.normal(size=(_SAMPLES, _COARSE_PX, _COARSE_PX, 3)).astype(np.float32)
    coarse *= np.linspace(0.1, 1.2, _SAMPLES, dtype=np.float32)[:, None, None, None]
    levels = np.clip(coarse * STANDARD_DIVISOR + STANDARD_MEAN, 0, 255).astype(np.uint8)
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in levels]
    )
