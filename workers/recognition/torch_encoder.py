"""The encoder in PyTorch: on a GPU in half precision; on a processor the reference, in float32."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.recognition import Engine
from workers.recognition.encoder import MAX_BATCH, DeviceUnavailable, Encoder, Templates
from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.inception import Layer, embedding
from workers.recognition.parameters import CROP_SIDE_PX, STANDARD_DIVISOR, STANDARD_MEAN

TorchPrecision = Literal["f32", "f16"]

_TYPES: Final = {"f32": torch.float32, "f16": torch.float16}
BATCHES: Final = (1, 2, 4, 8, 16, MAX_BATCH)
"""A GPU is given one of these, the rest of it empty: for each, its kernels are chosen and their launches
recorded once."""
_WARM_UPS: Final = 3


def torch_encoder(setting: str, weights: FaceNetWeights, *, threads: int) -> "TorchEncoder":
    """For `torch-cpu`, `cuda` or `cuda:1`. Raises `DeviceUnavailable`.

    `threads` hold for all of PyTorch in this process."""
    torch.set_num_threads(threads)
    return TorchEncoder(weights, _device(setting, torch.cuda.device_count()))


def _device(setting: str, gpus: int) -> torch.device:
    if setting == "torch-cpu":
        return torch.device("cpu")
    place = int(setting.partition(":")[2] or 0)
    if not gpus:
        raise DeviceUnavailable("PyTorch sees no NVIDIA GPU. Set FACEID_DEVICE to auto or cpu.")
    if place >= gpus:
        raise DeviceUnavailable(
            f"FACEID_DEVICE={setting} is not there: of {gpus} GPUs, the last is cuda:{gpus - 1}."
        )
    return torch.device("cuda", place)


class TorchEncoder(Encoder):
    """InceptionResnetV1 in PyTorch.

    f16 rather than bf16: equally fast, and its mantissa has three bits more; the network's largest values are
    far below what it holds."""

    def __init__(
        self, weights: FaceNetWeights, device: torch.device, *, precision: TorchPrecision | None = None
    ) -> None:
        """`precision` is f16 on a GPU and f32 on a processor unless it is said."""
        self._projection = weights.projection
        self._device = device
        precision = precision or ("f16" if device.type == "cuda" else "f32")
        self.engine = Engine(
            name=f"torch {torch.__version__.partition('+')[0]}", device=str(device), precision=precision
        )
        self._do = _Torch(weights, device, _TYPES[precision])
        self._recorded = (
            {batch: _Recorded(self._embeddings, batch, device) for batch in BATCHES}
            if device.type == "cuda"
            else {}
        )

    @torch.inference_mode()
    def _embed(self, crops: NDArray[np.uint8]) -> Templates:
        given = torch.as_tensor(np.ascontiguousarray(crops))
        embeddings = self._replayed(given) if self._recorded else self._embeddings(given.to(self._device))
        return Templates.of(embeddings.cpu().numpy(), self._projection)

    def _replayed(self, crops: Tensor) -> Tensor:
        batch = next(batch for batch in BATCHES if len(crops) <= batch)
        return self._recorded[batch](crops)

    def _embeddings(self, crops: Tensor) -> Tensor:
        """float32 [n, 512] of uint8 [n, 160, 160, 3], which is how channels-last lies in memory already."""
        standardised = (crops.float() - STANDARD_MEAN) / STANDARD_DIVISOR
        return embedding(self._do, standardised.to(self._do.type).permute(0, 3, 1, 2)).float()


class _Torch:
    """The network's operations on tensors."""

    def __init__(self, weights: FaceNetWeights, device: torch.device, number_type: torch.dtype) -> None:
        self.type = number_type
        self._device = device
        self._weights = weights
        self._layers: dict[str, tuple[Tensor, Tensor]] = {}
        self._last = tuple(self._there(part) for part in (weights.last.kernel, weights.last.bias))

    def convolved(self, x: Tensor, layer: Layer) -> Tensor:
        kernel, bias = self._numbers(layer)
        found = functional.conv2d(x, kernel, bias, layer.stride, layer.padding)
        return found.relu_() if layer.mixed_by is None else found

    def pooled(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), dim=1)

    def added(self, x: Tensor, y: Tensor, *, rectified: bool) -> Tensor:
        total = x + y
        return total.relu_() if rectified else total

    def embedded(self, x: Tensor) -> Tensor:
        kernel, bias = self._last
        return functional.linear(x.mean(dim=(2, 3)), kernel, bias)

    def _numbers(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Put on the device when they are first asked for."""
        if layer.name not in self._layers:
            numbers = self._weights.of(layer)
            kernel = self._there(numbers.kernel).contiguous(memory_format=torch.channels_last)
            self._layers[layer.name] = kernel, self._there(numbers.bias)
        return self._layers[layer.name]

    def _there(self, numbers: NDArray[np.float32]) -> Tensor:
        return torch.as_tensor(numbers).to(self._device, self.type)


class _Recorded:
    """The launches of one batch's kernels on a GPU, recorded once and repeated: of their own, the hundred and
    fifty of them take the processor longer than a small batch takes the GPU."""

    def __init__(self, embeddings: Callable[[Tensor], Tensor], batch: int, device: torch.device) -> None:
        shape = (batch, CROP_SIDE_PX, CROP_SIDE_PX, 3)
        self._given = torch.zeros(shape, dtype=torch.uint8, device=device)
        with torch.inference_mode(), torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    embeddings(self._given)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._found = embeddings(self._given)

    def __call__(self, crops: Tensor) -> Tensor:
        count = len(crops)
        self._given[:count].copy_(crops)
        self._graph.replay()
        return self._found[:count]
