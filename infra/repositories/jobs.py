"""Job records: accepted once, ended once. The ended record of an attempt is its access-log entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, JsonValue

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents, Page, Range, Scalar
from infra.keys.company import CompanyKey, CompanyKeys
from infra.repositories.access_log import LogEntry, begun, logged, opened_details, without_user
from infra.repositories.changing import replaced_record
from infra.repositories.collections import JOBS
from schemas.events import Event
from schemas.ids import derived_id
from schemas.jobs import JobKind, JobRecord, JobState, LogDetails
from schemas.policies import RetentionPolicy
from schemas.problems import Problem
from schemas.results import Location


@dataclass(frozen=True)
class Ending:
    """How a job ends: `answer` is the body that the client reads, with `http_status`."""

    state: JobState
    http_status: int
    answer: BaseModel
    event_type: str
    code: str | None = None
    event_data: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    further_events: Mapping[str, dict[str, JsonValue]] = field(
        default_factory=dict[str, dict[str, JsonValue]]
    )
    """What else happened, by its type."""
    log: LogEntry | None = None
    mentions: tuple[str, ...] = ()
    """Hashes of all users whom the answer or the log entry speak of."""


@dataclass(frozen=True)
class Jobs:
    """Reads and writes job records."""

    documents: Documents
    keys: CompanyKeys
    clock: Clock

    async def accept(
        self, company_id: UUID, job: JobRecord, *, synced: bool, location: Location | None = None
    ) -> None:
        """Keep a new job; `location` is where an attempt is made, for its log entry."""
        if location is not None:
            job = begun(job, location.model_dump(exclude_none=True), await self.keys.get(company_id))
        await self.documents.insert(JOBS, company_id, job, synced=synced)

    async def get(self, company_id: UUID, job_id: UUID) -> JobRecord | None:
        return await self.documents.get(JOBS, company_id, str(job_id))

    async def end(
        self, company_id: UUID, job: JobRecord, ending: Ending, retention: RetentionPolicy
    ) -> tuple[JobRecord, bool]:
        """The one terminal write. Answers the job as it ended, and whether this call ended it.

        State, result, log entry and events are one compare-and-set; it also removes the job's key, so that no
        copy of the job's messages can be read any more. Who loses the race gets the winner's record. Synced:
        what is told to a client afterwards survives a power failure.
        """
        key = await self.keys.get(company_id)
        ended = _ended(job, ending, retention, self.clock.now(), key)
        expected: dict[str, Scalar] = {"state": JobState.QUEUED}
        if await self.documents.compare_and_set(JOBS, company_id, ended, expected=expected):
            return ended, True
        winner = await self.get(company_id, UUID(job.id))
        return winner or ended, False

    async def record_refusal(
        self, company_id: UUID, job: JobRecord, ending: Ending, retention: RetentionPolicy
    ) -> bool:
        """Keep an attempt that was refused before it became a job: a record that is born ended, for the
        access log.

        If an earlier run of the request did make the job of this id, that is ended so; False when it ended by
        itself.
        """
        key = await self.keys.get(company_id)
        refusal = _ended(job, ending, retention, self.clock.now(), key)
        try:
            await self.documents.insert(JOBS, company_id, refusal)
        except AlreadyExists:
            earlier = await self.get(company_id, UUID(job.id))
            return earlier is not None and (await self.end(company_id, earlier, ending, retention))[1]
        return True

    async def result_text(self, company_id: UUID, job: JobRecord) -> str | None:
        """The answer's body as JSON, None when the job has none (any more)."""
        if job.result_sealed is None:
            return None
        return (await self.keys.get(company_id)).open_text("job.result", job.id, job.result_sealed)

    async def log_details(self, company_id: UUID, job: JobRecord) -> LogDetails:
        """The personal part of an access-log entry."""
        return opened_details(job, await self.keys.get(company_id))

    async def forget_user(
        self, company_id: UUID, user_hash: str, pseudonym: str, *, epoch: int | None = None
    ) -> int:
        """Erase a person from ended jobs: answers go, log entries keep what happened under a pseudonym that
        leads nowhere. With an `epoch`, jobs about the person in a later one are spared: those of somebody who
        was enrolled again after the erasure was asked for.

        Answers how many records spoke of the person. Jobs not ended yet are left: they end as superseded,
        without names.
        """
        key = await self.keys.get(company_id)
        forgotten = 0
        after: tuple[Scalar, ...] | None = None
        while True:
            page = await self.documents.find(
                JOBS, company_id, where={"mentions": user_hash}, after=after, limit=200
            )
            changes: list[tuple[JobRecord, dict[str, Scalar]]] = []
            for job in page.items:
                later = job.subject_user_hash == user_hash and epoch is not None and job.subject_epoch > epoch
                if job.state is not JobState.QUEUED and not later:
                    cleaned = _without(job, user_hash, pseudonym, key)
                    changes.append((cleaned, {"version": job.version}))
            forgotten += sum(await self.documents.compare_and_set_many(JOBS, company_id, changes))
            if page.next_key is None:
                return forgotten
            after = page.next_key

    async def drop_results(self, company_id: UUID, now: datetime, *, limit: int) -> int:
        """Remove answers past their time, which their log entries outlive. Answers how many."""
        page = await self.documents.find(
            JOBS,
            company_id,
            within=Range("result_expires_at", end=now),
            order_by=("result_expires_at",),
            limit=limit,
        )
        changes: list[tuple[JobRecord, dict[str, Scalar]]] = []
        for job in page.items:
            dropped = {"version": job.version + 1, "result_sealed": None, "result_expires_at": None}
            changes.append((job.model_copy(update=dropped), {"version": job.version}))
        return sum(await self.documents.compare_and_set_many(JOBS, company_id, changes, synced=False))

    async def is_awaited(self, company_id: UUID, user_hash: str, *, submitted_by: str | None = None) -> bool:
        """Whether an enrolment of the user (submitted by this credential) has not ended yet."""
        after: tuple[Scalar, ...] | None = None
        while True:
            page = await self.documents.find(
                JOBS, company_id, where={"mentions": user_hash}, after=after, limit=200
            )
            for job in page.items:
                enrols = job.state is JobState.QUEUED and job.kind is JobKind.ENROLL
                if enrols and submitted_by in {None, job.submitted_by}:
                    return True
            after = page.next_key
            if after is None:
                return False

    async def mark_told(self, company_id: UUID, job: JobRecord) -> None:
        """The job's events are with those who follow. Unsynced: telling them again is harmless."""
        told = job.model_copy(update={"events_pending": False})
        await replaced_record(self.documents, JOBS, company_id, job, told, synced=False)

    async def untold(self, company_id: UUID, before: datetime, *, limit: int) -> tuple[JobRecord, ...]:
        """Ended jobs whose events have been waiting since before a time."""
        page = await self.documents.find(
            JOBS,
            company_id,
            where={"events_pending": True},
            within=Range("ended_at", end=before),
            order_by=("ended_at",),
            limit=limit,
        )
        return page.items

    async def queued(
        self, company_id: UUID, before: datetime, *, after: tuple[Scalar, ...] | None = None, limit: int = 100
    ) -> Page[JobRecord]:
        """Jobs not ended yet that were accepted before a time, oldest first."""
        return await self.documents.find(
            JOBS,
            company_id,
            where={"state": JobState.QUEUED},
            within=Range("created_at", end=before),
            order_by=("created_at",),
            after=after,
            limit=limit,
        )


