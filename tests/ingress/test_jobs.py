import asyncio

from tests.ingress.conftest import Client
from tests.ingress.worker import Worker, searched

NOW = {"Prefer": "respond-async"}


async def test_a_job_is_asked_after(client: Client, worker: Worker) -> None:
    worker.hold = True
    pending = await client.search(headers=NOW)
    queued = await client.call("GET", pending.headers["Location"])
    assert queued.body == pending.body
    assert queued.body["ended_at"] is None
    job = await worker.job()
    await worker.finish(client.company_id, job, searched(client.services, job, "ada"))
    ended = (await client.call("GET", pending.headers["Location"])).body
    assert ended["state"] == "succeeded"
    assert ended["result"]["best"]["user_id"] == "ada"
    assert ended["problem"] is None
    assert ended["ended_at"].endswith("Z")


async def test_who_waits_for_a_job_is_held_until_it_ends(client: Client, worker: Worker) -> None:
    worker.hold = True
    pending = await client.search(headers=NOW)
    held = asyncio.create_task(client.call("GET", f"{pending.headers['Location']}?wait=30"))
    job = await worker.job()
    await worker.finish(client.company_id, job, searched(client.services, job, None))
    assert (await held).body["state"] == "succeeded"


async def test_the_jobs_of_a_correlation_id(client: Client, worker: Worker) -> None:
    for _ in range(3):
        await client.search(headers={"X-Correlation-ID": "door-7"})
    await client.search(headers={"X-Correlation-ID": "door-8"})
    first = await client.call("GET", "/jobs?correlation_id=door-7&limit=2")
    assert [item["correlation_id"] for item in first.body["items"]] == ["door-7"] * 2
    url = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    last = await client.call("GET", url)
    assert len(last.body["items"]) == 1
    assert last.body["next_cursor"] is None
    assert "Link" not in last.headers
    job_ids = [item["job_id"] for item in first.body["items"] + last.body["items"]]
    assert job_ids == [job.id for job in reversed(worker.jobs[:3])]


async def test_waiting_on_a_correlation_id_that_comes_later(client: Client) -> None:
    held = asyncio.create_task(client.call("GET", "/jobs?correlation_id=later&wait=30"))
    await client.search(headers={"X-Correlation-ID": "later"})
    (item,) = (await held).body["items"]
    assert item["state"] == "succeeded"


async def test_a_correlation_id_nobody_used(client: Client) -> None:
    answer = await client.call("GET", "/jobs?correlation_id=nobody&wait=0.01")
    assert answer.body == {"items": [], "next_cursor": None}


async def test_another_companys_jobs_are_not_there(client: Client, stranger: Client) -> None:
    job_id = (await client.search(headers={"X-Correlation-ID": "mine"})).body["job_id"]
    other = await stranger.register("bob@example.org")
    assert (await other.call("GET", f"/jobs/{job_id}?wait=30")).code == "not_found"
    assert (await other.call("GET", "/jobs?correlation_id=mine")).body["items"] == []


async def test_a_wrong_query_is_refused(client: Client) -> None:
    job_id = (await client.search()).body["job_id"]
    for path, wrong in {
        "/jobs": "correlation_id",
        "/jobs?correlation_id=a&wait=-1": "wait",
        "/jobs?correlation_id=a&wait=nan": "wait",
        "/jobs?correlation_id=a&limit=501": "limit",
        "/jobs?correlation_id=a&correlation_id=b": "correlation_id",
        "/jobs?correlation_id=a&status=queued": "status",
        f"/jobs/{job_id}?wait=-1": "wait",
        f"/jobs/{job_id}?wait=soon": "wait",
    }.items():
        answer = await client.call("GET", path)
        assert (answer.status, answer.code) == (422, "invalid_request")
        assert [path, *(error["field"] for error in answer.body["errors"])] == [path, wrong]


async def test_a_longer_wait_than_is_allowed_is_cut(client: Client) -> None:
    job_id = (await client.search()).body["job_id"]
    assert (await client.call("GET", f"/jobs/{job_id}?wait=inf")).status == 200


async def test_a_cursor_of_another_listing_is_refused(client: Client) -> None:
    for _ in range(2):
        await client.search(headers={"X-Correlation-ID": "a"})
    cursor = (await client.call("GET", "/jobs?correlation_id=a&limit=1")).body["next_cursor"]
    assert (await client.call("GET", f"/jobs?correlation_id=a&cursor={cursor}")).status == 200
    for query in (f"/jobs?correlation_id=b&cursor={cursor}", f"/logs?cursor={cursor}"):
        assert (await client.call("GET", query)).code == "invalid_cursor"
