"""From crops of faces to templates, whichever engine computes them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.recognition import Engine
from workers.recognition.projection import TEMPLATE_DIMENSIONS, Projection

MAX_BATCH: Final = 32


class DeviceUnavailable(Exception):
    """The device that the settings name is not there; the message says what to do."""


@dataclass(frozen=True)
class Templates:
    """What a network says of n faces."""

    vectors: NDArray[np.float32]
    """[n, 128], L2-normalised."""
    qualities: NDArray[np.float32]
    """[n], `Quality.response_strength` of each."""

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], projection: Projection) -> "Templates":
        """Of embeddings as the network's last layer has them: [n, 512], of any length."""
        return cls(projection.templates(embeddings), projection.qualities(embeddings))


class Encoder(ABC):
    """A network that says with a vector who a face is; the cosine of two vectors is their similarity.

    Not for several threads at once."""

    engine: Engine
    """What computes it, where and how exactly."""

    def embed(self, crops: NDArray[np.uint8]) -> Templates:
        """Templates of crops, RGB [n, 160, 160, 3]; n may be 0."""
        parts = [self._embed(crops[start : start + MAX_BATCH]) for start in range(0, len(crops), MAX_BATCH)]
        return Templates(
            np.concatenate(
                [np.zeros((0, TEMPLATE_DIMENSIONS), np.float32), *(part.vectors for part in parts)]
            ),
            np.concatenate([np.zeros(0, np.float32), *(part.qualities for part in parts)]),
        )

    @abstractmethod
    def _embed(self, crops: NDArray[np.uint8]) -> Templates:
        """The same for 1 to 32 crops."""
