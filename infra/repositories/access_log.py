"""The access log: ended jobs that were attempts at recognition. An entry is its job's record, no other."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infra.documents.port import Documents, Page, Range, Scalar
from infra.keys.company import CompanyKey
from infra.repositories.collections import JOBS
from schemas.jobs import JobRecord, LogDetails, Outcome


@dataclass(frozen=True)
class LogEntry:
    """What the terminal write says for the access log; the personal part (`details`) is sealed."""

    outcome: Outcome
    details: LogDetails | None = None
    user_hashes: tuple[str, ...] = ()
    photo_hash: str | None = None
    score: float | None = None
    similarity: float | None = None
    confidence_percent: float | None = None
    threshold_percent: float | None = None


@dataclass(frozen=True)
class AccessLog:
    """Finds entries."""

    documents: Documents

    async def find(
        self,
        company_id: UUID,
        *,
        user_hash: str | None,
        outcome: Outcome | None,
        start: datetime | None,
        end: datetime | None,
        after: tuple[Scalar, ...] | None,
        limit: int,
    ) -> Page[JobRecord]:
        """Entries, newest first."""
        where: dict[str, Scalar] = {"logged": True}
        if user_hash is not None:
            where["log_user_hashes"] = user_hash
        if outcome is not None:
            where["outcome"] = outcome
        return await self.documents.find(
            JOBS,
            company_id,
            where=where,
            within=Range("created_at", start=start, end=end) if start or end else None,
            order_by=("created_at",),
            descending=True,
            after=after,
            limit=limit,
        )


def logged(job: JobRecord, entry: LogEntry | None, key: CompanyKey) -> Mapping[str, object]:
    """The fields of an ended job that make it an entry; of one that is none, that it is none."""
    details = entry.details if entry else None
    return {
        "logged": entry is not None,
        "outcome": entry.outcome if entry else None,
        "photo_hash": entry.photo_hash if entry else None,
        "log_user_hashes": entry.user_hashes if entry else (),
        "log_sealed": sealed_details(job, details, key) if details else None,
        "score": entry.score if entry else None,
        "similarity": entry.similarity if entry else None,
        "confidence_percent": entry.confidence_percent if entry else None,
        "threshold_percent": entry.threshold_percent if entry else None,
    }


def without_user(job: JobRecord, user_hash: str, pseudonym: str, key: CompanyKey) -> Mapping[str, object]:
    """The fields of an entry from which a person is erased: what happened stays, under a pseudonym that leads
    nowhere."""

    def replaced(user_id: str | None) -> str | None:
        spoken_of = user_id is not None and key.lookup("user.id", user_id) == user_hash
        return pseudonym if spoken_of else user_id

    details = opened_details(job, key)
    cleaned = details.model_copy(
        update={
            "user_id": replaced(details.user_id),
            "other_user_ids": tuple(replaced(other) for other in details.other_user_ids),
            "nearest_user_id": replaced(details.nearest_user_id),
        }
    )
    own = user_hash in (*job.log_user_hashes, job.subject_user_hash)
    return {
        "log_sealed": sealed_details(job, cleaned, key) if job.logged else None,
        "log_user_hashes": tuple(other for other in job.log_user_hashes if other != user_hash),
        "photo_hash": None if own else job.photo_hash,
    }


def sealed_details(job: JobRecord, details: LogDetails, key: CompanyKey) -> bytes:
    return key.seal_text("job.log", job.id, details.model_dump_json())


def opened_details(job: JobRecord, key: CompanyKey) -> LogDetails:
    """The personal part of an entry; empty where it has none."""
    if job.log_sealed is None:
        return LogDetails(id=job.id)
    return LogDetails.model_validate_json(key.open_text("job.log", job.id, job.log_sealed))
