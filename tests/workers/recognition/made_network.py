"""A FaceNet that nobody trained, for tests of the machinery around one."""

import numpy as np
from numpy.typing import NDArray

from workers.recognition.facenet_weights import FaceNetWeights, Tensors, expected_shapes
from workers.recognition.projection import bottleneck_projection


def made_tensors(seed: int = 0) -> Tensors:
    """Whatever a network's tensors may be: values stay of one size from layer to layer."""
    generator = np.random.default_rng(seed)
    return {name: _made(generator, name, shape) for name, shape in expected_shapes().items()}


def made_weights(seed: int = 0) -> FaceNetWeights:
    tensors = made_tensors(seed)
    return FaceNetWeights(tensors, bottleneck_projection(tensors))


def _made(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return generator.normal(scale=spread, size=shape).astype(np.float32)
    if name.endswith((".bn.weight", "last_bn.weight", "running_var")):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return generator.normal(scale=0.1, size=shape).astype(np.float32)
