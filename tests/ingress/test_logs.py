from typing import Any

import pytest

from infra.clock import ManualClock
from schemas.access import Role
from tests.ingress.conftest import Client
from tests.ingress.worker import Worker


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def entries(client: Client, **query: str) -> list[dict[str, Any]]:
    answer = await client.call("GET", "/logs", params=query)
    assert answer.status == 200, answer.body
    return answer.body["items"]


async def test_an_entry_says_what_happened(client: Client, worker: Worker) -> None:
    worker.recognise = "ada"
    await client.search(headers={"X-Correlation-ID": "door-7"})
    (entry,) = await entries(client)
    assert set(entry) == {
        *("time", "job_id", "kind", "outcome", "code", "user_id", "nearest_user_id", "score", "similarity"),
        *("confidence", "threshold", "location", "photo_hash", "credential", "correlation_id"),
    }
    assert (entry["outcome"], entry["user_id"], entry["correlation_id"]) == ("matched", "ada", "door-7")
    assert entry["time"] == "2026-01-01T00:00:00.000Z"
    assert entry["credential"].startswith("member:")


async def test_entries_are_listed_newest_first_page_by_page(client: Client, clock: ManualClock) -> None:
    times: list[str] = []
    for _ in range(5):
        clock.advance(1)
        await client.search()
    first = await client.call("GET", "/logs?limit=2")
    cursor = first.body["next_cursor"]
    clock.advance(1)
    await client.search()  # What comes later does not move the pages.
    times = [entry["time"] for entry in first.body["items"]]
    while cursor is not None:
        page = await client.call("GET", f"/logs?limit=2&cursor={cursor}")
        times += [entry["time"] for entry in page.body["items"]]
        cursor = page.body["next_cursor"]
    assert times == [f"2026-01-01T00:00:0{second}.000Z" for second in (5, 4, 3, 2, 1)]


async def test_the_entries_of_one_user(client: Client, clock: ManualClock) -> None:
    await client.enrol("ada")
    clock.advance(1)
    await client.enrol("bob")
    clock.advance(1)
    await client.search()
    assert [entry["user_id"] for entry in await entries(client, user_id="ada")] == ["ada"]
    assert await entries(client, user_id="nobody") == []
    assert [entry["nearest_user_id"] for entry in await entries(client)] == ["nearest", None, None]


async def test_the_entries_of_a_period(client: Client, clock: ManualClock) -> None:
    for _ in range(3):
        await client.search()
        clock.advance(200)
    assert len(await entries(client)) == 3
    period = {"from": "2026-01-01T00:03:20Z", "to": "2026-01-01T00:06:40Z"}
    assert [entry["time"] for entry in await entries(client, **period)] == ["2026-01-01T00:03:20.000Z"]
    assert await entries(client, to="2026-01-01") == []
    assert len(await entries(client, **{"from": "2026-01-01", "to": "2026-01-02"})) == 3


async def test_the_entries_of_one_outcome(client: Client, worker: Worker) -> None:
    await client.search()
    worker.refuse_with = "no_face"
    await client.search()
    assert [entry["code"] for entry in await entries(client, outcome="refused")] == ["no_face"]
    assert [entry["code"] for entry in await entries(client, outcome="not_matched")] == [None]
    assert (await client.call("GET", "/logs?outcome=lost")).code == "invalid_request"


async def test_another_companys_log_is_not_shown(client: Client, stranger: Client) -> None:
    await client.search()
    other = await stranger.register("bob@example.org")
    assert await entries(other) == []


async def test_who_may_read_the_log(client: Client) -> None:
    for role, status in {Role.ADMIN: 200, Role.AUDITOR: 200, Role.STAFF: 403}.items():
        await client.become(role)
        assert (role, (await client.call("GET", "/logs")).status) == (role, status)
