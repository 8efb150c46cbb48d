import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.repositories.jobs import Ending
from ingress.resources.jobs import SEEN_WITH
from schemas.access import KEY_SCOPES, Role, Scope
from schemas.jobs import JobKind, JobRecord, JobState
from schemas.results import FaceResult, SearchResult
from tests.ingress.conftest import Client
from tests.ingress.worker import FACE, Worker, searched

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
        "/jobs?wait=1": "wait",
        "/jobs?kind=enroll&wait=0.1": "wait",
        "/jobs?kind=enrol": "kind",
        "/jobs?state=done": "state",
        "/jobs?from=yesterday": "from",
        "/jobs?to=2026-13-01": "to",
        "/jobs?correlation_id=": "correlation_id",
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


async def listed(client: Client, query: str = "", *, limit: int = 2) -> list[dict[str, Any]]:
    """All pages of a listing, small ones."""
    items: list[dict[str, Any]] = []
    path = f"/jobs?limit={limit}{query}"
    while True:
        answer = await client.call("GET", path)
        assert answer.status == 200, answer.body
        items += answer.body["items"]
        if answer.body["next_cursor"] is None:
            assert "Link" not in answer.headers
            return items
        path = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')


async def some_jobs(client: Client, worker: Worker) -> None:
    """One job of each kind and some states, in this order: enroll, search, delete_face, search that was
    refused, erase_user, search that is queued."""
    face_id = (await client.enrol("ada", headers={"X-Correlation-ID": "x"})).body["face_id"]
    await client.search(headers={"X-Correlation-ID": "x"})
    await client.call("DELETE", f"/faces/{face_id}")
    worker.refuse_with = "no_face"
    await client.search(headers={"X-Correlation-ID": "x"})
    await client.call("DELETE", "/users/ada")
    worker.hold = True
    await client.search(headers=NOW)


async def test_jobs_are_filtered_in_every_combination(client: Client, worker: Worker) -> None:
    await some_jobs(client, worker)
    everything = await listed(client)
    assert [(job["kind"], job["state"]) for job in everything] == [
        ("search", "queued"),
        ("erase_user", "succeeded"),
        ("search", "failed"),
        ("delete_face", "succeeded"),
        ("search", "succeeded"),
        ("enroll", "succeeded"),
    ]
    start, end = everything[3]["created_at"], everything[0]["created_at"]
    for correlation_id in (None, "x", "unknown"):
        for kind in (None, *JobKind):
            for state in (None, *JobState):
                for period in ("", f"&from={start}", f"&from={start}&to={end}"):
                    expected = [
                        job
                        for job in everything
                        if correlation_id in {None, job["correlation_id"]}
                        and kind in {None, job["kind"]}
                        and state in {None, job["state"]}
                        and (not period or job["created_at"] >= start)
                        and ("to" not in period or job["created_at"] < end)
                    ]
                    query = period
                    query += f"&correlation_id={correlation_id}" if correlation_id else ""
                    query += f"&kind={kind}" if kind else ""
                    query += f"&state={state}" if state else ""
                    assert (query, await listed(client, query)) == (query, expected)


async def test_what_is_submitted_while_a_listing_is_read_moves_no_page(client: Client) -> None:
    for _ in range(3):
        await client.search()
    before = await listed(client)
    first = await client.call("GET", "/jobs?limit=2")
    await client.search()
    rest = await client.call("GET", f"/jobs?limit=2&cursor={first.body['next_cursor']}")
    assert first.body["items"] + rest.body["items"] == before


async def test_a_page_that_looked_through_too_much_is_short_and_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.repositories.job_lists._SCANNED_MAX", 2)
    same = {"X-Correlation-ID": "same"}
    await client.enrol(headers=same)
    for _ in range(4):
        await client.search(headers=same)
    page = await client.call("GET", "/jobs?correlation_id=same&kind=enroll&limit=2")
    assert page.body["items"] == []
    assert page.body["next_cursor"] is not None
    assert len(await listed(client, "&correlation_id=same&kind=enroll")) == 1


def key(*scopes: Scope, number: int = 1) -> dict[str, Any]:
    """Who calls with an API key of these scopes."""
    return {"credential": f"key:{number}", "member_id": None, "scopes": frozenset(scopes)}


async def seen(client: Client) -> set[str]:
    """The kinds of jobs that are listed, each of which is shown by its id, and no other."""
    items = await listed(client)
    for item in items:
        assert (await client.call("GET", f"/jobs/{item['job_id']}")).body == item
    return {item["kind"] for item in items}


def test_each_kind_of_job_is_seen_with_some_scope() -> None:
    assert set(SEEN_WITH) == set(JobKind)
    assert all(scopes and scopes <= KEY_SCOPES for scopes in SEEN_WITH.values())


