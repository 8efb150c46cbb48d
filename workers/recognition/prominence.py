"""Which face a photo is of."""

import math

from schemas.recognition import Box
from workers.recognition.parameters import CENTRALITY_SPREAD


def prominence(box: Box, width: int, height: int) -> float:
    """How likely a face is the one that the photo is of: its visible area, less the further it is from the
    middle.

    area x exp(-(d / s)^2), where d is the distance of the box's centre from the photo's, as a share of the
    photo's shorter side, and s is `CENTRALITY_SPREAD`. Unlike facenet-pytorch's area - 2 d^2 it does not
    depend on the photo's resolution, and a face in a corner does not lose to a speck in the middle."""
    away = math.hypot(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2) / min(width, height)
    return visible_area(box, width, height) * math.exp(-((away / CENTRALITY_SPREAD) ** 2))


def visible_area(box: Box, width: int, height: int) -> float:
    """What of the box lies inside the photo, in square pixels."""
    across = min(box.x + box.width, width) - max(box.x, 0.0)
    down = min(box.y + box.height, height) - max(box.y, 0.0)
    return max(0.0, across) * max(0.0, down)
