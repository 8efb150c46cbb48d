"""Who would wait for too long is told so at once; nobody else is."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from infra.broker.port import BrokerUnavailable, Lag, Subscription, Topic
from infra.broker.topics import GROUP, SEARCH
from infra.clock import ManualClock
from ingress.overload import QueuePace
from tests.ingress.conftest import Answer, Client, form
from tests.ingress.worker import Worker, searched

ASYNC = {"Prefer": "respond-async"}


def expected(*seen: tuple[int, int], every_s: float = 1) -> float:
    """What is reckoned of (consumed, waiting), seen at even times."""
    pace = QueuePace()
    for number, (consumed, waiting) in enumerate(seen):
        pace.saw(number * every_s, consumed=consumed, waiting=waiting)
    return pace.expected_wait_s


def test_the_wait_is_those_before_at_the_pace_that_is_seen() -> None:
    assert expected(*((20 * second, 400) for second in range(8))) == pytest.approx(20)


def test_a_queue_that_does_not_move_has_waited_for_as_long_as_it_is_watched() -> None:
    assert expected(*((7, 3) for _ in range(31))) == 29


def test_no_wait_is_expected_where_little_is_known() -> None:
    assert expected((0, 10_000)) == 0, "one look tells no pace"
    assert expected((0, 10_000), (1, 10_000)) == 0, "two looks that were not confirmed are none"
    assert expected((0, 0), (0, 0), (0, 500)) == 0, "a burst after quiet"
    assert expected((0, 0), (0, 500), (60, 600), (120, 700)) == pytest.approx(10)


def test_a_burst_is_not_measured_by_the_trickle_before_it() -> None:
    trickle = [(number, 2) for number in range(20)]
    assert expected(*trickle, (69, 250), (119, 200)) < 10


def test_whoever_comes_to_a_queue_that_was_emptied_waits_for_nothing_long() -> None:
    busy = [(20 * second, 400) for second in range(8)]
    assert expected(*busy, (140 + 400, 300)) == 0, "all who were in it are through"
    assert expected(*busy, (540, 0), (540, 0)) == 0


def test_workers_that_go_away_are_noticed_within_seconds() -> None:
    busy = [(50 * second, 100) for second in range(20)]
    gone = [(950, 100 + 50 * second) for second in range(1, 6)]
    assert expected(*busy) == pytest.approx(2)
    assert expected(*busy, *gone) > 5
    gone += [(950, 400)] * 15
    assert expected(*busy, *gone) > 15


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"wait_s": 5, "search_ttl_s": 60}


async def seconds(clock: ManualClock, count: int) -> None:
    """Let so many pass, with a look at the queue in each."""
    for _ in range(count):
        await clock.until_sleeping()
        clock.advance(1)
    await clock.until_sleeping()


async def done(subscription: Subscription, count: int) -> None:
    """Work off so many of the queue."""
    while count > 0:
        deliveries = await subscription.fetch(max_messages=count, max_bytes=2**26, wait_s=5)
        await subscription.done(deliveries)
        count -= len(deliveries)


async def submitted(
    client: Client, *, path: str = "/face/search", user_id: str | None = None
) -> tuple[int, str | None]:
    data = form(user_id=user_id) if user_id else form()
    answer = await client.call("POST", path, data=data, headers=ASYNC)
    return answer.status, answer.code


async def answered(client: Client, **headers: str) -> Answer:
    """A call that waits for its job, which is ended as soon as it is there."""
    services, company_id = client.services, client.company_id
    soon = services.clock.now() + timedelta(seconds=1)
    before = {job.id for job in (await services.jobs.queued(company_id, soon)).items}
    call = asyncio.create_task(client.search(headers=headers))
    while not call.done():
        for job in (await services.jobs.queued(company_id, soon)).items:
            if job.id not in before:
                await Worker(services).finish(company_id, job, searched(services, job, None))
    return await call


async def test_searches_are_refused_by_what_they_can_wait_and_enrolments_never(
    stranger: Client, clock: ManualClock
) -> None:
    """With workers that do not come, the queue has waited for as long as it stands still."""
    client = await stranger.register()
    for _ in range(3):
        assert await submitted(client) == (202, None)
    await seconds(clock, 4)
    assert (await answered(client)).status == 200

    await seconds(clock, 6)
    refused = await client.search()
    assert (refused.status, refused.code) == (503, "overloaded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "job_id" not in refused.body
    assert (await client.search(headers={"Prefer": "wait=1"})).code == "overloaded"
    assert (await answered(client, Prefer="wait=60")).status == 200, "who waits longer may"
    for path, user_id in {"/face/search": None, "/face/detect": None, "/face/enroll": "ada"}.items():
        assert await submitted(client, path=path, user_id=user_id) == (202, None), "nobody waits for it"
    verification = await client.call("POST", "/face/verify", data=form(user_id="ada"))
    assert verification.code == "overloaded", "whoever it is about"

    await seconds(clock, 60)
    assert await submitted(client) == (503, "overloaded")
    assert await submitted(client, path="/face/detect") == (503, "overloaded")
    assert await submitted(client, path="/face/enroll", user_id="eve") == (202, None)
    outcomes = [entry["code"] for entry in (await client.call("GET", "/logs")).body["items"]]
    assert "overloaded" not in outcomes, "nothing is written of what is refused for want of time"

    subscription = await client.services.broker.subscribe(SEARCH, GROUP)
    await done(subscription, (await client.services.broker.lag(SEARCH, GROUP)).messages)
    await subscription.close()
    await seconds(clock, 1)
    assert await submitted(client) == (202, None)
    assert (await answered(client)).status == 200


async def test_the_pace_of_the_workers_decides(stranger: Client, clock: ManualClock) -> None:
    client = await stranger.register()
    for _ in range(40):
        assert await submitted(client) == (202, None)
    subscription = await client.services.broker.subscribe(SEARCH, GROUP)
    try:
        for _ in range(4):
            await done(subscription, 2)
            await seconds(clock, 1)
        refused = await client.search()
        assert (refused.code, refused.headers["Retry-After"]) == ("overloaded", "11"), "32 at 2 a second"
        assert client.services.metrics.value("faceid_search_expected_wait_seconds") == 16
        for _ in range(4):
            await done(subscription, 7)
            await seconds(clock, 1)
        assert (await answered(client)).status == 200, "4 at 7 a second"
    finally:
        await subscription.close()


async def test_a_repetition_under_its_key_is_answered_all_the_same(
    stranger: Client, clock: ManualClock
) -> None:
    client = await stranger.register()
    key = {**ASYNC, "Idempotency-Key": "a-search"}
    first = await client.call("POST", "/face/search", data=form(), headers=key)
    await seconds(clock, 70)
    again = await client.call("POST", "/face/search", data=form(), headers=key)
    assert (again.status, again.body["job_id"]) == (202, first.body["job_id"])
    other = {**ASYNC, "Idempotency-Key": "another"}
    assert (await client.call("POST", "/face/search", data=form(), headers=other)).code == "overloaded"


async def test_where_the_queue_cannot_be_looked_at_everybody_is_let_in(
    stranger: Client, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await stranger.register()
    assert await submitted(client) == (202, None)
    await seconds(clock, 70)
    assert await submitted(client) == (503, "overloaded")
    broker = client.services.broker

    async def silent(_topic: Topic, _group: str) -> Lag:
        raise BrokerUnavailable("down")

    monkeypatch.setattr(broker, "lag", silent)
    await seconds(clock, 1)
    assert await submitted(client) == (202, None)