def _body(answer: BaseModel) -> str:
    """A result says what it has none of (`best: null`); a problem leaves it out."""
    return answer.model_dump_json(exclude_none=isinstance(answer, Problem))


def _ended(
    job: JobRecord, ending: Ending, retention: RetentionPolicy, now: datetime, key: CompanyKey
) -> JobRecord:
    log = ending.log
    kept = retention.access_log_days if log else retention.job_result_days
    events = tuple(
        Event(id=str(derived_id(UUID(job.id), f"event.{kind}")), type=kind, occurred_at=now, data=data)
        for kind, data in {ending.event_type: ending.event_data, **ending.further_events}.items()
    )
    return job.model_copy(
        update={
            "version": job.version + 1,
            "state": ending.state,
            "ended_at": now,
            "wrapped_key": None,
            "reply_to": None,
            "code": ending.code,
            "http_status": ending.http_status,
            "result_sealed": key.seal_text("job.result", job.id, _body(ending.answer)),
            "events": events,
            "events_pending": True,
            **logged(job, log, key),
            "mentions": ending.mentions,
            "subject_user_hash": job.subject_user_hash if job.subject_user_hash in ending.mentions else None,
            "result_expires_at": now + timedelta(days=retention.job_result_days),
            "expires_at": now + timedelta(days=kept),
        }
    )


def _without(job: JobRecord, user_hash: str, pseudonym: str, key: CompanyKey) -> JobRecord:
    return job.model_copy(
        update={
            **without_user(job, user_hash, pseudonym, key),
            "version": job.version + 1,
            "result_sealed": None,
            "events": tuple(_unnamed(event, user_hash) for event in job.events),
            "mentions": tuple(other for other in job.mentions if other != user_hash),
            "subject_user_hash": None if job.subject_user_hash == user_hash else job.subject_user_hash,
        }
    )


def _unnamed(event: Event, user_hash: str) -> Event:
    def kept(value: JsonValue) -> JsonValue:
        if isinstance(value, list):
            return [one for one in value if one != user_hash]
        return None if value == user_hash else value

    return event.model_copy(update={"data": {name: kept(value) for name, value in event.data.items()}})
