"""Larger galleries on paper, from what was measured: stated as a reckoning, never as a measurement."""

import math
from dataclasses import dataclass

_SEARCH_TARGET_MS = 40.0
_BUILDING_GRAPH_BYTES_A_FACE = 3_100
"""What a Qdrant server took with a million faces while it built a graph a company."""


@dataclass(frozen=True)
class Reckoned:
    """One company of so many faces, by scanning all of them."""

    faces: int
    scan_p50_ms: float
    """On one machine like this one."""
    shards: int
    """Machines like this one, each scanning its share at once, for 40 ms."""
    memory_gb: float
    memory_building_graph_gb: float
    disk_gb: float


def reckon(
    faces: int, *, measured_faces: int, p50_ms: float, memory_bytes_a_face: float, disk_bytes_a_face: float
) -> Reckoned:
    """A scan's time and everything's size grow with the faces."""
    scan_ms = p50_ms * faces / measured_faces
    return Reckoned(
        faces=faces,
        scan_p50_ms=round(scan_ms, 1),
        shards=max(1, math.ceil(scan_ms / _SEARCH_TARGET_MS)),
        memory_gb=round(faces * memory_bytes_a_face / 1e9, 1),
        memory_building_graph_gb=round(faces * _BUILDING_GRAPH_BYTES_A_FACE / 1e9, 1),
        disk_gb=round(faces * disk_bytes_a_face / 1e9, 1),
    )
