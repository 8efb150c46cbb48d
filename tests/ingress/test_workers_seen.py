"""An ingress alone tells whether workers answer by their signs of life, and by no clock but its own."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from infra.clock import ManualClock
from infra.repositories.collections import WORKER_SIGNS
from infra.repositories.worker_signs import WorkerSigns
from infra.seen import Seen
from infra.services import Services
from ingress.workers_seen import WorkersSeen
from schemas.recognition import Engine

_READY = {"model": "ready", "index": "ready"}
_ALL_ROLES = ("face", "registrar", "relay", "retention")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def signs(services: Services) -> WorkerSigns:
    """A worker's, whose clock is an hour ahead."""
    clock = ManualClock()
    clock.advance(3600)
    return WorkerSigns(services.documents, clock)


async def parts(seen: WorkersSeen) -> Mapping[str, str]:
    return (await seen.state()).parts


async def test_a_worker_answers_while_its_sign_moves(
    services: Services, clock: ManualClock, signs: WorkerSigns
) -> None:
    seen = WorkersSeen(services)
    assert await parts(seen) == {"model": "not known yet", "index": "not known yet"}
    await signs.give("one", _ALL_ROLES, Seen(_READY))
    await seen.look()
    assert await parts(seen) == {"model": "not known yet", "index": "not known yet"}, "it may be an old one"
    await signs.give("one", _ALL_ROLES, Seen(_READY))
    await seen.look()
    assert await parts(seen) == _READY
    clock.advance(30)
    await seen.look()
    assert await parts(seen) == {"model": "no worker answers", "index": "no worker answers"}


async def test_a_part_is_ready_if_one_worker_of_its_role_has_it(
    services: Services, signs: WorkerSigns
) -> None:
    seen = WorkersSeen(services)
    for _ in range(2):
        await signs.give("sick", ("face",), Seen({"model": "not answering", "index": "ready"}))
        await seen.look()
    assert await parts(seen) == {"model": "not answering", "index": "not known yet"}
    for _ in range(2):
        await signs.give("well", ("face",), Seen(_READY))
        await signs.give("registrar", ("registrar",), Seen({"index": "ready"}))
        await seen.look()
    assert await parts(seen) == _READY


async def test_what_computes_templates_is_told_once_of_all_workers_that_answer(
    services: Services, signs: WorkerSigns, clock: ManualClock
) -> None:
    seen = WorkersSeen(services)
    here = Engine(name="openvino 1", device="cpu", precision="bf16")
    there = Engine(name="torch 1", device="cuda:0", precision="f16")
    for _ in range(2):
        for worker, engine in {"one": there, "two": here, "three": here}.items():
            await signs.give(worker, ("face",), Seen(_READY, (engine,)))
        await signs.give("registrar", ("registrar",), Seen({"index": "ready"}))
        await seen.look()
    assert (await seen.state()).engines == (here, there), "each once"
    clock.advance(30)
    await seen.look()
    assert (await seen.state()).engines == ()


async def test_who_stops_in_good_order_is_seen_to_be_gone_at_once(
    services: Services, signs: WorkerSigns, clock: ManualClock
) -> None:
    seen = WorkersSeen(services)
    for _ in range(2):
        await signs.give("one", _ALL_ROLES, Seen(_READY))
        await seen.look()
    clock.advance(25)
    for _ in range(2):
        await signs.give("one", _ALL_ROLES, Seen(_READY))
        await seen.look()
    await signs.take_back("one")
    await seen.look()
    assert await parts(seen) == {"model": "no worker answers", "index": "no worker answers"}


async def test_signs_are_forgotten_and_many_are_all_seen(services: Services, signs: WorkerSigns) -> None:
    for number in range(501):
        await signs.give(f"worker-{number}", ("relay",), Seen({}))
    assert len(await signs.all()) == 501
    later = signs.clock.now() + timedelta(hours=1)
    assert await services.documents.delete_expired(WORKER_SIGNS, later, limit=1000) == 501
    assert await signs.all() == []
