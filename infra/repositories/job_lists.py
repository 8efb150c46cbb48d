"""Lists of jobs, newest first."""

from collections.abc import Collection as Choice
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from infra.documents.port import Documents, Page, Range, Scalar
from infra.repositories.collections import JOBS
from schemas.jobs import JobKind, JobRecord, JobState

_SCANNED_MAX: Final = 2000
"""How many jobs one page looks through for those that are asked for."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs. `kinds` are those that may be seen and are asked for; `submitted_by` sees its own only."""

    kinds: Choice[JobKind]
    state: JobState | None = None
    correlation_id: str | None = None
    submitted_by: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def holds(self, job: JobRecord) -> bool:
        return (
            job.kind in self.kinds
            and self.state in {None, job.state}
            and self.submitted_by in {None, job.submitted_by}
        )


@dataclass(frozen=True)
class JobLists:
    """Reads pages of jobs, each from one index that leads to them.

    A correlation id and a submitter have an index of their own, of which a page is what holds; the other
    filters meet in one index, (kind, state, time), as stretches of it. A page that had to look through too
    much is shorter than asked for, and goes on.
    """

    documents: Documents

    async def page(
        self, company_id: UUID, wanted: JobFilter, *, after: tuple[Scalar, ...] | None, limit: int
    ) -> Page[JobRecord]:
        """Jobs that hold, newest first."""
        where = self._led_by(wanted)
        within = None
        if wanted.start is not None or wanted.end is not None:
            within = Range("created_at", start=wanted.start, end=wanted.end)
        items: list[JobRecord] = []
        scanned = 0
        while True:
            page = await self.documents.find(
                JOBS,
                company_id,
                where=where,
                within=within,
                order_by=("created_at",),
                descending=True,
                after=after,
                limit=limit,
            )
            scanned += len(page.items)
            for place, job in enumerate(page.items, start=1):
                if wanted.holds(job):
                    items.append(job)
                if len(items) == limit:
                    at_end = page.next_key is None and place == len(page.items)
                    return Page(tuple(items), None if at_end else (job.created_at, job.id))
            after = page.next_key
            if after is None or scanned >= _SCANNED_MAX:
                return Page(tuple(items), after)

    @staticmethod
    def _led_by(wanted: JobFilter) -> Mapping[str, Scalar | Sequence[Scalar]]:
        if wanted.correlation_id is not None:
            return {"correlation_id": wanted.correlation_id}
        if wanted.submitted_by is not None:
            return {"submitted_by": wanted.submitted_by}
        states = [wanted.state] if wanted.state is not None else list(JobState)
        if set(wanted.kinds) == set(JobKind):
            return {"state": states}
        return {"kind": list(wanted.kinds), "state": states}
