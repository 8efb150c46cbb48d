"""What a company decides for itself: thresholds, quality, what is kept and for how long."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import Name
from schemas.recognition import QualityPolicy
from schemas.scoring import DuplicatePolicy, MatchPolicy, SameUserPolicy


class RetentionPolicy(BaseModel):
    """How long things are kept, in days: what ends from a change on. Photos are not kept unless `keep_photos`
    is set; when it is taken back none is shown any more, and those that were kept are deleted within minutes.

    The result of an attempt at recognition goes with its access-log entry, if that goes first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    access_log_days: int = Field(default=90, ge=1, le=3650)
    """How long an attempt at recognition stays in the access log."""
    job_result_days: int = Field(default=7, ge=1, le=90)
    """How long a job's result or problem can be read."""
    keep_photos: bool = False
    """Whether the photos that faces are enrolled with are kept, sealed; those from before stay as they
    are."""


class CompanyPolicies(BaseModel):
    """All policies of a company, with the defaults of a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    match: MatchPolicy = MatchPolicy()
    """When a probe is said to be somebody."""
    duplicate: DuplicatePolicy = DuplicatePolicy()
    """What becomes of a new face that is enrolled already, as somebody else."""
    same_user: SameUserPolicy = SameUserPolicy()
    """How much a user's new face must resemble the others."""
    quality: QualityPolicy = QualityPolicy()
    """What a face must be like to be used."""
    retention: RetentionPolicy = RetentionPolicy()
    """What is kept, and for how long."""
    max_faces_per_user: int = Field(default=20, ge=1, le=100)
    """More are refused with `too_many_faces_for_user`."""
    consent_required: bool = False
    """Whether nobody is enrolled without a record of their consent, and nobody is matched who has none (any
    more)."""


class CompanySettings(BaseModel):
    """What a company's admins may change of it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"company_name": "Example Ltd", "policies": {"retention": {"keep_photos": True}}}]
        },
    )

    company_name: Name
    policies: CompanyPolicies = CompanyPolicies()
    """Merged member by member: only what is named changes."""
