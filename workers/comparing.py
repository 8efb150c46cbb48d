"""Figures of a comparison, as answers give them."""

import math
from decimal import ROUND_CEILING, Context
from typing import Final, TypedDict

from schemas.calibration import Calibration
from schemas.policies import CompanyPolicies
from schemas.scoring import OperatingPoint, Verdict, decide

_HUNDREDTHS = 100
_THREE_DIGITS: Final = Context(prec=3, rounding=ROUND_CEILING)


class Figures(TypedDict):
    """What `schemas.results.Comparison` says."""

    similarity: float
    score: float
    confidence: float
    fmr: float
    extrapolated: bool


def figures(similarity: float, verdict: Verdict) -> Figures:
    """The figures of a verdict, rounded so that none says more than is so."""
    return Figures(
        similarity=round(similarity, 4),
        score=round(verdict.score, 4),
        confidence=floored(verdict.confidence_percent),
        fmr=ceiled(verdict.fmr.value),
        extrapolated=verdict.fmr.extrapolated or verdict.fpir.extrapolated,
    )


def floored(percent: float) -> float:
    """Two decimals, never rounded up: nobody is told 100 % who is not certain, nor 85 % below it."""
    return math.floor(percent * _HUNDREDTHS) / _HUNDREDTHS


def ceiled(rate: float) -> float:
    """Three significant digits, never rounded down: a rate is a bound. What lies beyond them says only which
    index has reckoned the cosine."""
    return float(_THREE_DIGITS.create_decimal(repr(rate)))


def compared(
    calibration: Calibration,
    policies: CompanyPolicies,
    similarity: float,
    *,
    comparisons: int = 1,
    requested_percent: float | None = None,
    may_loosen: bool = False,
) -> tuple[Verdict, OperatingPoint]:
    """Whether a face is somebody's, by the most similar of their `comparisons` faces: each is a chance of a
    false match, so they are reckoned as a search among so many."""
    point = policies.match.operating_point(calibration, comparisons, requested_percent, may_loosen=may_loosen)
    (verdict,) = decide(calibration, [similarity], comparisons, point)
    return verdict, point
