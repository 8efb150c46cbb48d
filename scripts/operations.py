"""What an operator asks of the stores while the service runs: questions and orders, answered in rows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from infra.broker.topics import GROUP, WORKED
from infra.keys.company import CompanyKeyGone
from infra.repositories.collections import COMPANIES
from infra.services import Services
from schemas.ids import new_id
from schemas.letters import DeadLetter, UnreadMessage
from schemas.messages import MessageUnreadable, decode_message
from workers.relay import Relay
from workers.replaying import Key, ReplayDesk
from workers.unread import UnreadDesk

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
    found = await _found(services, asked)
    rows = [_row(key, letter) for key, letter in found.of_jobs.items()]
    rows += [_unread_row(message) for message in found.unread.values()]
    return sorted(rows, key=lambda row: row["died_at"])


async def dead_letter(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """One letter with its job and what its message says of itself; never what the message holds."""
    found = await _found(services, asked)
    rows = [_row(key, letter) | await _told(services, key, letter) for key, letter in found.of_jobs.items()]
    rows += [_unread_row(message) for message in found.unread.values()]
    if not rows:
        raise OperationRefused("There is no such dead letter (any more).")
    return rows


async def replay(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """Put what was given up into the queue again: jobs, and messages that can't be read by their own."""
    found = await _found(services, asked)
    of_jobs = await _desk(services).replay(found.of_jobs) if found.of_jobs else {}
    unread = await UnreadDesk(services).replay(found.unread) if found.unread else {}
    rows = [_named(key) | {"outcome": outcome.value} for key, outcome in of_jobs.items()]
    return rows + [_nameless(one) | {"outcome": outcome.value} for one, outcome in unread.items()]


async def drop(services: Services, asked: Mapping[str, Any]) -> Sequence[Row]:
    """Let go of letters for good."""
    found = await _found(services, asked)
    rows = [_named(key) for key in await _desk(services).drop(found.of_jobs)]
    rows += [_nameless(one) for one in await UnreadDesk(services).drop(found.unread)]
    return [row | {"outcome": "dropped"} for row in rows]


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


@dataclass(frozen=True)
class _Letters:
    """Jobs that were given up, and messages that are nobody's."""

    of_jobs: Mapping[Key, DeadLetter]
    unread: Mapping[str, UnreadMessage]


def _desk(services: Services) -> ReplayDesk:
    return ReplayDesk(services, Relay(services))


async def _found(services: Services, asked: Mapping[str, Any]) -> _Letters:
    """What is asked for: of one id, of one cause, or all there are."""
    letter_id, cause = asked.get("id"), asked.get("cause")
    job_id = _job_id(letter_id)
    desk, unread = _desk(services), UnreadDesk(services)
    if job_id is not None:
        return _Letters(await desk.find(job_id=job_id, cause=cause), {})
    if letter_id is not None:
        return _Letters({}, await unread.find(message_id=letter_id, cause=cause))
    return _Letters(
        await desk.find(job_id=None, cause=cause), await unread.find(message_id=None, cause=cause)
    )


def _job_id(letter_id: str | None) -> UUID | None:
    try:
        return UUID(letter_id) if letter_id is not None else None
    except ValueError:
        return None


async def _told(services: Services, key: Key, letter: DeadLetter) -> Row:
    """What is known of a letter's job, and of its message."""
    row: Row = {}
    job = await services.jobs.get(key[0], UUID(key[1]))
    if job is not None:
        row = {
            "kind": job.kind.value,
            "state": job.state.value,
            "created_at": job.created_at.isoformat(),
            "submitted_by": job.submitted_by,
            "correlation_id": job.correlation_id,
            "replays": job.replays,
        }
    message = await _desk(services).message(key, letter)
    if message is None:
        return row | {"message": None}
    return row | {
        "message": {
            "partition": message.partition,
            "offset": message.offset,
            "bytes": len(message.value),
            **_header(message.value),
        }
    }


def _header(value: bytes) -> Row:
    try:
        header, _, _ = decode_message(value)
    except MessageUnreadable as error:
        return {"reason": str(error)}
    return {"schema_version": header.schema_version, "type": header.type}


def _named(key: Key) -> Row:
    return {"id": key[1], "company_id": str(key[0]), "job_id": key[1]}


def _nameless(message_id: str) -> Row:
    return {"id": message_id, "company_id": None, "job_id": None}


def _row(key: Key, letter: DeadLetter) -> Row:
    return _named(key) | {
        "topic": letter.topic,
        "cause": letter.cause,
        "attempts": letter.attempts,
        "died_at": letter.died_at.isoformat(),
        "expires_at": letter.expires_at.isoformat(),
    }


def _unread_row(unread: UnreadMessage) -> Row:
    return _nameless(unread.id) | {
        "topic": unread.topic,
        "cause": unread.cause,
        "attempts": unread.attempts,
        "died_at": unread.died_at.isoformat(),
        "expires_at": unread.expires_at.isoformat(),
        "message": {
            "partition": unread.partition,
            "offset": unread.offset,
            "bytes": unread.size_bytes,
            "reason": unread.reason,
        },
    }
