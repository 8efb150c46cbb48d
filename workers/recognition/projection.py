"""From the network's 512 dimensions to the 128 that are kept: with a quarter of the memory, the same cosines.

The last layer is linear, e = A x + b, and A has about 96 strong directions, so nearly all of every embedding
lies in the span of A's first left singular vectors and b. An orthonormal basis of that span keeps lengths and
angles."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

TEMPLATE_DIMENSIONS: Final = 128
MAX_COSINE_ERROR: Final = 1e-4
_BATCH_NORM_EPSILON: Final = 1e-3


def bottleneck_projection(tensors: Mapping[str, Tensor]) -> Tensor:
    """An orthonormal basis, float32 [128, 512], computed from the network's last layer alone.

    Each vector's largest component is positive, which makes the basis the same on every machine."""
    weight, gamma, beta, mean, variance = (
        tensors[name].double().numpy()
        for name in (
            "last_linear.weight",
            "last_bn.weight",
            "last_bn.bias",
            "last_bn.running_mean",
            "last_bn.running_var",
        )
    )
    scale = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
    bias = beta - mean * scale
    directions = np.linalg.svd(scale[:, None] * weight, full_matrices=False)[0]
    strong, next_one = directions[:, : TEMPLATE_DIMENSIONS - 1], directions[:, TEMPLATE_DIMENSIONS - 1]
    beside: NDArray[np.float64] = bias - strong @ (strong.T @ bias)
    length = np.linalg.norm(beside)
    # A bias that lies in the span already leaves room for one direction more.
    basis = np.column_stack([beside / length if length > 1e-9 else next_one, strong]).T
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    return torch.as_tensor(np.ascontiguousarray(basis * np.sign(largest), np.float32))


def usual_length(tensors: Mapping[str, Tensor]) -> float:
    """The length that embeddings have before they are normalised, root mean square over the training photos.

    The last layer's batch norm gives each dimension the variance gamma^2 and the mean beta over them."""
    gamma, beta = tensors["last_bn.weight"].double(), tensors["last_bn.bias"].double()
    return float((gamma.square() + beta.square()).sum().sqrt())


def project(embeddings: Tensor, projection: Tensor) -> Tensor:
    """Templates [n, 128], L2-normalised, from embeddings [n, 512]."""
    return functional.normalize(embeddings @ projection.T, dim=1)


@torch.inference_mode()
def cosine_error(network: torch.nn.Module, projection: Tensor, samples: int = 32) -> float:
    """How much the projection changes the cosines between embeddings of made pictures, at worst.

    The pictures are smooth noise of many contrasts and colours, made from a fixed seed."""
    generator = np.random.default_rng(20180408)
    coarse = torch.as_tensor(generator.normal(size=(samples, 3, 20, 20)).astype(np.float32))
    contrast = torch.linspace(0.1, 1.2, samples)[:, None, None, None]
    crops = (functional.interpolate(coarse, size=(160, 160), mode="bicubic") * contrast).clamp(-1, 1)
    embeddings: Tensor = network(crops)
    templates = project(embeddings, projection)
    return float((embeddings @ embeddings.T - templates @ templates.T).abs().max())
