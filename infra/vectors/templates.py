"""What both adapters do with templates and long calls."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np

from infra.vectors.port import Template

T = TypeVar("T")

_NORM_TOLERANCE = 1e-3

SLICE = 500
"""Points in one call, so that a search behind it waits for some 10 ms at most."""


def slices(items: Collection[T]) -> Iterator[list[T]]:
    """What is to be done in calls of at most SLICE each."""
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        yield part


def checked(template: Template, dimensions: int) -> Template:
    """Raises ValueError for what is not one L2-normalised template: the engine would take it as it is."""
    vector = np.ascontiguousarray(template, dtype=np.float32)
    if vector.shape != (dimensions,):
        raise ValueError(f"a template of shape {vector.shape} in an index of {dimensions} dimensions")
    if not abs(float(np.linalg.norm(vector)) - 1.0) < _NORM_TOLERANCE:  # NaN is not below anything
        raise ValueError("a template that is not L2-normalised")
    return vector


def as_cosine(score: float) -> float:
    """Rounding may take the cosine of equal vectors a little beyond 1."""
    return min(1.0, max(-1.0, score))
