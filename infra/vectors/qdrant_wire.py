"""How points, questions and hits travel to a Qdrant server and back."""

from typing import Any, Final
from uuid import UUID

import numpy as np
from qdrant_client import models

from infra.vectors.port import Hit, Point
from infra.vectors.templates import as_cosine, checked

# How many quantised candidates are scored exactly: three for each one asked for, and no fewer than 64, as a
# quantised cosine is off by up to 0.004, within which faces of one person may lie. Unless it is asked for,
# the server scores none: a cosine of 1 then comes back as 1.0156.
_OVERSAMPLING: Final = 3.0
_MIN_CANDIDATES: Final = 64
# With a graph a search visits so many points: more than the library's 128 find what scanning would.
_GRAPH_EF: Final = 512


def of_company(company_id: UUID, *conditions: models.Condition) -> models.Filter:
    company = models.FieldCondition(key="company", match=models.MatchValue(value=str(company_id)))
    return models.Filter(must=[company, *conditions])


def in_groups(groups: frozenset[str] | None) -> list[models.Condition]:
    if groups is None:
        return []
    return [models.FieldCondition(key="groups", match=models.MatchAny(any=sorted(groups)))]


def to_request(
    vector: list[float], chosen: models.Filter, limit: int, *, exact: bool, graph: bool
) -> models.QueryRequest:
    """The question for the `limit` points nearest to a vector."""
    return models.QueryRequest(
        query=vector,
        limit=limit,
        filter=chosen,
        with_payload=["user", "change"],
        params=models.SearchParams(
            exact=exact,
            hnsw_ef=_GRAPH_EF if graph else None,
            quantization=models.QuantizationSearchParams(
                rescore=True, oversampling=max(_OVERSAMPLING, _MIN_CANDIDATES / limit)
            ),
        ),
    )


def to_server(company_id: UUID, point: Point, dimensions: int) -> models.PointStruct:
    return models.PointStruct(
        id=str(point.face_id),
        vector=checked(point.vector, dimensions).tolist(),
        payload={
            "company": str(company_id),
            "user": point.user_hash,
            "groups": list(point.groups),
            "change": point.change,
        },
    )


def payload_of(record: models.Record | models.ScoredPoint) -> dict[str, Any]:
    return record.payload or {}


def to_point(record: models.Record) -> Point:
    payload = payload_of(record)
    return Point(
        face_id=UUID(str(record.id)),
        vector=np.asarray(record.vector, dtype=np.float32),
        user_hash=payload["user"],
        groups=tuple(payload["groups"]),
        change=payload["change"],
    )


def to_hit(hit: models.ScoredPoint) -> Hit:
    payload = payload_of(hit)
    return Hit(UUID(str(hit.id)), payload["user"], as_cosine(hit.score), payload["change"])
