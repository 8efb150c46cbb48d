from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from infra.clock import ManualClock
from schemas.access import Role, Scope
from schemas.jobs import Outcome
from schemas.paging import encode_cursor
from tests.ingress.access_log import attempt, without_details
from tests.ingress.conftest import Client, form
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
        *("time", "job_id", "kind", "outcome", "code", "user_id", "other_user_ids", "nearest_user_id"),
        *("score", "similarity"),
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


async def test_every_combination_of_filters_is_answered(client: Client, clock: ManualClock) -> None:
    users = (None, "ada", "bob")
    devices = (None, "door-1", "door-2")
    outcomes = (Outcome.MATCHED, Outcome.REFUSED)
    made: list[dict[str, Any]] = []
    for user_id, device_id, outcome in (*product(users, devices, outcomes), ("ada", "door-1", "matched")):
        clock.advance(10)
        given: dict[str, Any] = {"user_id": user_id, "device_id": device_id, "outcome": outcome}
        await attempt(client, at=clock.now(), **given)
        made.insert(0, {**given, "time": clock.now().isoformat().replace("+00:00", "Z")})
    start, end = made[-3]["time"], made[2]["time"]
    for user_id, device_id, outcome, from_, to in product(
        (None, "ada", "nobody"), (None, "door-1"), (None, *outcomes, "expired"), (None, start), (None, end)
    ):
        query = {"user_id": user_id, "device_id": device_id, "outcome": outcome}
        given = {name: value for name, value in query.items() if value is not None}
        period = {name: at for name, at in (("from", from_), ("to", to)) if at}
        expected = [
            entry["time"].replace("Z", ".000Z")
            for entry in made
            if all(entry[name] == value for name, value in given.items())
            and (from_ or "") <= entry["time"] < (to or "9")
        ]
        found: list[str] = []
        page: dict[str, Any] = {}
        while page.get("cursor", "") is not None:
            answer = await client.call("GET", "/logs", params={**given, **period, **page, "limit": "2"})
            assert answer.status == 200, answer.body
            found += [entry["time"] for entry in answer.body["items"]]
            page = {"cursor": answer.body["next_cursor"]}
        assert (given, period, found) == (given, period, expected)


async def test_everybody_on_a_photo_has_the_entry_in_their_list(client: Client, clock: ManualClock) -> None:
    await attempt(client, user_id="ada", other_user_ids=("bob", "eve"), at=clock.now())
    for user_id in ("ada", "bob", "eve"):
        (entry,) = await entries(client, user_id=user_id)
        assert (entry["user_id"], entry["other_user_ids"]) == ("ada", ["bob", "eve"])


async def test_who_was_nearest_is_in_no_list_of_a_user(client: Client, clock: ManualClock) -> None:
    await attempt(client, user_id="ada", nearest_user_id="bob", at=clock.now())
    (entry,) = await entries(client)
    assert entry["nearest_user_id"] == "bob"
    (entry,) = await entries(client, user_id="ada")
    assert entry["nearest_user_id"] is None
    assert await entries(client, user_id="bob") == []


async def test_a_person_who_was_erased_is_in_no_list(client: Client, clock: ManualClock) -> None:
    await client.enrol("ada")
    await attempt(client, user_id="ada", other_user_ids=("bob",), device_id="door-1", at=clock.now())
    user_hash = await client.services.users.hash_of(client.company_id, "ada")
    await client.services.jobs.forget_user(client.company_id, user_hash, "somebody")
    assert await entries(client, user_id="ada") == []
    assert await entries(client, user_id="ada", device_id="door-1") == []
    (entry,) = await entries(client, user_id="bob", device_id="door-1")
    assert (entry["user_id"], entry["other_user_ids"]) == ("somebody", ["bob"])
    assert len(await entries(client, device_id="door-1")) == 1


