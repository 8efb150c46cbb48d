"""What an operator asks of the stores while the service runs: questions and orders, answered in rows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from infra.broker.topics import GROUP, WORKED
from infra.keys.company import CompanyKeyGone
from infra.repositories.collections import COMPANIES
from infra.services import Services
from schemas.ids import new_id
from schemas.records import DeadLetter
from workers.relay import Relay
from workers.replaying import Key, ReplayDesk

Row = dict[str, Any]
Operation = Callable[[Services, Mapping[str, Any]], Awaitable[Sequence[Row]]]

_COMPANIES_MAX: Final = 1_000_000


class OperationRefused(Exception):
    """It can't be done; the words are for whoever asked."""


async def lag(services: Services, _: Mapping[str, Any]) -> Sequence[Row]:
    """How far the workers are behind, by topic."""
    rows: list[Row] = []
    for topic in WORKED:
        lag = await services.broker.lag(topic, GROUP)
        oldest = lag.oldest_appended_at
        age_s = (services.clock.now() - oldest).total_seconds() if oldest is not None else None
        rows.append(
            {
                "topic": topic.name,
                "group": GROUP,
                "messages": lag.messages,
                "oldest_s": None if age_s is None else round(max(0.0, age_s), 1),
            }
        )
    return rows


async def dead_letters(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """The letters that stand, oldest first."""
    letters = await _found(_desk(services), asked)
    return sorted((_row(key, letter) for key, letter in letters.items()), key=lambda row: row["died_at"])


async def dead_letter(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """One letter with its job and what its message says of itself; never what the message holds."""
    desk = _desk(services)
    letters = await _found(desk, asked)
    rows: list[Row] = []
    for key, letter in letters.items():
        job = await services.jobs.get(key[0], UUID(key[1]))
        found = await desk.message(key, letter)
        row = _row(key, letter)
        if job is not None:
            row |= {
                "kind": job.kind.value,
                "state": job.state.value,
                "created_at": job.created_at.isoformat(),
                "submitted_by": job.submitted_by,
                "correlation_id": job.correlation_id,
                "replays": job.replays,
            }
        row["message"] = None
        if found is not None:
            message, header = found
            row["message"] = {
                "partition": message.partition,
                "offset": message.offset,
                "bytes": len(message.value),
                "schema_version": header.schema_version,
                "type": header.type,
            }
        rows.append(row)
    if not rows:
        raise OperationRefused("There is no such dead letter (any more).")
    return rows


async def replay(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """Put jobs that were given up into the queue again."""
    desk = _desk(services)
    done = await desk.replay(await _found(desk, asked))
    return [_named(key) | {"outcome": outcome.value} for key, outcome in done.items()]


async def drop(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """Let go of letters for good."""
    desk = _desk(services)
    return [_named(key) | {"outcome": "dropped"} for key in await desk.drop(await _found(desk, asked))]


async def paused(services: Services, _: Mapping[str, Any]) -> Sequence[Row]:
    """Which companies are paused."""
    rows: list[Row] = []
    for company_id in await services.documents.companies(COMPANIES, limit=_COMPANIES_MAX):
        company = await services.accounts.company(company_id)
        if company is not None and company.paused_at is not None:
            rows.append({"company_id": company.id, "paused_at": company.paused_at.isoformat()})
    return rows


async def pause(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """Take no photos of a company, or take them again."""
    company_id, wanted = UUID(asked["company_id"]), bool(asked["paused"])
    try:
        changed = await services.companies.pause(company_id, paused=wanted)
    except CompanyKeyGone:
        raise OperationRefused(f"There is no company {company_id}.") from None
    if changed:
        await services.audit.record(
            company_id,
            "company.paused" if wanted else "company.resumed",
            actor="operator",
            correlation_id=str(new_id(services.clock.now(), services.entropy)),
            data={},
        )
    return [{"company_id": str(company_id), "paused": wanted, "changed": changed}]


OPERATIONS: Final[Mapping[str, Operation]] = {
    operation.__name__: operation
    for operation in (lag, dead_letters, dead_letter, replay, drop, paused, pause)
}


def _desk(services: Services) -> ReplayDesk:
    return ReplayDesk(services, Relay(services))


async def _found(desk: ReplayDesk, asked: Mapping[str, Any]) -> dict[Key, DeadLetter]:
    job_id = asked.get("job_id")
    return await desk.find(job_id=UUID(job_id) if job_id else None, cause=asked.get("cause"))


def _named(key: Key) -> Row:
    return {"company_id": str(key[0]), "job_id": key[1]}


def _row(key: Key, letter: DeadLetter) -> Row:
    return _named(key) | {
        "topic": letter.topic,
        "cause": letter.cause,
        "attempts": letter.attempts,
        "died_at": letter.died_at.isoformat(),
        "expires_at": letter.expires_at.isoformat(),
    }
