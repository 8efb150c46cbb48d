"""From crops of faces to templates."""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from workers.recognition.conversion import ConversionError, network
from workers.recognition.preparation import PROJECTION_TENSOR
from workers.recognition.projection import TEMPLATE_DIMENSIONS, project
from workers.recognition.weights import REMEDY, ModelFiles, WeightsError

_MAX_BATCH: Final = 32


class Encoder(ABC):
    """A network that says with a vector who a face is; the cosine of two vectors is their similarity."""

    def embed(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Templates, float32 [n, 128], L2-normalised, of standardised crops, float32 [n, 3, 160, 160]; n may
        be 0."""
        parts = [self._embed(crops[start : start + _MAX_BATCH]) for start in range(0, len(crops), _MAX_BATCH)]
        return np.concatenate([np.zeros((0, TEMPLATE_DIMENSIONS), np.float32), *parts])

    @abstractmethod
    def _embed(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for 1 to 32 crops."""


class TorchEncoder(Encoder):
    """InceptionResnetV1 and its projection in PyTorch, in float32."""

    def __init__(self, files: ModelFiles, device: torch.device) -> None:
        """Load prepared weights. Raises `WeightsError` when they are not whole."""
        try:
            tensors = safetensors.torch.load(files.read_tensors())
            self._projection = tensors.pop(PROJECTION_TENSOR).to(device)
            self._network = network(tensors).to(device)
        except (SafetensorError, KeyError, ConversionError) as error:
            raise WeightsError(
                f"The weights of {files.stamp.id} are not those of the network. {REMEDY}"
            ) from error
        self._device = device

    @torch.inference_mode()
    def _embed(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        embeddings = self._network(torch.as_tensor(crops).to(self._device))
        return project(embeddings, self._projection).cpu().numpy()
