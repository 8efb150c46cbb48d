"""The decision on a score: thresholds, the policies that set them, and the verdict on everybody found."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.calibration import Calibration
from schemas.problems import ProblemError
from schemas.score_tables import Rate

ThresholdSource = Literal["company", "request", "max_fpir"]
"""What decided how similar is similar enough: the company's threshold, the request's, or the bound on
FPIR."""


_PERCENTAGE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})\s*(%?)")


def parse_threshold(value: object) -> float:
    """A threshold as a client may write it, in percent: 85, "85", "85%", 0.85 and "0.85" are all 85.0.

    Raises `ProblemError("invalid_threshold")` for words, negatives, zero, more than 100, and 1 without a
    percent sign, which could be a hundredth or the whole."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    parts = _PERCENTAGE.fullmatch(text)
    if parts is None:
        raise ProblemError("invalid_threshold")
    number = float(parts[1])
    if not parts[2] and number < 1:
        number *= 100
    elif not parts[2] and number == 1:
        raise ProblemError("invalid_threshold")
    if not 0 < number <= 100:
        raise ProblemError("invalid_threshold")
    return number


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The bar that a candidate must reach: both the confidence and the score."""

    percent: float
    """The confidence that was asked for."""
    score: float | None
    """The lowest score that can pass: where a lone candidate has that confidence, or higher where the bound
    on FPIR says so. None when no score can."""
    source: ThresholdSource


class _Policy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MatchPolicy(_Policy):
    """When a probe is said to be somebody: confidence and FPIR, the stricter of the two."""

    threshold_percent: float = Field(default=85, gt=1, le=100)
    """The confidence that a candidate must reach, in percent. Above 1, so that nobody writes 0.85 and means
    85 %."""
    max_fpir: float = Field(default=0.003, gt=0, lt=1)
    """The share of strangers who may be let in at most; with many people enrolled it is the stricter."""

    def operating_point(
        self,
        calibration: Calibration,
        gallery_users: int,
        requested_percent: float | None = None,
        *,
        may_loosen: bool = False,
        probes: int = 1,
    ) -> OperatingPoint:
        """The bar for a search among so many users (1 for a 1:1 comparison). With several `probes` (the faces
        of one photo) the bound on FPIR is one for all of them together: each is a chance of a false match.

        A request may be stricter than the company; a looser one counts only with `may_loosen`, and then the
        bound on FPIR gives way too, since who investigates wants to see what would not open a door."""
        loose = requested_percent is not None and requested_percent < self.threshold_percent
        percent = self.threshold_percent
        source: ThresholdSource = "company"
        if requested_percent is not None and requested_percent != percent and (may_loosen or not loose):
            percent, source = requested_percent, "request"
        score = calibration.score_at_confidence(percent, gallery_users)
        if score is None or (loose and may_loosen):
            return OperatingPoint(percent, score, source)
        bound = calibration.score_at_fpir(self.max_fpir, gallery_users * probes)
        if bound <= score:
            return OperatingPoint(percent, score, source)
        # The score keeps the bound. To ask for a lone candidate's confidence at it, too, would refuse whoever
        # is found beside anybody at all: high up the likelihood ratio hardly rises with the score.
        return OperatingPoint(percent, bound, "max_fpir")


class DuplicatePolicy(_Policy):
    """When a face that is being enrolled is said to be enrolled already, as somebody else."""

    max_false_duplicate_rate: float = Field(default=0.01, gt=0, lt=1)
    """The share of new people who may wrongly be taken for somebody who is enrolled."""
    on_duplicate: Literal["reject", "flag", "allow"] = "reject"
    """Refuse the enrolment (`duplicate_face`), accept it with `flagged_duplicate`, or accept it without a
    word."""

    def score_threshold(self, calibration: Calibration, gallery_users: int) -> float:
        """The score from which on a face of one of so many other users is the same person's."""
        return calibration.score_at_fpir(self.max_false_duplicate_rate, gallery_users)


class SameUserPolicy(_Policy):
    """When a user's new photo is refused for looking like somebody else: lenient, since people change."""

    max_fmr: float = Field(default=0.05, gt=0, le=1)
    """The share of strangers whose faces would pass for the user's; anything less alike is refused
    (`face_mismatch`)."""

    def score_threshold(self, calibration: Calibration) -> float:
        """The score that the user's best other face must reach."""
        return calibration.score_at_fmr(self.max_fmr)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search says of one user found."""

    score: float
    confidence_percent: float
    fmr: Rate
    fpir: Rate
    accepted: bool


def decide(
    calibration: Calibration,
    scores: Sequence[float],
    gallery_users: int,
    point: OperatingPoint,
    probes: int = 1,
) -> tuple[Verdict, ...]:
    """A verdict on each user found, in the order given; `scores` holds the best score of each.

    Two users who are equally likely share the confidence, so neither reaches a threshold above 50: a tie is
    no match."""
    confidences = calibration.confidence_identification(scores, gallery_users)
    return tuple(
        Verdict(
            score=score,
            confidence_percent=confidence,
            fmr=calibration.fmr(score),
            fpir=calibration.fpir(score, gallery_users * probes),
            accepted=point.score is not None and score >= point.score and confidence >= point.percent,
        )
        for score, confidence in zip(scores, confidences, strict=True)
    )