async def test_a_refusal_of_the_ingress_and_one_of_the_worker_are_found_by_their_device(
    client: Client, worker: Worker
) -> None:
    location = '{"device_id": "door-7"}'
    await client.search(b"GIF89a", location=location)
    await client.search(location=location)
    found = await entries(client, device_id="door-7")
    assert {entry["outcome"] for entry in found} == {"not_matched", "refused"}
    assert await entries(client, device_id="door-8") == []


async def test_a_refusal_tells_the_photos_hash_until_who_it_was_said_to_be_of_is_erased(
    client: Client, clock: ManualClock
) -> None:
    key = await client.services.keys.get(client.company_id)
    photo = b"GIF89a"
    await client.enrol("ada")
    await client.search(photo)
    for path in ("/face/enroll", "/face/verify"):
        clock.advance(1)
        answer = await client.call("POST", path, data=form(photo, user_id="ada"))
        assert answer.code == "unsupported_media_type"
    refused = await entries(client, outcome="refused")
    assert [entry["photo_hash"] for entry in refused] == [key.photo_hash(photo)] * 3
    user_hash = await client.services.users.hash_of(client.company_id, "ada")
    await client.services.jobs.forget_user(client.company_id, user_hash, "somebody")
    refused = await entries(client, outcome="refused")
    assert [entry["photo_hash"] for entry in refused] == [None, None, key.photo_hash(photo)]


async def test_an_attempt_that_nobody_got_to_has_its_place_in_the_log(client: Client, worker: Worker) -> None:
    worker.hold = True
    await client.call("POST", "/face/search", json={}, headers={"Prefer": "respond-async"})
    await client.search(location='{"device_id": "door-7"}', headers={"Prefer": "respond-async"})
    job = await worker.job()
    await worker.finish(client.company_id, job, without_details(job))
    (entry,) = await entries(client, device_id="door-7")
    assert (entry["outcome"], entry["location"]) == ("expired", {"device_id": "door-7"})


async def test_a_key_that_is_bound_to_groups_sees_what_it_sent_itself(
    client: Client, clock: ManualClock, calls_as: Callable[..., None]
) -> None:
    for by, user_id in product(("key:1", "key:2", "member:x"), (None, "ada")):
        await attempt(
            client, user_id=user_id, nearest_user_id="eve", device_id="door-1", by=by, at=clock.now()
        )
    a_key = {"credential": "key:1", "member_id": None, "scopes": frozenset({Scope.LOGS_READ})}
    calls_as(**a_key)
    assert len(await entries(client)) == 6
    calls_as(**a_key, groups=frozenset({"hq"}))
    for query in ({}, {"device_id": "door-1"}, {"outcome": "matched"}):
        found = await entries(client, **query)
        assert {(entry["credential"], entry["nearest_user_id"]) for entry in found} == {("key:1", None)}
        assert len(found) == 2
    for query in ({"user_id": "ada"}, {"user_id": "ada", "device_id": "door-1", "outcome": "matched"}):
        (entry,) = await entries(client, **query)
        assert (entry["credential"], entry["user_id"]) == ("key:1", "ada")


async def test_a_page_of_json_has_its_bounds(client: Client) -> None:
    for limit, status in {"500": 200, "501": 422, "0": 422, "-1": 422, "9" * 5000: 422, "x": 422}.items():
        assert (limit[:9], (await client.call("GET", f"/logs?limit={limit}")).status) == (limit[:9], status)


async def test_a_cursor_that_was_made_up_is_refused(client: Client) -> None:
    positions: tuple[Any, ...] = ((), ("x",), ("x", "y"), (None, 1), (1.5, True), (b"", b""), ([], {}))
    for position in positions:
        cursor = encode_cursor(position, "logs", {}) if position != ([], {}) else "W10"
        for accept in ("application/json", "text/csv"):
            answer = await client.call("GET", f"/logs?cursor={cursor}", headers={"Accept": accept})
            assert (position, answer.status, answer.code) == (position, 400, "invalid_cursor")
