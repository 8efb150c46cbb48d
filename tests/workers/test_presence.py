"""A worker is seen while it lives: from its start, whatever becomes of its parts, until it stops."""

import pytest

from infra.clock import ManualClock
from infra.repositories.worker_signs import WorkerSigns
from infra.seen import Seen
from infra.services import Services
from schemas.records import WorkerSign
from tests.workers.conftest import ENGINE
from workers.presence import present


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_worker_gives_signs_from_its_start_to_its_stop(
    services: Services, clock: ManualClock
) -> None:
    asked = 0

    async def check() -> Seen:
        nonlocal asked
        asked += 1
        return Seen({"model": "ready" if asked == 1 else "not answering"}, (ENGINE,))

    async def sign() -> WorkerSign:
        (sign,) = await WorkerSigns(services.documents, clock).all()
        return sign

    async with present(services, ("face",), check):
        assert ((await sign()).version, (await sign()).roles) == (1, ("face",))
        for number in range(2, 8):
            await clock.until_sleeping()
            clock.advance(7)
            await clock.until_sleeping()
            assert (await sign()).version == number
        assert (asked, (await sign()).parts) == (2, {"model": "not answering"})
        assert (await sign()).engines == (ENGINE,)
    assert await WorkerSigns(services.documents, clock).all() == []


async def test_a_sign_that_was_swept_away_is_given_anew(services: Services, clock: ManualClock) -> None:
    signs = WorkerSigns(services.documents, clock)
    await signs.give("one", ("relay",), Seen({}))
    await signs.take_back("one")
    await signs.give("one", ("relay",), Seen({}))
    assert [sign.id for sign in await signs.all()] == ["one"]
