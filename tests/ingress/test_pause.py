"""A company that the operator has paused hands in no photos; all else of it works."""

import pytest

from tests.ingress.conftest import Client, form
from tests.ingress.worker import Worker

PATHS = ("/face/search", "/face/verify", "/face/detect", "/face/enroll")


async def test_a_paused_company_hands_in_no_photos(client: Client, worker: Worker) -> None:
    companies = client.services.companies
    await client.enrol("ada")
    assert await companies.pause(client.company_id, paused=True)
    for path in PATHS:
        answer = await client.call("POST", path, data=form(user_id="ada"))
        assert (path, answer.status, answer.code) == (path, 503, "company_paused")
        assert answer.headers["Retry-After"] == "60"
    paused_at = (await client.call("GET", "/company")).body["paused_at"]
    assert paused_at is not None
    assert len((await client.call("GET", "/logs")).body["items"]) == 1, "only what was an attempt"
    assert (await client.call("GET", "/users/ada")).status == 200
    assert (await client.call("PATCH", "/users/ada", json={"groups": ["night"]})).status == 200
    assert (await client.call("DELETE", "/users/ada")).status == 204
    assert await companies.pause(client.company_id, paused=False)
    assert (await client.search()).status == 200
    assert (await client.call("GET", "/company")).body["paused_at"] is None


async def test_what_was_accepted_before_is_finished_and_answered(client: Client, worker: Worker) -> None:
    key = {"Idempotency-Key": "a-search", "Prefer": "respond-async"}
    worker.hold = True
    accepted = await client.call("POST", "/face/search", data=form(), headers=key)
    await worker.job()
    await client.services.companies.pause(client.company_id, paused=True)
    again = await client.call("POST", "/face/search", data=form(), headers=key)
    assert (again.status, again.body["job_id"]) == (202, accepted.body["job_id"])
    fresh = {"Idempotency-Key": "another"}
    assert (await client.call("POST", "/face/search", data=form(), headers=fresh)).code == "company_paused"
    await client.services.companies.pause(client.company_id, paused=False)
    worker.hold = False
    assert (await client.call("POST", "/face/search", data=form(), headers=fresh)).status == 200


async def test_other_companies_go_on(client: Client, worker: Worker) -> None:
    other = await client.fresh().register("eve@example.org")
    await client.services.companies.pause(client.company_id, paused=True)
    assert (await other.search()).status == 200
    assert (await client.search()).code == "company_paused"


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_read_of_a_photo_that_is_not_taken(client: Client, path: str) -> None:
    await client.services.companies.pause(client.company_id, paused=True)
    answer = await client.call("POST", path, data=b"no form at all", headers={"Content-Type": "text/plain"})
    assert answer.code == "company_paused"
