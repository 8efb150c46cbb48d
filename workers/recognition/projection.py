"""From the network's 512 dimensions to the 128 that are kept: with a quarter of the memory, the same cosines.

The last layer is linear, e = A x + b, and A has about 96 strong directions, so nearly all of every embedding
lies in the span of A's first left singular vectors and b. An orthonormal basis of that span keeps lengths and
angles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.recognition.inception import BATCH_NORM_EPSILON

TEMPLATE_DIMENSIONS: Final = 128
MAX_COSINE_ERROR: Final = 1e-4


def last_layer(
    tensors: Mapping[str, NDArray[np.generic]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A [512, 1792] and b [512], with the batch norm folded in."""
    weight, gamma, beta, mean, variance = (
        tensors[name].astype(np.float64)
        for name in (
            "last_linear.weight",
            "last_bn.weight",
            "last_bn.bias",
            "last_bn.running_mean",
            "last_bn.running_var",
        )
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale[:, None] * weight, beta - mean * scale


def bottleneck_projection(tensors: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """An orthonormal basis, float32 [128, 512], computed from the network's last layer alone.

    Each vector's largest component is positive, which makes the basis the same on every machine."""
    weight, bias = last_layer(tensors)
    directions = np.linalg.svd(weight, full_matrices=False)[0]
    strong, next_one = directions[:, : TEMPLATE_DIMENSIONS - 1], directions[:, TEMPLATE_DIMENSIONS - 1]
    beside: NDArray[np.float64] = bias - strong @ (strong.T @ bias)
    length = np.linalg.norm(beside)
    # A bias that lies in the span already leaves room for one direction more.
    basis = np.column_stack([beside / length if length > 1e-9 else next_one, strong]).T
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(basis * np.sign(largest), np.float32)


def usual_length(tensors: Mapping[str, NDArray[np.generic]]) -> float:
    """The length that embeddings have before they are normalised, root mean square over the training photos.

    The last layer's batch norm gives each dimension the variance gamma^2 and the mean beta over them."""
    gamma, beta = (tensors[name].astype(np.float64) for name in ("last_bn.weight", "last_bn.bias"))
    return float(np.sqrt((gamma**2 + beta**2).sum()))


@dataclass(frozen=True)
class Projection:
    """What makes templates of a network's embeddings."""

    basis: NDArray[np.float32]
    """[128, 512]"""
    usual_length: float

    def templates(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, 128], L2-normalised, of embeddings [n, 512] of any length."""
        return normalised(embeddings @ self.basis.T)

    def qualities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n], how strongly the network responded to each."""
        return (np.linalg.norm(embeddings, axis=1) / self.usual_length).astype(np.float32)


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1 each; what has none stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.float32(1e-12))
