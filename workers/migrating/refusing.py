"""What must be so before anything is written: nobody is at work, nothing waits, nothing would be lost."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from infra.broker.topics import GROUP, WORKED
from infra.keys.company import CompanyKeyGone
from infra.repositories.accounts import is_open
from infra.repositories.collections import COMPANIES, JOBS, LOGINS, MEMBERS, MIGRATIONS
from infra.repositories.migrations import MigrationRefused, Migrations
from infra.repositories.worker_signs import WorkerSigns
from infra.services import Services
from schemas.ids import PLATFORM
from schemas.jobs import JobState
from schemas.records import Member
from workers.migrating.carried import Stretch
from workers.migrating.records import records_of
from workers.migrating.together import in_pages

_ALL: Final = 1_000_000
_PAGE: Final = 500
# Longer than between two signs of a worker that is slow.
_SIGN_DUE_S: Final = 12.0


@dataclass(frozen=True)
class Plan:
    """What is to become of which company."""

    copied: tuple[UUID, ...]
    """Written to the target, checked and opened there."""
    moved: tuple[UUID, ...] = ()
    """At work in the target since an earlier migration: checked, and never written."""
    closed: tuple[UUID, ...] = ()
    """Ended at the source since a copy was begun: what was copied is cleared away."""


async def planned(
    source: Services, target: Services, origin: str, only: UUID | None, *, replace: bool
) -> Plan:
    """What to do with one company, or with all. Raises MigrationRefused."""
    companies = frozenset(await open_companies(source, only))
    copied: list[UUID] = []
    moved: list[UUID] = []
    migrations = Migrations(target.documents, target.clock)
    for company_id in sorted(companies):
        begun = await migrations.get(company_id)
        known = await target.accounts.company(company_id)
        from_here = begun is not None and begun.origin == origin
        if replace or (known is None and (begun is None or from_here)):
            copied.append(company_id)
        elif known is not None and from_here:
            moved.append(company_id)
        elif known is not None:
            raise MigrationRefused(
                f"the target has company {company_id}, and not from here; say --replace if what the target "
                "has of it is to be lost"
            )
        else:
            raise MigrationRefused(
                f"the target has an unfinished copy of company {company_id} from elsewhere; say --replace to "
                "begin it anew from here"
            )
    closed = await _closed_meanwhile(source, target, origin, companies) if only is None else []
    return Plan(tuple(copied), tuple(moved), tuple(closed))


async def open_companies(source: Services, only: UUID | None) -> list[UUID]:
    """The company that was asked for, or all that are not closed. Raises MigrationRefused."""
    if only is None:
        every = await source.documents.companies(COMPANIES, limit=_ALL)
        return [one for one in every if is_open(await source.accounts.company(one))]
    if not is_open(await source.accounts.company(only)):
        raise MigrationRefused(f"the source has no company {only}, or it is closed")
    return [only]


async def _closed_meanwhile(
    source: Services, target: Services, origin: str, companies: Collection[UUID]
) -> list[UUID]:
    """Unfinished copies of companies that have no key at the source any more."""
    migrations = Migrations(target.documents, target.clock)
    found: list[UUID] = []
    for company_id in await target.documents.companies(MIGRATIONS, limit=_ALL):
        begun = await migrations.get(company_id)
        ours = company_id not in companies and begun is not None and begun.origin == origin
        if ours and await target.accounts.company(company_id) is None:
            try:
                await source.keys.get(company_id)
            except CompanyKeyGone:
                found.append(company_id)
    return found


async def refuse_waiting(source: Services, companies: Sequence[UUID], *, all_of_them: bool) -> None:
    """Refuse while jobs of these companies have not ended: their messages would stay behind."""
    for company_id in companies:
        waiting = await source.documents.count(JOBS, company_id, where={"state": JobState.QUEUED})
        if waiting:
            raise MigrationRefused(
                f"{waiting} jobs of company {company_id} have not ended: start the source's service until "
                "none is left (faceid lag), stop it, and begin again"
            )
    for topic in WORKED if all_of_them else ():
        messages = (await source.broker.lag(topic, GROUP)).messages
        if messages:
            raise MigrationRefused(
                f"{messages} messages wait in topic {topic.name} of the source: start its service until "
                "none is left (faceid lag), stop it, and begin again"
            )


async def refuse_workers(services: Services, side: str) -> None:
    """Refuse while a worker is at work: it gives signs of life, and each is newer than the last. Ingresses
    give none, and must be known to be stopped."""
    signs = WorkerSigns(services.documents, services.clock)
    before = {sign.id: sign.version for sign in await signs.all()}
    if not before:
        return
    await services.clock.sleep(_SIGN_DUE_S)
    alive = [sign.id for sign in await signs.all() if before.get(sign.id) != sign.version]
    if alive:
        raise MigrationRefused(
            f"{len(alive)} workers of the {side} are at work: stop them, and the ingresses"
        )


async def refuse_taken_addresses(source: Services, target: Services, companies: Sequence[UUID]) -> None:
    """Refuse if a member's e-mail address is another company's account in the target: they could not log
    in."""
    for company_id in companies:
        members = records_of(source.documents, Stretch(MEMBERS.name, MEMBERS, company_id))
        async for page in in_pages(members, _PAGE):
            by_login = {member.email_hash: member for member in page if isinstance(member, Member)}
            found = await target.documents.get_many(LOGINS, PLATFORM, list(by_login))
            for login in found.values():
                if login.company_id != company_id:
                    raise MigrationRefused(
                        f"member {by_login[login.id].id} of company {company_id} has an e-mail address that "
                        f"is an account of company {login.company_id} in the target: remove one of them"
                    )
