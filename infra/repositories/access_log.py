"""The access log: ended jobs that were attempts at recognition. An entry is its job's record, no other.

What an entry can be listed by, besides its time and outcome, is personal or nearly so: users, the device, who
sent it. So the record holds keyed hashes, one for each combination of them (`log_filters`): a list by any
combination is one stretch of one index, in order of time, whatever else is stored. That is one row for a
search that names no device, three for one that does and matched, twice and one as many for an API key's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from uuid import UUID

from pydantic import JsonValue

from infra.documents.port import Documents, Page, Range, Scalar
from infra.keys.company import CompanyKey, CompanyKeys
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
class LogFilter:
    """Which entries: those that fit all that is given. `start` is inclusive, `end` exclusive."""

    user_id: str | None = None
    device_id: str | None = None
    submitted_by: str | None = None
    """Of one API key; members' entries are not told apart."""
    outcome: Outcome | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class AccessLog:
    """Finds entries."""

    documents: Documents
    keys: CompanyKeys

    async def find(
        self, company_id: UUID, wanted: LogFilter, *, after: tuple[Scalar, ...] | None, limit: int
    ) -> Page[JobRecord]:
        """Entries, newest first. A page costs the same however deep it lies."""
        where: dict[str, Scalar | Sequence[Scalar]] = {"logged": True}
        if wanted.outcome is not None:
            where = {"outcome": wanted.outcome}
        if wanted.user_id or wanted.device_id or wanted.submitted_by:
            key = await self.keys.get(company_id)
            user_hash = key.lookup("user.id", wanted.user_id) if wanted.user_id else None
            where = {
                "log_filters": _filter_hash(key, user_hash, wanted.device_id, wanted.submitted_by),
                "outcome": wanted.outcome or tuple(Outcome),
            }
        bounded = wanted.start is not None or wanted.end is not None
        return await self.documents.find(
            JOBS,
            company_id,
            where=where,
            within=Range("created_at", start=wanted.start, end=wanted.end) if bounded else None,
            order_by=("created_at",),
            descending=True,
            after=after,
            limit=limit,
        )


def begun(job: JobRecord, location: Mapping[str, JsonValue], key: CompanyKey) -> JobRecord:
    """The record of an attempt with what its entry will say however it ends, even if nobody gets to it."""
    details = LogDetails(id=job.id, location=dict(location))
    return job.model_copy(update={"log_sealed": sealed_details(job, details, key)})


def logged(job: JobRecord, entry: LogEntry | None, key: CompanyKey) -> Mapping[str, object]:
    """The fields of an ended job that make it an entry; of one that is none, that it is none."""
    if entry is None:
        return {"logged": False, "log_sealed": None}
    known = opened_details(job, key)
    details = entry.details or known
    if details.location is None:
        details = details.model_copy(update={"location": known.location})
    return {
        "logged": True,
        "outcome": entry.outcome,
        "photo_hash": entry.photo_hash,
        "log_user_hashes": entry.user_hashes,
        "log_filters": tuple(_filters(job, entry.user_hashes, details, key)),
        "log_sealed": sealed_details(job, details, key),
        "score": entry.score,
        "similarity": entry.similarity,
        "confidence_percent": entry.confidence_percent,
        "threshold_percent": entry.threshold_percent,
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
    others = tuple(other for other in job.log_user_hashes if other != user_hash)
    return {
        "log_sealed": sealed_details(job, cleaned, key) if job.logged else None,
        "log_user_hashes": others,
        "log_filters": tuple(_filters(job, others, cleaned, key)) if job.logged else (),
        "photo_hash": None if own else job.photo_hash,
    }


def sealed_details(job: JobRecord, details: LogDetails, key: CompanyKey) -> bytes:
    return key.seal_text("job.log", job.id, details.model_dump_json())


def opened_details(job: JobRecord, key: CompanyKey) -> LogDetails:
    """The personal part of an entry; empty where it has none."""
    if job.log_sealed is None:
        return LogDetails(id=job.id)
    return LogDetails.model_validate_json(key.open_text("job.log", job.id, job.log_sealed))


def _filters(
    job: JobRecord, user_hashes: Sequence[str], details: LogDetails, key: CompanyKey
) -> Iterator[str]:
    """A hash for each combination of what the entry can be listed by. Members see the whole log, so only API
    keys, which may be bound, have entries of their own."""
    device_id = (details.location or {}).get("device_id")
    of_key = not job.submitted_by.startswith("member:")
    combinations = product(
        (None, *user_hashes),
        (None, device_id) if isinstance(device_id, str) and device_id else (None,),
        (None, job.submitted_by) if of_key else (None,),
    )
    for combination in combinations:
        if any(combination):
            yield _filter_hash(key, *combination)


def _filter_hash(
    key: CompanyKey, user_hash: str | None, device_id: str | None, submitted_by: str | None
) -> str:
    return key.lookup("log.filter", json.dumps([user_hash, device_id, submitted_by], ensure_ascii=False))
