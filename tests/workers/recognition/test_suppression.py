"""Choosing among boxes that cover each other: the same as torchvision's, in groups."""

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from workers.recognition.suppression import Overlap, best_of_overlapping


@pytest.mark.parametrize("count", [0, 1, 30, 255, 256, 257, 1500])
@pytest.mark.parametrize("most", [0.3, 0.5, 0.7])
def test_the_choice_is_torchvisions(count: int, most: float) -> None:
    generator = np.random.default_rng(count)
    corners = generator.integers(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + generator.integers(5, 30, (count, 2))], 1).astype(np.float32)
    scores = (generator.integers(0, 50, count) / 50).astype(np.float32)  # with ties
    groups = generator.integers(0, 3, count)
    kept = best_of_overlapping(boxes, scores, groups, Overlap(most))
    theirs = [
        which[nms(torch.tensor(boxes[which]), torch.tensor(scores[which]), most).numpy()]
        for which in (np.flatnonzero(groups == group) for group in range(3))
    ]
    assert np.array_equal(kept, np.concatenate(theirs))


def test_a_box_within_a_box_is_one_when_the_smaller_counts() -> None:
    boxes = np.array([[0, 0, 99, 99], [10, 10, 39, 39], [80, 80, 140, 140]], np.float32)
    scores, groups = np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64)
    assert list(best_of_overlapping(boxes, scores, groups, Overlap(0.7))) == [0, 1, 2]
    assert list(best_of_overlapping(boxes, scores, groups, Overlap(0.7, of_smaller=True, edge_px=1))) == [
        0,
        2,
    ]
