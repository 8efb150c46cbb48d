"""The company as its admins see it."""

from uuid import UUID

from schemas.api.base import Answer, Request, examples
from schemas.fields import Instant
from schemas.policies import CompanyPolicies
from schemas.recognition import ModelStamp
from schemas.scoring import ThresholdSource


class CloseQuery(Request):
    """That it is really meant."""

    model_config = examples({"confirm": "0198c0de-0000-7000-8000-000000000001"})

    confirm: UUID
    """The company's own id."""


class OperatingPointAnswer(Answer):
    """What the policies come to for the people who are enrolled now."""

    faces: int
    """How many faces a search compares with: rates are reckoned over them."""
    users: int
    """How many people they are of."""
    threshold: float
    """Percent of confidence that a candidate must reach."""
    score: float | None
    """The lowest score that matches; null when none does."""
    threshold_source: ThresholdSource
    """What decides: the confidence asked for, or the bound on FPIR."""
    fpir: float
    """The share of strangers who are taken for somebody at that score."""
    extrapolated: bool
    """Whether `fpir` lies beyond the data it was measured on, so that the tail of a distribution was taken
    to go on."""
    expected_miss_rate: float | None
    """The share of photos of a person with one face enrolled that score less; more faces miss less. Null
    where it was not measured."""
    duplicate_score: float
    """The score from which on a new face is somebody else's who is enrolled."""
    same_user_score: float
    """The score that a user's new face must reach with the user's most similar other face."""


class CompanyAnswer(Answer):
    """The company, its policies and what they come to."""

    company_id: UUID
    company_name: str
    created_at: Instant
    paused_at: Instant | None
    """Since when the operator lets the company hand in no photos; null while it may."""
    model: ModelStamp
    """Which model makes templates."""
    policies: CompanyPolicies
    users: int
    """How many people have a face enrolled."""
    faces: int
    """How many faces are enrolled."""
    operating_point: OperatingPointAnswer
