"""A company is moved between two installations: whole or not at all, however often that is cut off."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from infra.clock import Clock, ManualClock
from infra.keys.company import CompanyKeyExists
from infra.keys.errors import CompanyKeyGone
from infra.repositories.collections import COMPANIES, FACES, MIGRATIONS, SESSIONS, USERS
from infra.repositories.migrations import MigrationRefused, Migrations
from tests.workers.conftest import MODEL, Workshop, assembled, person
from tests.workers.migrating import (
    Cut,
    Target,
    beside,
    consume,
    contents,
    furnish,
    give_up,
    opened_beside,
    points_of,
    power_failure,
)
from workers.migrating.carried import OF_A_COMPANY
from workers.migrating.comparing import Compared

pytestmark = pytest.mark.system

COUNTS = {
    "members": 2,
    "sessions": 1,
    "api_keys": 0,
    "users": 4,
    "faces": 4,
    "jobs": 5,
    "dead_letters": 1,
    "claims": 1,
    "objects": 7,
    "index": 3,
    "companies": 1,
}


@pytest.fixture
async def target(workshop: Workshop, tmp_path: Path, clock: Clock) -> AsyncIterator[Target]:
    settings = beside(workshop.services.settings, tmp_path / "beside")
    async with opened_beside(settings, clock) as opened:
        yield opened


async def another_company(workshop: Workshop, email: str = "other@example.com") -> Workshop:
    company, _ = await workshop.services.accounts.register(
        company_name="Other Ltd", email=email, password_hash="", model=MODEL
    )
    return assembled(workshop.services, workshop.vectors, UUID(company.id))


async def moved(
    workshop: Workshop, target: Target, only: UUID | None = None, *, replace: bool = False
) -> list[Compared]:
    return await target.migrator(workshop.services).run(only, replace=replace)


def differing(rows: list[Compared]) -> set[str]:
    return {row.what for row in rows if not row.is_same}


async def test_a_company_has_the_same_there_and_leaves_what_it_was(
    workshop: Workshop, target: Target
) -> None:
    await furnish(workshop)
    company_id, before = workshop.company_id, await contents(workshop.services, workshop.company_id)
    rows = await moved(workshop, target)
    assert differing(rows) == set()
    counts = {row.what: row.source.count for row in rows if row.company_id == company_id}
    assert counts | COUNTS == counts
    assert await contents(target.services, company_id) == before
    assert await contents(workshop.services, company_id) == before
    assert await points_of(target.vectors, company_id) == await points_of(workshop.vectors, company_id)
    migration = await Migrations(target.services.documents, target.services.clock).get(company_id)
    assert migration is not None
    assert migration.finished_at is not None
    assert migration.counts == {what: count for what, count in counts.items() if what != "companies"}
    assert target.services.documents is not workshop.services.documents
    assert await target.services.accounts.find_login("admin@example.com") is not None


async def test_whatever_cuts_it_off_nothing_looks_alive_and_it_is_gone_on_with(
    workshop: Workshop, target: Target
) -> None:
    await furnish(workshop)
    company_id, before = workshop.company_id, await contents(workshop.services, workshop.company_id)
    cuts = 0
    while True:
        try:
            await target.cut(cuts, power_failure).migrator(workshop.services).run(None, replace=False)
        except Cut:
            cuts += 1
            assert await target.services.accounts.company(company_id) is None
            assert await target.services.accounts.find_login("admin@example.com") is None
        else:
            break
    assert cuts > 10
    assert await contents(target.services, company_id) == before
    assert differing(await target.migrator(workshop.services).check([company_id])) == set()


async def test_one_company_is_moved_without_the_others(workshop: Workshop, target: Target) -> None:
    await furnish(workshop)
    other = await another_company(workshop)
    await furnish(other, "v")
    await moved(workshop, target, workshop.company_id)
    there = target.services
    assert await there.documents.companies(COMPANIES) == [workshop.company_id]
    assert await there.documents.companies(FACES) == [workshop.company_id]
    assert await there.accounts.find_login("other@example.com") is None
    with pytest.raises(CompanyKeyGone):
        await there.keys.get(other.company_id)
    assert [one async for one in there.objects.list(other.company_id, "")] == []
    rows = await moved(workshop, target)
    assert differing(rows) == set()
    assert {row.company_id for row in rows} == {None, workshop.company_id, other.company_id}
    assert set(await there.documents.companies(COMPANIES)) == {workshop.company_id, other.company_id}


async def test_a_difference_of_any_kind_is_found_and_nothing_is_written(
    workshop: Workshop, target: Target
) -> None:
    await furnish(workshop)
    company_id, there = workshop.company_id, target.services
    await moved(workshop, target)
    migrator = target.migrator(workshop.services)
    assert differing(await migrator.check([company_id])) == set()
    face = (await there.documents.find(FACES, company_id, limit=1)).items[0]
    await there.documents.compare_and_set(
        FACES, company_id, face.model_copy(update={"epoch": 77}), expected={"version": face.version}
    )
    user = (await there.documents.find(USERS, company_id, limit=1)).items[0]
    await there.documents.delete(USERS, company_id, user.id)
    first = await anext(aiter(there.objects.list(company_id, "photos/")))
    await there.objects.put(company_id, first.key, bytes(first.size_bytes))
    points, _ = await target.vectors.scroll(company_id, after=None, limit=1)
    await target.vectors.delete(company_id, [points[0].face_id])
    await there.audit.record(company_id, "extra", actor="a", correlation_id="c", data={})
    rows = await migrator.check([company_id])
    assert differing(rows) == {"faces", "users", "objects", "index", "audit_events"}
    assert all(row.differing == 1 for row in rows if not row.is_same)
    # As a company that is at work there it is not written over, whoever runs it again.
    assert differing(await moved(workshop, target)) == differing(rows)


async def test_a_company_that_is_there_is_given_up_only_when_that_is_said(
    workshop: Workshop, target: Target
) -> None:
    await furnish(workshop)
    company_id, before = workshop.company_id, await contents(workshop.services, workshop.company_id)
    await moved(workshop, target)
    there = assembled(target.services, target.vectors, company_id)
    # It has gone its own way: the next number is another face's here and there.
    for house, number in ((there, 20), (workshop, 21)):
        _, delivery = await house.enrolment(f"w-{number}", person(number))
        await house.registrar.handle(company_id, [delivery])
        await consume(house.services)
    await target.services.objects.put(company_id, "photos/extra", b"extra")
    assert "faces" in differing(await moved(workshop, target))
    after = await contents(workshop.services, company_id)
    assert after != before
    assert differing(await moved(workshop, target, replace=True)) == set()
    assert await contents(target.services, company_id) == after
    assert await points_of(target.vectors, company_id) == await points_of(workshop.vectors, company_id)


async def test_what_is_not_from_here_is_refused(workshop: Workshop, target: Target) -> None:
    company_id = workshop.company_id
    await furnish(workshop)
    await moved(workshop, target)
    documents = target.services.documents
    known = await Migrations(documents, target.services.clock).get(company_id)
    assert known is not None
    foreign = known.model_copy(update={"origin": "another source"})
    await documents.compare_and_set(MIGRATIONS, company_id, foreign, expected={"version": known.version})
    with pytest.raises(MigrationRefused, match="not from here"):
        await moved(workshop, target)
    await documents.delete(COMPANIES, company_id, str(company_id))
    with pytest.raises(MigrationRefused, match="unfinished copy"):
        await moved(workshop, target)
    assert differing(await moved(workshop, target, replace=True)) == set()


async def test_nothing_is_moved_while_jobs_or_messages_wait(workshop: Workshop, target: Target) -> None:
    company_id = workshop.company_id
    _, delivery = await workshop.enrolment("queued", person(1))
    with pytest.raises(MigrationRefused, match="1 jobs"):
        await moved(workshop, target, company_id)
    await workshop.registrar.handle(company_id, [delivery])
    # Its message still waits, and would go nowhere: that is no matter to one company, but to all it is.
    with pytest.raises(MigrationRefused, match="topic enroll"):
        await moved(workshop, target)
    assert await target.services.documents.companies(MIGRATIONS) == []
    assert differing(await moved(workshop, target, company_id)) == set()


async def test_what_comes_in_meanwhile_keeps_the_company_shut(workshop: Workshop, target: Target) -> None:
    await furnish(workshop)

    class Slow:
        """An index during whose last step somebody is enrolled."""

        def __getattr__(self, name: str) -> Any:
            return getattr(target.vectors, name)

        async def flush(self) -> None:
            await workshop.enrolment("late", person(30))

    migrator = replace(target.migrator(workshop.services), vectors=cast(Any, Slow()))
    with pytest.raises(MigrationRefused, match="have not ended"):
        await migrator.run(workshop.company_id, replace=False)
    assert await target.services.accounts.company(workshop.company_id) is None


async def test_an_e_mail_address_that_is_taken_there_is_refused(workshop: Workshop, target: Target) -> None:
    await target.services.accounts.register(
        company_name="Example Too", email="ADMIN@example.com", password_hash="", model=MODEL
    )
    with pytest.raises(MigrationRefused, match="e-mail address"):
        await moved(workshop, target)


async def test_closed_companies_stay_and_unfinished_copies_of_them_go(
    workshop: Workshop, target: Target
) -> None:
    other = await another_company(workshop)
    await furnish(other, "v")
    with pytest.raises(Cut):
        await target.cut(30, power_failure).migrator(workshop.services).run(other.company_id, replace=False)
    assert await target.services.keys.get(other.company_id)
    await workshop.services.companies.close(other.company_id)
    with pytest.raises(MigrationRefused, match="closed"):
        await moved(workshop, target, other.company_id)
    rows = await moved(workshop, target)
    assert {row.company_id for row in rows} == {None, workshop.company_id}
    assert differing(rows) == set()
    with pytest.raises(CompanyKeyGone):
        await target.services.keys.get(other.company_id)
    for collection in OF_A_COMPANY:
        assert other.company_id not in await target.services.documents.companies(collection)


async def test_the_same_store_under_two_names_is_noticed(workshop: Workshop) -> None:
    itself = Target(workshop.services, workshop.vectors)
    with pytest.raises(MigrationRefused, match="not from here"):
        await moved(workshop, itself)
    with pytest.raises(MigrationRefused, match="same place"):
        await moved(workshop, itself, replace=True)
    assert await workshop.services.accounts.company(workshop.company_id) is not None
    assert await workshop.services.documents.companies(MIGRATIONS) == []


async def test_what_lapses_meanwhile_is_no_difference(
    workshop: Workshop, target: Target, clock: ManualClock
) -> None:
    await furnish(workshop)
    await moved(workshop, target)
    clock.advance(timedelta(days=2).total_seconds())
    # One of the two stores has dropped it already.
    assert await target.services.documents.delete_expired(SESSIONS, clock.now(), limit=10) == 1
    assert differing(await target.migrator(workshop.services).check([workshop.company_id])) == set()


async def test_dead_letters_come_once_however_often_they_are_copied(
    workshop: Workshop, target: Target
) -> None:
    await furnish(workshop)
    await moved(workshop, target)
    await give_up(workshop, "another")
    rows = await moved(workshop, target, replace=True)
    assert differing(rows) == set()
    (row,) = [row for row in rows if row.what == "dead-letter messages"]
    assert row.source.count == row.target.count == 2


async def test_a_key_that_is_another_there_is_not_written_over(workshop: Workshop, target: Target) -> None:
    other = await target.services.keys.create(workshop.company_id)
    with pytest.raises(CompanyKeyExists):
        await moved(workshop, target)
    kept = await target.services.keys.get(workshop.company_id)
    assert kept.lookup("a", "b") == other.lookup("a", "b")
