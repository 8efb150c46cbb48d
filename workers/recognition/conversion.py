"""From the published FaceNet files to the tensors of facenet-pytorch's InceptionResnetV1, without its
classifier."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.recognition.graphdef import read_float_constants

_SCOPES = {
    "conv2d_1a": "Conv2d_1a_3x3",
    "conv2d_2a": "Conv2d_2a_3x3",
    "conv2d_2b": "Conv2d_2b_3x3",
    "conv2d_3b": "Conv2d_3b_1x1",
    "conv2d_4a": "Conv2d_4a_3x3",
    "conv2d_4b": "Conv2d_4b_3x3",
    **{f"repeat_1.{i}": f"Repeat/block35_{i + 1}" for i in range(5)},
    "mixed_6a": "Mixed_6a",
    **{f"repeat_2.{i}": f"Repeat_1/block17_{i + 1}" for i in range(10)},
    "mixed_7a": "Mixed_7a",
    **{f"repeat_3.{i}": f"Repeat_2/block8_{i + 1}" for i in range(5)},
    "block8": "Block8",
}
"""The network's blocks: their name in torch and their scope in the graph."""

_ROOT = "InceptionResnetV1/"
_FOLDED_VARIANCE = 1 - 1e-3
"""A running variance that, with the batch norm's own epsilon of 1e-3, leaves the values as they are."""


class ConversionError(ValueError):
    """The file does not hold the network that it should."""


def network(tensors: Mapping[str, Tensor] | None = None, *, normalised: bool = True) -> nn.Module:
    """The network in evaluation mode, strictly loaded with the tensors where they are given.

    Takes float32 [n, 3, 160, 160], gives float32 [n, 512], L2-normalised or as the last layer has them."""
    module = InceptionResnetV1(pretrained=None, classify=False).eval()
    if tensors is not None:
        try:
            module.load_state_dict(dict(tensors), strict=True)
        except RuntimeError as error:
            raise ConversionError("the tensors are not those of InceptionResnetV1") from error
    if not normalised:
        # What it would hand to a classifier is the embedding as it is: this one hands it on.
        module.classify = True
        module.add_module("logits", nn.Identity())
    return module


def from_graph(graph: bytes) -> dict[str, Tensor]:
    """Tensors from the frozen TensorFlow graph whose convolutions have their batch norms folded in.

    Within a block, the graph's scopes in alphabetical order are torch's layers in their order;
    facenet-pytorch's own conversion (models/utils/tensorflow2pytorch.py) relies on the same."""
    constants = read_float_constants(graph)
    expected = network().state_dict()
    tensors = dict(expected)
    try:
        for prefix, scope in _SCOPES.items():
            _convert_block(prefix, _ROOT + scope, constants, tensors)
        _convert_bottleneck(constants, tensors)
    except KeyError as error:
        raise ConversionError(f"the graph lacks {error.args[0]}") from error
    _require_same_shapes(tensors, expected)
    return tensors


def from_facenet_pytorch(path: Path) -> dict[str, Tensor]:
    """Tensors from one of facenet-pytorch's own published files; the classifier in it is left out."""
    try:
        state = cast("dict[str, Tensor]", torch.load(path, map_location="cpu", weights_only=True))
        tensors = {
            name: tensor.contiguous() for name, tensor in state.items() if not name.startswith("logits.")
        }
    except Exception as error:
        # Unpickling a damaged file raises whatever its bytes lead to; each means the same.
        raise ConversionError("the file is not a saved PyTorch state") from error
    expected = network().state_dict()
    if tensors.keys() != expected.keys():
        raise ConversionError("the file does not hold the tensors of InceptionResnetV1")
    _require_same_shapes(tensors, expected)
    return tensors


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, shapes, types and values, the same on every machine."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _convert_block(
    prefix: str, scope: str, constants: Mapping[str, NDArray[np.float32]], tensors: dict[str, Tensor]
) -> None:
    kernel = ".conv.weight"
    layers = [
        name.removesuffix(kernel)
        for name in tensors
        if name.startswith(f"{prefix}.") and name.endswith(kernel)
    ]
    offsets = "/Conv2D_bn_offset"
    scopes = sorted(
        name.removesuffix(offsets)
        for name in constants
        if name.endswith(offsets) and name.startswith((scope + "/Branch_", scope + offsets))
    )
    if len(layers) != len(scopes):
        raise ConversionError(f"{scope} has {len(scopes)} convolutions instead of {len(layers)}")
    for layer, layer_scope in zip(layers, scopes, strict=True):
        offset = torch.as_tensor(constants[layer_scope + offsets])
        tensors[f"{layer}.conv.weight"] = _kernel(constants[layer_scope + "/weights"])
        tensors[f"{layer}.bn.weight"] = torch.ones_like(offset)
        tensors[f"{layer}.bn.bias"] = offset
        tensors[f"{layer}.bn.running_mean"] = torch.zeros_like(offset)
        tensors[f"{layer}.bn.running_var"] = torch.full_like(offset, _FOLDED_VARIANCE)
    if (
        f"{prefix}.conv2d.weight" in tensors
    ):  # the residual blocks' last convolution has a bias and no batch norm
        tensors[f"{prefix}.conv2d.weight"] = _kernel(constants[scope + "/Conv2d_1x1/weights"])
        tensors[f"{prefix}.conv2d.bias"] = torch.as_tensor(constants[scope + "/Conv2d_1x1/biases"])


def _convert_bottleneck(constants: Mapping[str, NDArray[np.float32]], tensors: dict[str, Tensor]) -> None:
    scope = _ROOT + "Bottleneck/"
    tensors["last_linear.weight"] = torch.as_tensor(np.ascontiguousarray(constants[scope + "weights"].T))
    for name, constant in {
        "weight": "Const",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }.items():
        tensors[f"last_bn.{name}"] = torch.as_tensor(constants[f"{scope}BatchNorm/{constant}"])


def _kernel(weights: NDArray[np.float32]) -> Tensor:
    """Height, width, in, out as TensorFlow has it to out, in, height, width."""
    return torch.as_tensor(np.ascontiguousarray(weights.transpose(3, 2, 0, 1)))


def _require_same_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise ConversionError(f"{name} has another shape or type than it should")
