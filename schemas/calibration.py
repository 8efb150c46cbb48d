"""What a score means: rates, likelihood ratios and confidence.

A score says nothing by itself. A `Calibration`, measured once for a model, turns it into the false match rate
of one comparison (FMR), the false positive identification rate of a search (FPIR, ISO/IEC 19795-1) and a
likelihood ratio (LR); confidence is the posterior that follows from the LR when half of all probes are
strangers."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.score_tables import Rate, ScoreTable


class Calibration(BaseModel):
    """What scores mean for one model: aggregate numbers only, made by `faceid calibrate`.

    `minus_ln_fmr` holds the natural logarithm of the share of pairs of different people that score at least
    so much (negated, so that it rises); beyond its end FMR is taken to fall
    on exponentially, by `tail_slope` a unit of score. `ln_lr`
    holds the logarithm of the likelihood ratio and never falls; above its end it stays what it is there,
    which is the least that the data support. `fnmr_table` holds the share of pairs of one person that
    score below; each person weighs the same, however many photos there are of them (one person of LFW has two
    thirds of all its genuine pairs)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    tensors_sha256: str
    pipeline: str
    """The crop and its conditions (`workers.recognition.parameters.PIPELINE`) with which the scores were
    made."""
    source: str
    people: int
    photos: int
    refused: int
    """Photos in which no face was found, or none good enough."""
    impostor_pairs: int
    genuine_pairs: int
    minus_ln_fmr: ScoreTable
    tail_slope: float = Field(gt=0)
    ln_lr: ScoreTable
    fnmr_table: ScoreTable

    @model_validator(mode="after")
    def _is_monotone(self) -> Self:
        for table in (self.minus_ln_fmr, self.ln_lr, self.fnmr_table):
            if any(high < low for low, high in pairwise(table.values)):
                raise ValueError("the tables must never fall")
        if self.minus_ln_fmr.values[0] != 0:
            raise ValueError("the false match rate must begin at 1")
        if self.fnmr_table.values[0] < 0 or self.fnmr_table.values[-1] != 1:
            raise ValueError("the share of genuine pairs must end at 1")
        return self

    def fmr(self, score: float) -> Rate:
        """The share of comparisons of different people that score at least so much."""
        beyond = score - self.minus_ln_fmr.end
        minus_ln = self.minus_ln_fmr.at(score) + self.tail_slope * max(0.0, beyond)
        return Rate(math.exp(-minus_ln), extrapolated=beyond > 0)

    def fpir(self, score: float, gallery_users: int) -> Rate:
        """The share of strangers for whom at least one of `gallery_users` scores so much: 1 - (1 - FMR)^N.

        Comparisons are taken as independent, which overstates the rate. With several faces a user it is that
        of as many comparisons as the caller counts."""
        one = self.fmr(score)
        if gallery_users <= 0:
            return Rate(0.0, one.extrapolated)
        if one.value >= 1:
            return Rate(1.0, one.extrapolated)
        return Rate(-math.expm1(gallery_users * math.log1p(-one.value)), one.extrapolated)

    def fnmr(self, score: float) -> Rate:
        """The share of comparisons of one person's photos that score below: what a threshold at this score
        misses.

        The expected miss rate of a user with one photo enrolled. With several, a probe is missed only when it
        scores below with all of them, so it is less. Conditions like those of the photos that it was measured
        on are taken for granted."""
        return Rate(self.fnmr_table.at(score), extrapolated=score < self.fnmr_table.start)

    def likelihood_ratio(self, score: float) -> float:
        """How many times more often a score is met with photos of one person than of two."""
        return math.exp(self.ln_lr.at(score))

    def score_at_fmr(self, rate: float) -> float:
        """The lowest score whose FMR is at most `rate` (0 < rate <= 1); above 1 when no score is good
        enough."""
        if not 0 < rate <= 1:
            raise ValueError("a false match rate lies above 0 and is at most 1")
        wanted = -math.log(rate)
        found = self.minus_ln_fmr.first_at_least(wanted)
        if found is not None:
            return found
        return self.minus_ln_fmr.end + (wanted - self.minus_ln_fmr.values[-1]) / self.tail_slope

    def score_at_fpir(self, rate: float, gallery_users: int) -> float:
        """The lowest score whose FPIR for so many users is at most `rate` (0 < rate < 1)."""
        if not 0 < rate < 1:
            raise ValueError("a false positive identification rate lies between 0 and 1")
        return self.score_at_fmr(-math.expm1(math.log1p(-rate) / max(1, gallery_users)))

    def score_at_confidence(self, percent: float, gallery_users: int) -> float | None:
        """The lowest score at which a lone candidate among so many users has this confidence; None if none is
        enough."""
        if not 0 < percent <= 100:
            raise ValueError("confidence lies above 0 and is at most 100 percent")
        if percent == 100:
            return None
        odds = math.log(percent) - math.log(100 - percent)
        return self.ln_lr.first_at_least(odds + math.log(max(1, gallery_users)))

    def confidence_identification(self, scores: Sequence[float], gallery_users: int) -> list[float]:
        """Confidence in percent for each user found, from the best score of each: 100 LR_i / (N + sum of
        LR_j).

        The posterior that the probe is this user, when half of all probes are of somebody among the N users
        searched, each equally often, and half of strangers. The sum is over the users found; the others' LR
        is next to nothing."""
        logs = [self.ln_lr.at(score) for score in scores]
        ln_users = math.log(max(1, gallery_users, len(logs)))
        top = max([ln_users, *logs])
        total = math.exp(ln_users - top) + math.fsum(math.exp(ln - top) for ln in logs)
        return [100 * math.exp(ln - top) / total for ln in logs]

    def confidence_verification(self, score: float) -> float:
        """Confidence in percent in a 1:1 comparison, 100 LR / (1 + LR)."""
        return self.confidence_identification([score], 1)[0]
