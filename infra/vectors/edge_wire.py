"""How points and hits travel between the host and the index process: as lists that msgpack packs small."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar
from uuid import UUID

import numpy as np

from infra.vectors.port import Hit, Point, Template

T = TypeVar("T")

_NORM_TOLERANCE = 1e-3

SLICE = 500
"""Points in one call, so that a search behind it waits for some 10 ms at most."""


def slices(items: Collection[T]) -> Iterator[list[T]]:
    """What is to be done in calls of at most SLICE each."""
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        yield part


class Record(NamedTuple):
    """A point with its company: the id as 16 bytes, the vector as float32 in the machine's byte order."""

    face_id: bytes
    vector: bytes
    company: str
    user: str
    groups: list[str]
    change: int


def to_vector(template: Template, dimensions: int) -> bytes:
    """Raises ValueError for what is not one L2-normalised template: the engine would take it as it is."""
    vector = np.ascontiguousarray(template, dtype=np.float32)
    if vector.shape != (dimensions,):
        raise ValueError(f"a template of shape {vector.shape} in an index of {dimensions} dimensions")
    if not abs(float(np.linalg.norm(vector)) - 1.0) < _NORM_TOLERANCE:  # NaN is not below anything
        raise ValueError("a template that is not L2-normalised")
    return vector.tobytes()


def to_record(company_id: UUID, point: Point, dimensions: int) -> Record:
    return Record(
        point.face_id.bytes,
        to_vector(point.vector, dimensions),
        str(company_id),
        point.user_hash,
        list(point.groups),
        point.change,
    )


def to_point(record: Record) -> Point:
    return Point(
        face_id=UUID(bytes=record.face_id),
        vector=np.frombuffer(record.vector, dtype=np.float32),
        user_hash=record.user,
        groups=tuple(record.groups),
        change=record.change,
    )


def to_hit(hit: tuple[bytes, float, str, int]) -> Hit:
    """From face id, cosine, user and change."""
    face_id, similarity, user, change = hit
    # Rounding may take the cosine of equal vectors a little beyond 1.
    return Hit(UUID(bytes=face_id), user, min(1.0, max(-1.0, similarity)), change)
