"""What the benchmarks make of their measurements."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Milliseconds of many calls; p99 of fewer than 100 calls is their worst."""

    calls: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> "Latency":
        p50, p99 = np.quantile(values_ms, (0.5, 0.99), method="higher")
        return cls(len(values_ms), round(float(p50), 2), round(float(p99), 2), round(max(values_ms), 2))


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, 1927)."""
    z = 1.959964
    share = hits / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (middle - half) / scale, (middle + half) / scale
