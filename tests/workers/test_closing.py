"""What a closed company leaves is cleared away, wherever that is cut off and whoever still writes."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.clock import Clock, ManualClock
from infra.documents.port import DocumentsUnavailable
from infra.keys.errors import CompanyKeyGone
from infra.repositories.admins import changed_company
from infra.repositories.collections import ALL, COMPANIES, LOGINS, MEMBERS
from infra.repositories.members import MemberDetails, SetPassword
from schemas.access import Role
from schemas.ids import PLATFORM
from schemas.records import Company, CompanyState
from tests.workers.conftest import MODEL, Workshop, assembled, person
from workers.closing import KEPT_FOR, Closer

pytestmark = pytest.mark.system


@pytest.fixture
def closer(workshop: Workshop) -> Closer:
    return Closer(workshop.services, workshop.vectors, workshop.indexer)


async def filled(workshop: Workshop, name: str = "u") -> None:
    """Faces, jobs, blobs and members of the company."""
    services, company_id = workshop.services, workshop.company_id
    for number in range(3):
        _, delivery = await workshop.enrolment(f"{name}-{number}", person(number), groups=("hq",))
        await workshop.registrar.handle(company_id, [delivery])
    await workshop.enrolment(f"{name}-queued", person(9))
    await workshop.indexer.flush()
    _, delivery = await workshop.enrolment(f"{name}-unflushed", person(8))
    await workshop.registrar.handle(company_id, [delivery])
    await services.objects.put(company_id, "photos/one", b"sealed")
    await services.objects.put(company_id, "inflight/two", b"sealed")
    await services.members.invite(
        company_id,
        UUID(int=company_id.int + 1),
        MemberDetails(email=f"{company_id}@example.com", name=None),
        Role.STAFF,
        SetPassword(b"digest", services.clock.now()),
        invited_by="member:test",
    )


async def left_of(workshop: Workshop) -> dict[str, int]:
    """How much of the company there is, by where it is; its own record apart."""
    services, company_id = workshop.services, workshop.company_id
    logins = (await services.documents.find(LOGINS, PLATFORM, limit=500)).items
    counts = {
        "index": await workshop.vectors.count(company_id),
        "objects": len([blob async for blob in services.objects.list(company_id, "")]),
        "logins": sum(login.company_id == company_id for login in logins),
    }
    for collection in ALL:
        if collection not in (COMPANIES, LOGINS):
            counts[collection.name] = await services.documents.count(collection, company_id)
    return {where: count for where, count in counts.items() if count}


async def record_of(workshop: Workshop) -> Company | None:
    company_id = workshop.company_id
    return await workshop.services.documents.get(COMPANIES, company_id, str(company_id))


async def mark_closed(workshop: Workshop) -> None:
    """As a closing does that is cut off after its first write: the key is still there."""
    closed = {"state": CompanyState.CLOSED, "closed_at": workshop.services.clock.now()}
    await changed_company(
        workshop.services.documents, workshop.company_id, lambda company: company.model_copy(update=closed)
    )


def later(clock: Clock) -> None:
    assert isinstance(clock, ManualClock)
    clock.advance((KEPT_FOR + timedelta(seconds=1)).total_seconds())


async def test_nothing_of_a_closed_company_is_left_and_everything_of_others(
    workshop: Workshop, closer: Closer, clock: Clock
) -> None:
    other, _ = await workshop.services.accounts.register(
        company_name="Other", email="other@example.com", password_hash="", model=MODEL
    )
    neighbour = assembled(workshop.services, workshop.vectors, UUID(other.id))
    for company in (workshop, neighbour):
        await filled(company)
    before = await left_of(neighbour)
    assert {"index", "objects", "logins", "faces", "users", "jobs", "members", "index_marks"} <= set(before)

    await workshop.services.companies.close(workshop.company_id)
    assert "logins" not in await left_of(workshop)
    assert await closer.clear_closed() == 1
    assert await left_of(workshop) == {}
    assert await record_of(workshop) is not None, "until nobody can write for it any more"
    later(clock)
    await closer.clear_closed()
    assert await record_of(workshop) is None
    assert await closer.clear_closed() == 0
    assert await left_of(neighbour) == before
    assert await record_of(neighbour) is not None


async def test_a_closing_that_was_cut_off_is_finished(workshop: Workshop, closer: Closer) -> None:
    await filled(workshop)
    await mark_closed(workshop)
    await closer.clear_closed()
    await workshop.indexer.flush()
    assert await left_of(workshop) == {}
    with pytest.raises(CompanyKeyGone):
        await workshop.services.keys.get(workshop.company_id)


async def test_clearing_away_may_be_cut_off_anywhere(
    workshop: Workshop, closer: Closer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(workshop)
    await workshop.services.companies.close(workshop.company_id)
    later(clock)
    cut_off = 0
    while await record_of(workshop) is not None:
        with monkeypatch.context() as patch:
            allowed = _Allowed(cut_off % 3)
            for store in (workshop.services.documents, workshop.services.objects, workshop.vectors):
                patch.setattr(store, "delete", allowed.counted(store.delete))
            objects = workshop.services.objects
            patch.setattr(objects, "delete_many", allowed.counted(objects.delete_many))
            try:
                await closer.clear_closed()
            except DocumentsUnavailable:
                cut_off += 1
                assert await record_of(workshop) is not None, "by which the next round finds it"
    assert cut_off > 5
    assert await left_of(workshop) == {}


class _Allowed:
    """Lets so many calls through, and fails the others."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def counted(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise DocumentsUnavailable
            return await call(*args, **options)

        return counted


async def test_a_worker_that_still_has_the_key_brings_nothing_back(
    workshop: Workshop, closer: Closer
) -> None:
    await filled(workshop)
    _, late = await workshop.enrolment("late", person(5))
    await mark_closed(workshop)
    await workshop.services.keys.get(workshop.company_id)
    before = await left_of(workshop)
    await workshop.registrar.handle(workshop.company_id, [late])
    assert await left_of(workshop) == before
    await closer.clear_closed()
    assert await left_of(workshop) == {}


async def test_what_was_written_while_it_was_closed_is_cleared_by_the_next_round(
    workshop: Workshop, closer: Closer, clock: Clock
) -> None:
    await filled(workshop)
    services, company_id = workshop.services, workshop.company_id
    member = (await services.documents.find(MEMBERS, company_id)).items[0]
    login = (await services.documents.find(LOGINS, PLATFORM)).items[0]
    point = (await workshop.vectors.scroll(company_id, after=None, limit=1))[0][0]
    await services.companies.close(company_id)
    await closer.clear_closed()
    # Whoever had begun before: an invitation, an enrolment.
    await services.documents.insert(MEMBERS, company_id, member)
    await services.documents.insert(
        LOGINS, PLATFORM, login.model_copy(update={"id": member.email_hash, "member_id": member.id})
    )
    await workshop.vectors.upsert(company_id, [point])
    await services.objects.put(company_id, "photos/late", b"sealed")
    later(clock)
    await closer.clear_closed()
    assert await left_of(workshop) == {}
    assert await record_of(workshop) is None
