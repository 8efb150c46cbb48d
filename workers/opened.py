"""A job of the face stage, opened: its photos at hand, and what is to become of them."""

from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from infra.keys.company import CompanyKey
from schemas.jobs import JobKind, JobRecord
from schemas.messages import PhotoBody, Photos
from schemas.policies import CompanyPolicies
from schemas.problems import ProblemError
from schemas.recognition import Purpose
from schemas.records import Company
from workers.recognition.analysis import PhotoRequest

_PURPOSES: dict[JobKind, Purpose] = {JobKind.ENROLL: "enrolment", JobKind.DETECT: "detection"}
# What clients call the second photo.
_SECOND_FIELDS = {JobKind.ENROLL: "reference_image", JobKind.VERIFY: "other_image"}


@dataclass(frozen=True)
class Opened:
    """A job whose photos are at hand."""

    company: Company
    company_id: UUID
    key: CompanyKey
    job: JobRecord
    job_key: bytes
    body: PhotoBody
    photos: Photos
    queue_ms: float

    @property
    def policies(self) -> CompanyPolicies:
        return self.company.policies

    @property
    def requests(self) -> list[PhotoRequest]:
        """What the model is asked: one request a photo."""
        search = self.body.search
        requests = [
            PhotoRequest(
                photo=self.photos.photo,
                purpose=_PURPOSES.get(self.job.kind, "probe"),
                all_faces=search is not None and search.face == "all",
                quality=self.policies.quality,
            )
        ]
        if self.photos.second is not None:
            requests.append(PhotoRequest(self.photos.second, "probe", quality=self.policies.quality))
        return requests

    @property
    def photo_hash(self) -> str:
        return self.key.photo_hash(self.photos.photo)

    @property
    def location(self) -> dict[str, JsonValue] | None:
        """Where the photo was taken, if that was told."""
        asked = self.body.search or self.body.verify
        given = asked.location if asked else None
        return given.model_dump(exclude_none=True) if given else None

    def problem(self, place: int, code: str, detail: str) -> ProblemError:
        """What is wrong with the first photo (0) or the second (1), of several said of which."""
        problem = ProblemError(code, detail)
        if self.photos.second is None:
            return problem
        return problem.about(_SECOND_FIELDS[self.job.kind] if place else "image")

    def timings_ms(self, *photos: dict[str, float]) -> dict[str, float]:
        """How long the job waited and each stage took. Several photos are opened one after another, and
        embedded in one batch."""
        together: dict[str, float] = {"queue": self.queue_ms}
        for stage, stage_ms in (pair for timings in photos for pair in timings.items()):
            known_ms = together.get(stage, 0.0)
            together[stage] = round(max(known_ms, stage_ms) if stage == "embed" else known_ms + stage_ms, 2)
        return together
