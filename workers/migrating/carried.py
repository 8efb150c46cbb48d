"""What goes along when a company moves, and what stays because it tells of one store alone."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from infra.documents import port
from infra.repositories.collections import (
    API_KEYS,
    ATTEMPTS,
    AUDIT_EVENTS,
    CLAIMS,
    COMPANIES,
    DEAD_LETTERS,
    FACES,
    INDEX_MARKS,
    JOBS,
    LOGINS,
    MEMBERS,
    MIGRATIONS,
    SESSIONS,
    TURNS,
    UNREAD_MESSAGES,
    USERS,
    WORKER_SIGNS,
)
from schemas.ids import PLATFORM
from schemas.records import Claim, Login

OF_A_COMPANY: Final[tuple[port.Collection[Any], ...]] = (
    MEMBERS,
    SESSIONS,
    API_KEYS,
    USERS,
    FACES,
    JOBS,
    AUDIT_EVENTS,
    DEAD_LETTERS,
    CLAIMS,
)
"""Kept under the company's id, and copied as they are: what is sealed or hashed in them is so with keys that
go along."""

LAST: Final = COMPANIES
"""By its record a company counts as there, so that comes when all else was copied and checked."""

STAYS: Final[Mapping[port.Collection[Any], str]] = {
    INDEX_MARKS: "says how far the index beside it is on disk",
    ATTEMPTS: "names messages by their places in the broker beside it",
    UNREAD_MESSAGES: "names messages of the broker beside it, which are nobody's",
    TURNS: "says which of the processes beside it did what last",
    WORKER_SIGNS: "says which processes are at work beside it",
    MIGRATIONS: "says what came from where to the store that it is in",
}
"""Copied nowhere, and why."""


@dataclass(frozen=True)
class Stretch:
    """Records of one collection that go along together; `holds` says which of those under `scope`."""

    what: str
    collection: port.Collection[Any]
    scope: UUID
    holds: Callable[[Any], bool] | None = None


def of_company(company_id: UUID) -> Sequence[Stretch]:
    """What is kept under a company's id, but for its own record."""
    return [Stretch(collection.name, collection, company_id) for collection in OF_A_COMPANY]


def own_record(company_id: UUID) -> Stretch:
    """The company's own record."""
    return Stretch(LAST.name, LAST, company_id)


def of_platform(companies: Collection[UUID]) -> Sequence[Stretch]:
    """What leads to companies before they are known: log-ins by e-mail address, and the idempotency keys of
    their registrations. Those of a refused registration stay: it would be refused again."""

    def leads(login: Login) -> bool:
        return login.company_id in companies

    def registers(claim: Claim) -> bool:
        return claim.made_id in companies

    return [
        Stretch(LOGINS.name, LOGINS, PLATFORM, leads),
        Stretch("registrations", CLAIMS, PLATFORM, registers),
    ]
