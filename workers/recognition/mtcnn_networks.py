"""The three networks of MTCNN with facenet-pytorch's weights, built for OpenVINO.

Each takes standardised pictures [n, height, width, 3]. The weights are read from that package's data files,
by their hash; neither it nor PyTorch is imported."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from openvino import CompiledModel, Model

from workers.recognition.openvino_engine import built, compiled, operations
from workers.recognition.torch_file import NotAStateFile, read_state
from workers.recognition.weights import WeightsError

_SHA256: Final = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
UNSEEN: Final = -1e4
"""Less than anything that the first layer says."""

_Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Networks:
    """What to call with float32 [n, height, width, 3], each with an answer as a list of float32 arrays."""

    proposal: "Network"
    """[n, rows, columns] probabilities and [n, rows, columns, 4] offsets: a cell looks at 12 px, two px from
    the next. It also takes what to add to the first layer, float32 [n, 1, height - 2, width - 2]: `UNSEEN`
    where a canvas has nothing to see, 0 elsewhere."""
    refinement: "Network"
    """Of pictures of 24 px: [n] probabilities, [n, 4] offsets."""
    output: "Network"
    """Of pictures of 48 px: [n] probabilities, [n, 4] offsets, [n, 10] points."""


class Network:
    """A compiled network. Not for several threads at once."""

    def __init__(self, network: CompiledModel) -> None:
        self._request: Any = network.create_infer_request()
        self._outputs = len(network.outputs)

    def __call__(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        self._request.infer(list(inputs), share_inputs=True)
        return [np.array(self._request.get_output_tensor(place).data) for place in range(self._outputs)]


def load_networks(threads: int) -> Networks:
    """Read, build and compile. Raises `WeightsError`."""

    def ready(model: Model) -> Network:
        # Half precision would move boxes by a pixel, and boxes decide what templates are made of.
        return Network(compiled(model, precision="f32", threads=threads))

    return Networks(
        ready(_proposal(_weights("pnet"))),
        ready(_refinement(_weights("rnet"))),
        ready(_output(_weights("onet"))),
    )


def _weights(name: str) -> _Weights:
    remedy = "Install facenet-pytorch 2.5.3 anew."
    try:
        path = distribution("facenet-pytorch").locate_file(f"facenet_pytorch/data/{name}.pt")
        data = Path(str(path)).read_bytes()
    except (PackageNotFoundError, OSError) as error:
        raise WeightsError(f"The detector's weights {name}.pt are not there. {remedy}") from error
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise WeightsError(f"The detector's weights {name}.pt are damaged or others. {remedy}")
    try:
        return read_state(data)
    except NotAStateFile as error:
        raise WeightsError(f"The detector's weights {name}.pt cannot be read: {error}. {remedy}") from error


def _proposal(weights: _Weights) -> Model:
    picture, x = _input(-1, -1)
    unseen = operations.parameter([-1, 1, -1, -1], np.float32)
    x = _pooled(operations.add(_convolved(x, weights, "conv1", "prelu1"), unseen), 2)
    x = _convolved(x, weights, "conv2", "prelu2")
    x = _convolved(x, weights, "conv3", "prelu3")
    probabilities = operations.softmax(_convolved(x, weights, "conv4_1"), 1)
    offsets = operations.transpose(_convolved(x, weights, "conv4_2"), [0, 2, 3, 1])
    return built([operations.gather(probabilities, 1, 1), offsets], [picture, unseen], "proposal")


def _refinement(weights: _Weights) -> Model:
    picture, x = _input(24, 24)
    x = _pooled(_convolved(x, weights, "conv1", "prelu1"), 3)
    x = _pooled(_convolved(x, weights, "conv2", "prelu2"), 3)
    x = _dense(_flat(_convolved(x, weights, "conv3", "prelu3")), weights, "dense4", "prelu4")
    return built(
        [_probability(x, weights, "dense5_1"), _dense(x, weights, "dense5_2")], [picture], "refinement"
    )


def _output(weights: _Weights) -> Model:
    picture, x = _input(48, 48)
    x = _pooled(_convolved(x, weights, "conv1", "prelu1"), 3)
    x = _pooled(_convolved(x, weights, "conv2", "prelu2"), 3)
    x = _pooled(_convolved(x, weights, "conv3", "prelu3"), 2)
    x = _dense(_flat(_convolved(x, weights, "conv4", "prelu4")), weights, "dense5", "prelu5")
    answers = [
        _probability(x, weights, "dense6_1"),
        _dense(x, weights, "dense6_2"),
        _dense(x, weights, "dense6_3"),
    ]
    return built(answers, [picture], "output")


def _input(height: int, width: int) -> tuple[Any, Any]:
    picture = operations.parameter([-1, height, width, 3], np.float32)
    return picture, operations.transpose(picture, [0, 3, 1, 2])


def _convolved(x: Any, weights: _Weights, name: str, slopes: str | None = None) -> Any:
    x = operations.convolution(x, weights[f"{name}.weight"], [1, 1], [0, 0], [0, 0], [1, 1])
    x = operations.add(x, weights[f"{name}.bias"].reshape(1, -1, 1, 1))
    return operations.prelu(x, weights[f"{slopes}.weight"]) if slopes else x


def _pooled(x: Any, side: int) -> Any:
    window: Sequence[int] = [side, side]
    return operations.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], window, "ceil").output(0)


def _flat(x: Any) -> Any:
    """As these networks were trained: columns before rows before channels."""
    return operations.reshape(operations.transpose(x, [0, 3, 2, 1]), [0, -1], special_zero=True)


def _dense(x: Any, weights: _Weights, name: str, slopes: str | None = None) -> Any:
    x = operations.add(operations.matmul(x, weights[f"{name}.weight"], False, True), weights[f"{name}.bias"])
    return operations.prelu(x, weights[f"{slopes}.weight"]) if slopes else x


def _probability(x: Any, weights: _Weights, name: str) -> Any:
    return operations.gather(operations.softmax(_dense(x, weights, name), 1), 1, 1)
