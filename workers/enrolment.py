"""What an enrolment answers: the person and the face as they now are, or why it was refused."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from infra.repositories.users import within_reach
from infra.services import Services
from schemas.api.people import ConsentAnswer
from schemas.jobs import JobRecord, JobState, LogDetails, Outcome
from schemas.messages import EnrolmentFields, TemplateBody
from schemas.policies import CompanyPolicies
from schemas.problems import ProblemError
from schemas.recognition import Engine
from schemas.records import FaceRecord, User, UserState
from schemas.results import EnrolResult
from workers.duplicates import Verdict

_CREATED, _OK = 201, 200


def bar(
    policies: CompanyPolicies, user: User | None, fields: EnrolmentFields, at: datetime
) -> Verdict | None:
    """What keeps an enrolment from being made, whatever the face: the user is none whom its sender has to do
    with, has not agreed where the company asks for it, or is past their validity, so that no search would
    find what a 201 promises."""
    known = user if user is not None and user.state is UserState.ACTIVE else None
    if not within_reach(user, fields):
        return Verdict(problem=ProblemError("not_found"))
    agreed = fields.consent is not None or (known is not None and known.consent is not None)
    if policies.consent_required and not agreed:
        return Verdict(problem=ProblemError("consent_required"))
    valid_until = fields.valid_until or (known.valid_until if known is not None else None)
    if valid_until is not None and valid_until <= at:
        return Verdict(problem=ProblemError("user_not_valid"))
    return None


async def enrolled(
    services: Services,
    company_id: UUID,
    job: JobRecord,
    body: TemplateBody,
    user: User,
    record: FaceRecord,
    verdict: Verdict,
    engine: Engine | None,
) -> Ending:
    """The face is in the gallery: 201, or 200 when this very photo was there before."""
    person = await services.users.open(company_id, user)
    again = verdict.same_photo is not None
    other = (verdict.other.user_hash,) if verdict.other else ()
    event_data: dict[str, JsonValue] = {
        "face_id": record.id,
        "user_hash": user.id,
        "already_enrolled": again,
    }
    if verdict.other is not None:
        # Let in by policy although it resembles another user's: whoever answers for that hears of it.
        event_data["duplicate"] = "flagged" if verdict.flagged else "allowed"
        event_data["duplicate_of"] = verdict.other.user_hash
    result = EnrolResult(
        job_id=UUID(job.id),
        face_id=UUID(record.id),
        user_id=person.user_id,
        full_name=person.full_name,
        tags=list(person.tags),
        groups=list(person.groups),
        reference_id=person.reference_id,
        metadata=person.metadata,
        valid_until=person.valid_until,
        consent=ConsentAnswer(**person.consent.model_dump()) if person.consent else None,
        already_enrolled=again,
        flagged_duplicate=verdict.flagged,
        face=body.face,
        quality=body.face.quality,
        reference=body.reference,
        model=record.model,
        engine=engine,
        timings_ms=body.timings_ms,
    )
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=_OK if again else _CREATED,
        answer=result,
        event_type="face.enrolled",
        event_data=event_data,
        further_events=_consent_events(user, body.enrolment),
        log=LogEntry(
            outcome=Outcome.ENROLLED,
            user_hashes=(user.id,),
            photo_hash=body.photo_hash,
            details=LogDetails(
                id=job.id,
                user_id=person.user_id,
                nearest_user_id=await _user_id(services, company_id, verdict),
            ),
            similarity=verdict.other.similarity if verdict.other else None,
            score=verdict.other.similarity if verdict.other else None,
        ),
        mentions=(user.id, *other),
    )


def _consent_events(user: User, fields: EnrolmentFields) -> Mapping[str, dict[str, JsonValue]]:
    """Consent that was given with an enrolment is an event of its own, as it is when a user is changed."""
    return {} if fields.consent is None else {"user.consent_recorded": {"user_hash": user.id}}


async def not_enrolled(
    services: Services, company_id: UUID, job: JobRecord, body: TemplateBody, verdict: Verdict
) -> Ending:
    """The face is not enrolled: the code says why, and who was taken for it where somebody was."""
    if verdict.problem is None:
        raise ValueError("a refusal needs its problem")
    other_id = await _user_id(services, company_id, verdict)
    problem = ProblemError(verdict.problem.code, job_id=job.id, user_id=other_id)
    subject = (job.subject_user_hash,) if job.subject_user_hash else ()
    other = (verdict.other.user_hash,) if verdict.other else ()
    return Ending(
        state=JobState.FAILED,
        http_status=problem.type.status,
        answer=problem.problem(job.correlation_id),
        event_type="face.enroll_failed",
        event_data={"code": problem.code},
        code=problem.code,
        log=LogEntry(
            outcome=Outcome.REFUSED,
            photo_hash=body.photo_hash,
            details=LogDetails(id=job.id, nearest_user_id=other_id),
            similarity=verdict.other.similarity if verdict.other else None,
            score=verdict.other.similarity if verdict.other else None,
        ),
        mentions=(*subject, *other),
    )


async def _user_id(services: Services, company_id: UUID, verdict: Verdict) -> str | None:
    if verdict.other is None:
        return None
    user = await services.users.get(company_id, verdict.other.user_hash)
    return (await services.users.open(company_id, user)).user_id if user else None
