"""From the published FaceNet files to the tensors of the network, under facenet-pytorch's names and without
its classifier."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from workers.recognition.facenet_weights import Tensors, dtype_of, expected_shapes, require_whole
from workers.recognition.graphdef import read_float_constants
from workers.recognition.inception import BATCH_NORM_EPSILON

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
_FOLDED_VARIANCE = 1 - BATCH_NORM_EPSILON
"""A running variance that, with the batch norm's own epsilon, leaves the values as they are."""


class ConversionError(ValueError):
    """The file does not hold the network that it should."""


def from_graph(graph: bytes) -> Tensors:
    """Tensors from the frozen TensorFlow graph whose convolutions have their batch norms folded in.

    Within a block, the graph's scopes in alphabetical order are the network's layers in their order;
    facenet-pytorch's own conversion (models/utils/tensorflow2pytorch.py) relies on the same. Raises
    `ConversionError`, and `NotTheNetwork` for other shapes."""
    constants = read_float_constants(graph)
    tensors: Tensors = {name: np.zeros(shape, dtype_of(name)) for name, shape in expected_shapes().items()}
    try:
        for prefix, scope in _SCOPES.items():
            _convert_block(prefix, _ROOT + scope, constants, tensors)
        _convert_bottleneck(constants, tensors)
    except KeyError as error:
        raise ConversionError(f"the graph lacks {error.args[0]}") from error
    require_whole(tensors)
    return tensors


def from_facenet_pytorch(path: Path) -> Tensors:
    """Tensors from one of facenet-pytorch's own published files; the classifier in it is left out.

    This takes PyTorch, which wrote the file. Raises `ConversionError`, and `NotTheNetwork`."""
    try:
        import torch  # noqa: PLC0415 - it takes seconds, and is not there on a machine without a GPU
    except ModuleNotFoundError as error:
        raise ConversionError("PyTorch is needed to read it: install faceid-api[cuda]") from error
    try:
        state = cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
        tensors: Tensors = {
            name: tensor.contiguous().numpy()
            for name, tensor in state.items()
            if not name.startswith("logits.")
        }
    except Exception as error:
        # Unpickling a damaged file raises whatever its bytes lead to; each means the same.
        raise ConversionError("the file is not a saved PyTorch state") from error
    require_whole(tensors)
    return tensors


def tensors_sha256(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """A hash of names, shapes, types and values, the same on every machine."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        # Types as PyTorch names them: that is how the first weights were hashed.
        digest.update(f"{name} torch.{tensor.dtype.name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _convert_block(
    prefix: str, scope: str, constants: Mapping[str, NDArray[np.float32]], tensors: Tensors
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
        offset = constants[layer_scope + offsets]
        tensors[f"{layer}.conv.weight"] = _kernel(constants[layer_scope + "/weights"])
        tensors[f"{layer}.bn.weight"] = np.ones_like(offset)
        tensors[f"{layer}.bn.bias"] = offset
        tensors[f"{layer}.bn.running_mean"] = np.zeros_like(offset)
        tensors[f"{layer}.bn.running_var"] = np.full_like(offset, _FOLDED_VARIANCE)
    if (
        f"{prefix}.conv2d.weight" in tensors
    ):  # the residual blocks' last convolution has a bias and no batch norm
        tensors[f"{prefix}.conv2d.weight"] = _kernel(constants[scope + "/Conv2d_1x1/weights"])
        tensors[f"{prefix}.conv2d.bias"] = constants[scope + "/Conv2d_1x1/biases"]


def _convert_bottleneck(constants: Mapping[str, NDArray[np.float32]], tensors: Tensors) -> None:
    scope = _ROOT + "Bottleneck/"
    tensors["last_linear.weight"] = np.ascontiguousarray(constants[scope + "weights"].T)
    for name, constant in {
        "weight": "Const",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }.items():
        tensors[f"last_bn.{name}"] = constants[f"{scope}BatchNorm/{constant}"]


def _kernel(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Height, width, in, out as TensorFlow has it to out, in, height, width."""
    return np.ascontiguousarray(weights.transpose(3, 2, 0, 1))
