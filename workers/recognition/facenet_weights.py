"""The numbers of the network as an engine takes them: whole, and with everything folded in that is linear."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from workers.recognition.inception import (
    BATCH_NORM_EPSILON,
    EMBEDDING_DIMENSIONS,
    LAST_CHANNELS,
    Layer,
    embedding,
)
from workers.recognition.projection import TEMPLATE_DIMENSIONS, Projection, last_layer, usual_length
from workers.recognition.weights import REMEDY, ModelFiles, WeightsError

Tensors = dict[str, NDArray[np.generic]]
"""By the names that facenet-pytorch's InceptionResnetV1 gives them, batch norms apart."""

PROJECTION_TENSOR: Final = "projection"
_OF_BATCH_NORM: Final = ("weight", "bias", "running_mean", "running_var")


class NotTheNetwork(ValueError):
    """The tensors are not those of InceptionResnetV1."""


@dataclass(frozen=True)
class Folded:
    """A layer, linear: outputs first. A convolution's kernel has four dimensions."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


class FaceNetWeights:
    """The network's numbers, layer by layer, and what makes templates of its embeddings."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]], basis: NDArray[np.float32]) -> None:
        """`basis` is the projection's. Raises `NotTheNetwork`."""
        require_whole(tensors)
        if basis.shape != (TEMPLATE_DIMENSIONS, EMBEDDING_DIMENSIONS):
            raise NotTheNetwork("the projection has another shape than it should")
        self._tensors = tensors
        self.projection = Projection(basis, usual_length(tensors))

    @classmethod
    def read(cls, files: ModelFiles) -> "FaceNetWeights":
        """Of prepared weights; raises `WeightsError` when they are not whole."""
        try:
            tensors: Tensors = safetensors.numpy.load(files.read_tensors())
            return cls(tensors, tensors.pop(PROJECTION_TENSOR).astype(np.float32))
        except (SafetensorError, KeyError, NotTheNetwork) as error:
            raise WeightsError(
                f"The weights of {files.stamp.id} are not those of the network. {REMEDY}"
            ) from error

    def of(self, layer: Layer) -> Folded:
        """A convolution's numbers: batch norm, or by how much it is mixed, folded in."""
        if layer.mixed_by is not None:
            kernel, bias = (self._numbers(f"{layer.name}.{part}") for part in ("weight", "bias"))
            return _folded(kernel * layer.mixed_by, bias * layer.mixed_by)
        gamma, beta, mean, variance = (self._numbers(f"{layer.name}.bn.{part}") for part in _OF_BATCH_NORM)
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = self._numbers(f"{layer.name}.conv.weight") * scale[:, None, None, None]
        return _folded(kernel, beta - mean * scale)

    @property
    def last(self) -> Folded:
        """The layer that gives embeddings [n, 512] of channels' means [n, 1792]."""
        return _folded(*last_layer(self._tensors))

    def _numbers(self, name: str) -> NDArray[np.float64]:
        return self._tensors[name].astype(np.float64)


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Of every tensor of the network, in order. `num_batches_tracked` counts, the others are float32."""
    shapes = _Shapes()
    embedding(shapes, 3)
    return shapes.of


def require_whole(tensors: Mapping[str, NDArray[np.generic]]) -> None:
    """Raises `NotTheNetwork` unless the tensors are those of the network and no others."""
    expected = expected_shapes()
    if tensors.keys() != expected.keys():
        strange = sorted(tensors.keys() ^ expected.keys())
        raise NotTheNetwork(f"{strange[0]} is missing, or one too many")
    for name, shape in expected.items():
        if tensors[name].shape != shape or tensors[name].dtype != dtype_of(name):
            raise NotTheNetwork(f"{name} has another shape or type than it should")


def dtype_of(name: str) -> type[np.float32 | np.int64]:
    """What a tensor of this name is made of."""
    return np.int64 if name.endswith(".num_batches_tracked") else np.float32


class _Shapes:
    """Operations on nothing but the number of channels, which write down what each layer needs."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[int, ...]] = {}

    def convolved(self, x: int, layer: Layer) -> int:
        if x != layer.inputs:
            raise ValueError(f"{layer.name} takes {layer.inputs} channels, and is given {x}")
        shape = (layer.outputs, layer.inputs, *layer.size)
        if layer.mixed_by is not None:
            self.of |= {f"{layer.name}.weight": shape, f"{layer.name}.bias": (layer.outputs,)}
        else:
            self.of[f"{layer.name}.conv.weight"] = shape
            self._batch_norm(f"{layer.name}.bn", layer.outputs)
        return layer.outputs

    def pooled(self, x: int) -> int:
        return x

    def joined(self, parts: Sequence[int]) -> int:
        return sum(parts)

    def added(self, x: int, y: int, *, rectified: bool) -> int:
        if x != y:
            raise ValueError(f"{x} channels are added to {y}")
        return x

    def embedded(self, x: int) -> int:
        self.of["last_linear.weight"] = (EMBEDDING_DIMENSIONS, LAST_CHANNELS)
        self._batch_norm("last_bn", EMBEDDING_DIMENSIONS)
        return EMBEDDING_DIMENSIONS

    def _batch_norm(self, name: str, channels: int) -> None:
        self.of |= {f"{name}.{part}": (channels,) for part in _OF_BATCH_NORM}
        self.of[f"{name}.num_batches_tracked"] = ()


def _folded(kernel: NDArray[np.float64], bias: NDArray[np.float64]) -> Folded:
    return Folded(np.ascontiguousarray(kernel, np.float32), np.ascontiguousarray(bias, np.float32))