async def test_a_key_sees_the_kinds_that_its_scopes_are_about(
    client: Client, worker: Worker, calls_as: Callable[..., None]
) -> None:
    await some_jobs(client, worker)
    everything = await listed(client)
    people = {"enroll", "delete_face", "erase_user"}
    for scope, kinds in {
        Scope.SEARCH: {"search"},
        Scope.LOGS_READ: {"search"},
        Scope.FACES_READ: people,
        Scope.FACES_WRITE: people,
        Scope.INVESTIGATE: set[str](),
    }.items():
        calls_as(**key(scope))
        assert (scope, await seen(client)) == (scope, kinds)
        for job in everything:
            answer = await client.call("GET", f"/jobs/{job['job_id']}")
            assert (answer.code is None) == (job["kind"] in kinds)
        with_id = await listed(client, "&correlation_id=x")
        assert {job["kind"] for job in with_id} == kinds & {"search", "enroll"}


async def test_a_key_that_is_bound_to_groups_sees_its_own_jobs_only(
    client: Client, worker: Worker, calls_as: Callable[..., None]
) -> None:
    await some_jobs(client, worker)
    foreign = (await listed(client))[0]["job_id"]
    calls_as(**key(*KEY_SCOPES), groups=frozenset({"hq"}))
    assert await listed(client) == []
    assert await listed(client, "&correlation_id=x") == []
    assert (await client.call("GET", f"/jobs/{foreign}?wait=30")).code == "not_found"
    own = (await client.search(headers={**NOW, "X-Correlation-ID": "x"})).body["job_id"]
    for query in ("", "&kind=search", "&state=queued", "&correlation_id=x"):
        assert [job["job_id"] for job in await listed(client, query)] == [own]
    assert await listed(client, "&kind=enroll") == []
    assert (await client.call("GET", f"/jobs/{own}")).status == 200


async def test_a_key_sees_what_it_submitted_whatever_its_scopes_are_now(
    client: Client, worker: Worker, calls_as: Callable[..., None]
) -> None:
    calls_as(**key(Scope.SEARCH))
    job_id = (await client.search()).body["job_id"]
    calls_as(**key(Scope.INVESTIGATE))
    assert (await client.call("GET", f"/jobs/{job_id}")).status == 200
    calls_as(**key(Scope.INVESTIGATE, number=2))
    assert (await client.call("GET", f"/jobs/{job_id}")).code == "not_found"


def investigated(client: Client, job: JobRecord, threshold: float = 85) -> Ending:
    """A search that shows somebody below the company's threshold; matched, if less was asked for."""
    ending = searched(client.services, job, "ada")
    assert isinstance(ending.answer, SearchResult)
    accepted = threshold < 85
    below = ending.answer.candidates[0].model_copy(update={"accepted": accepted, "confidence": 40})
    face = FaceResult(
        matched=accepted,
        best=below if accepted else None,
        candidates=[below],
        face=FACE,
        threshold=threshold,
        threshold_source="request" if accepted else "company",
    )
    about = face.model_dump(exclude={"code", "detail"}) | {"results": [face.model_dump()]}
    return replace(ending, answer=SearchResult.model_validate(ending.answer.model_dump() | about))


@pytest.mark.parametrize("threshold", [85, 5])
async def test_only_who_may_investigate_reads_what_would_open_no_door(
    client: Client, worker: Worker, calls_as: Callable[..., None], threshold: float
) -> None:
    worker.hold = True
    pending = await client.search(headers=NOW, investigate="true")
    job = await worker.job()
    await worker.finish(client.company_id, job, investigated(client, job, threshold))
    for scopes in ({Scope.SEARCH}, {Scope.FACES_READ, Scope.LOGS_READ}, {Scope.SEARCH, Scope.INVESTIGATE}):
        calls_as(**key(*scopes))
        result = (await client.call("GET", pending.headers["Location"])).body["result"]
        assert ("ada" in str(result)) == (Scope.INVESTIGATE in scopes)
        assert threshold < 85 or (result["matched"], len(result["results"])) == (False, 1)


async def test_who_has_lost_the_right_to_investigate_reads_no_more_of_what_they_found(
    client: Client, worker: Worker
) -> None:
    worker.hold = True
    same = {"Idempotency-Key": "a"}
    await client.search(headers={**NOW, **same}, investigate="true")
    job = await worker.job()
    await worker.finish(client.company_id, job, investigated(client, job))
    assert (await client.search(headers=same, investigate="true")).body["candidates"] != []
    await client.become(Role.STAFF)
    assert (await client.search(headers=same, investigate="true")).body["candidates"] == []


async def test_who_reads_the_log_only_is_not_told_more_of_people_than_it_says(
    client: Client, worker: Worker, calls_as: Callable[..., None]
) -> None:
    worker.recognise = "ada"
    job_id = (await client.search()).body["job_id"]
    calls_as(**key(Scope.LOGS_READ))
    answer = await client.call("GET", f"/jobs/{job_id}")
    assert (answer.body["state"], answer.body["result"]) == ("succeeded", None)
    calls_as(**key(Scope.SEARCH))
    assert (await client.call("GET", f"/jobs/{job_id}")).body["result"]["best"]["user_id"] == "ada"
