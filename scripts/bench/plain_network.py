"""facenet-pytorch's network with our weights: what everybody embeds with, and so the reference."""

from collections.abc import Mapping

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray
from torch import nn


def plain_network(tensors: Mapping[str, NDArray[np.generic]], *, normalised: bool = True) -> nn.Module:
    """In evaluation mode, strictly loaded.

    Takes float32 [n, 3, 160, 160], gives float32 [n, 512], L2-normalised or as the last layer has them."""
    module = InceptionResnetV1(pretrained=None, classify=False).eval()
    module.load_state_dict({name: torch.as_tensor(tensor) for name, tensor in tensors.items()}, strict=True)
    if not normalised:
        # What it would hand to a classifier is the embedding as it is: this one hands it on.
        module.classify = True
        module.add_module("logits", nn.Identity())
    return module
