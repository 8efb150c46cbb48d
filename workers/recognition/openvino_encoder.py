"""The encoder on a processor."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from openvino import Model

from schemas.recognition import Engine
from workers.recognition.encoder import Encoder, Templates
from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.inception import Layer, embedding
from workers.recognition.openvino_engine import (
    OPENVINO_VERSION,
    Precision,
    best_precision,
    built,
    compiled,
    operations,
)
from workers.recognition.parameters import CROP_SIDE_PX, STANDARD_DIVISOR, STANDARD_MEAN

_WIDTH_FIRST: Final = np.array([2, 3])


class OpenVinoEncoder(Encoder):
    """InceptionResnetV1 in OpenVINO, for as many crops at once as there are: shapes of its own for each
    count gain nothing."""

    def __init__(self, weights: FaceNetWeights, *, threads: int, precision: Precision | None = None) -> None:
        """`precision` is the processor's best unless it is said."""
        self._projection = weights.projection
        precision = precision or best_precision()
        self.engine = Engine(name=f"openvino {OPENVINO_VERSION}", device="cpu", precision=precision)
        network = compiled(_network(weights), precision=precision, threads=threads)
        self._request = network.create_infer_request()

    def embeddings(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the network's last layer has them: [n, 512], of any length."""
        outcomes = self._request.infer([np.ascontiguousarray(crops)], share_inputs=True)
        return np.array(outcomes[0], np.float32)

    def _embed(self, crops: NDArray[np.uint8]) -> Templates:
        return Templates.of(self.embeddings(crops), self._projection)


def _network(weights: FaceNetWeights) -> Model:
    """From crops, uint8 [n, 160, 160, 3], to embeddings, float32 [n, 512]."""
    crops = operations.parameter([-1, CROP_SIDE_PX, CROP_SIDE_PX, 3], np.uint8)
    centred = operations.subtract(operations.convert(crops, "f32"), _constant(STANDARD_MEAN))
    # In bf16, too, each of the 256 levels is exact.
    standardised = operations.multiply(centred, _constant(1 / STANDARD_DIVISOR))
    pictures = operations.transpose(standardised, np.array([0, 3, 1, 2]))
    return built([embedding(_OpenVino(weights), pictures)], [crops], "facenet")


class _OpenVino:
    """The network's operations as nodes of a graph."""

    def __init__(self, weights: FaceNetWeights) -> None:
        self._weights = weights

    def convolved(self, x: Any, layer: Layer) -> Any:
        numbers = self._weights.of(layer)
        padding = list(layer.padding)
        found = operations.convolution(x, numbers.kernel, [layer.stride] * 2, padding, padding, [1, 1])
        found = operations.add(found, numbers.bias[None, :, None, None])
        return operations.relu(found) if layer.mixed_by is None else found

    def pooled(self, x: Any) -> Any:
        return operations.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3]).output(0)

    def joined(self, parts: Sequence[Any]) -> Any:
        return operations.concat(list(parts), 1)

    def added(self, x: Any, y: Any, *, rectified: bool) -> Any:
        total = operations.add(x, y)
        return operations.relu(total) if rectified else total

    def embedded(self, x: Any) -> Any:
        last = self._weights.last
        means = operations.reduce_mean(x, _WIDTH_FIRST, keep_dims=False)
        return operations.add(operations.matmul(means, last.kernel, False, True), last.bias[None])


def _constant(value: float) -> Any:
    return operations.constant(np.float32(value))
