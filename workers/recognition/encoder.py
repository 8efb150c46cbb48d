"""From crops of faces to templates."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.nn import functional

from workers.recognition.conversion import ConversionError, network
from workers.recognition.preparation import PROJECTION_TENSOR
from workers.recognition.projection import TEMPLATE_DIMENSIONS, project, usual_length
from workers.recognition.weights import REMEDY, ModelFiles, WeightsError

_MAX_BATCH: Final = 32


@dataclass(frozen=True)
class Templates:
    """What a network says of n faces."""

    vectors: NDArray[np.float32]
    """[n, 128], L2-normalised."""
    qualities: NDArray[np.float32]
    """[n], `Quality.response_strength` of each."""


class Encoder(ABC):
    """A network that says with a vector who a face is; the cosine of two vectors is their similarity."""

    def embed(self, crops: NDArray[np.float32]) -> Templates:
        """Templates of standardised crops, float32 [n, 3, 160, 160]; n may be 0."""
        parts = [self._embed(crops[start : start + _MAX_BATCH]) for start in range(0, len(crops), _MAX_BATCH)]
        return Templates(
            np.concatenate(
                [np.zeros((0, TEMPLATE_DIMENSIONS), np.float32), *(part.vectors for part in parts)]
            ),
            np.concatenate([np.zeros(0, np.float32), *(part.qualities for part in parts)]),
        )

    @abstractmethod
    def _embed(self, crops: NDArray[np.float32]) -> Templates:
        """The same for 1 to 32 crops."""


class TorchEncoder(Encoder):
    """InceptionResnetV1 and its projection in PyTorch, in float32."""

    def __init__(self, files: ModelFiles, device: torch.device) -> None:
        """Load prepared weights. Raises `WeightsError` when they are not whole."""
        try:
            tensors = safetensors.torch.load(files.read_tensors())
            self._projection = tensors.pop(PROJECTION_TENSOR).to(device)
            self._network = network(tensors, normalised=False).to(device)
            self._usual_length = usual_length(tensors)
        except (SafetensorError, KeyError, ConversionError) as error:
            raise WeightsError(
                f"The weights of {files.stamp.id} are not those of the network. {REMEDY}"
            ) from error
        self._device = device

    @torch.inference_mode()
    def _embed(self, crops: NDArray[np.float32]) -> Templates:
        raw: torch.Tensor = self._network(torch.as_tensor(crops).to(self._device))
        lengths = np.linalg.norm(raw.cpu().numpy(), axis=1)
        vectors = project(functional.normalize(raw, dim=1), self._projection)
        return Templates(vectors.cpu().numpy(), (lengths / self._usual_length).astype(np.float32))
