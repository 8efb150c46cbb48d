"""Entries of the access log made straight in the repository."""

from datetime import datetime
from typing import Any
from uuid import UUID

from infra.clock import system_entropy
from infra.repositories.access_log import LogEntry
from infra.repositories.jobs import Ending
from schemas.ids import new_id
from schemas.jobs import JobKind, JobRecord, JobState, LogDetails, Outcome
from schemas.policies import RetentionPolicy
from schemas.results import DeletionResult
from tests.ingress.conftest import Client


async def attempt(
    client: Client,
    *,
    at: datetime,
    user_id: str | None = None,
    other_user_ids: tuple[str, ...] = (),
    nearest_user_id: str | None = None,
    device_id: str | None = None,
    outcome: Outcome | str = Outcome.MATCHED,
    by: str = "member:x",
    correlation_id: str = "x",
    location: dict[str, Any] | None = None,
) -> JobRecord:
    """Keep an entry like this."""
    services, company_id = client.services, client.company_id
    job = JobRecord(
        id=str(new_id(at, system_entropy)),
        kind=JobKind.SEARCH,
        state=JobState.FAILED,
        created_at=at,
        deadline_at=None,
        submitted_by=by,
        correlation_id=correlation_id,
        wrapped_key=None,
    )
    users = [user_id, *other_user_ids] if user_id else []
    hashes = tuple([await services.users.hash_of(company_id, user) for user in users])
    entry = LogEntry(
        outcome=Outcome(outcome),
        details=LogDetails(
            id=job.id,
            user_id=user_id,
            other_user_ids=other_user_ids,
            nearest_user_id=nearest_user_id,
            location={**(location or {}), **({"device_id": device_id} if device_id else {})} or None,
        ),
        user_hashes=hashes,
        score=0.5,
        similarity=-0.25,
    )
    ending = Ending(
        state=JobState.FAILED,
        http_status=200,
        answer=DeletionResult(job_id=UUID(job.id), faces_deleted=0),
        event_type="search.matched",
        log=entry,
        mentions=hashes,
    )
    assert await services.jobs.record_refusal(company_id, job, ending, RetentionPolicy())
    recorded = await services.jobs.get(company_id, UUID(job.id))
    assert recorded is not None
    return recorded


def without_details(job: JobRecord) -> Ending:
    """An ending by somebody who could not open the job's message."""
    return Ending(
        state=JobState.EXPIRED,
        http_status=504,
        answer=DeletionResult(job_id=UUID(job.id), faces_deleted=0),
        event_type="job.expired",
        log=LogEntry(outcome=Outcome.EXPIRED),
    )
