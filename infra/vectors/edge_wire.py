"""How points and hits travel between the host and the index process: as lists that msgpack packs small."""

from typing import NamedTuple
from uuid import UUID

import numpy as np

from infra.vectors.port import Hit, Point, Template
from infra.vectors.templates import as_cosine, checked


class Record(NamedTuple):
    """A point with its company: the id as 16 bytes, the vector as float32 in the machine's byte order."""

    face_id: bytes
    vector: bytes
    company: str
    user: str
    groups: list[str]
    change: int


def to_vector(template: Template, dimensions: int) -> bytes:
    """Raises ValueError for what is not one L2-normalised template."""
    return checked(template, dimensions).tobytes()


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
    return Hit(UUID(bytes=face_id), user, as_cosine(similarity), change)
