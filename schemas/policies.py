"""What a company decides for itself: thresholds, quality, what is kept and for how long."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import Name
from schemas.recognition import QualityPolicy
from schemas.scoring import DuplicatePolicy, MatchPolicy, SameUserPolicy


class RetentionPolicy(BaseModel):
    """How long things are kept, in days. Photos are not kept unless `keep_photos` is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_log_days: int = Field(default=90, ge=1, le=3650)
    job_result_days: int = Field(default=7, ge=1, le=90)
    keep_photos: bool = False


class CompanyPolicies(BaseModel):
    """All policies of a company, with the defaults of a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: MatchPolicy = MatchPolicy()
    duplicate: DuplicatePolicy = DuplicatePolicy()
    same_user: SameUserPolicy = SameUserPolicy()
    quality: QualityPolicy = QualityPolicy()
    retention: RetentionPolicy = RetentionPolicy()
    max_faces_per_user: int = Field(default=20, ge=1, le=100)
    consent_required: bool = False
    """Whether nobody is enrolled without a record of their consent, and nobody is matched who has none (any
    more)."""


class CompanySettings(BaseModel):
    """What a company's admins may change of it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"company_name": "Example Ltd", "policies": {"retention": {"keep_photos": True}}}]
        },
    )

    company_name: Name
    policies: CompanyPolicies = CompanyPolicies()
