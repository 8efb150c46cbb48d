"""`faceid_client` against a real ingress, and against a server that fails as it is told to."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from faceid_client import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionLost,
    FaceIdError,
    JobPending,
    NotReachable,
    NotTrusted,
)
from infra.clock import ManualClock
from tests.ingress.conftest import PASSWORD, jpeg
from tests.ingress.conftest import Client as Ingress
from tests.ingress.worker import Worker, searched

pytestmark = pytest.mark.system

EMAIL = "ada@example.org"
PAST_THE_TOKENS_LIFE_S = 1000
"""Of the access token; the refresh token lives on."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def faceid(stranger: Ingress, worker: Worker, tls_folder: Path) -> AsyncIterator[AsyncClient]:
    """An admin who has logged in."""
    async with AsyncClient(stranger.base_url, ca_file=tls_folder / "ca.pem") as faceid:
        await faceid.register("Acme", EMAIL, PASSWORD)
        await faceid.login(EMAIL, PASSWORD)
        yield faceid


async def test_it_enrols_finds_and_deletes(faceid: AsyncClient, worker: Worker) -> None:
    enrolled = await faceid.enroll(
        jpeg(), "ada", full_name="Ada Lovelace", groups=["staff", "night"], metadata={"badge": 7}
    )
    assert (enrolled["user_id"], enrolled["full_name"]) == ("ada", "Ada Lovelace")
    assert (enrolled["groups"], enrolled["metadata"]) == (["staff", "night"], {"badge": 7})
    worker.recognise = "ada"
    found = await faceid.search(jpeg(), threshold="90%", location={"device_id": "door-1"})
    assert found["matched"]
    assert found["best"] is not None
    assert (found["best"]["user_id"], found["best"]["confidence"]) == ("ada", 99.5)
    assert found["face"]["box"]["width"] == 100
    assert (await faceid.face(enrolled["face_id"]))["user_id"] == "ada"
    await faceid.delete_face(enrolled["face_id"])
    await faceid.delete_user("ada")


async def test_a_photo_is_bytes_or_a_path(faceid: AsyncClient, worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg())
    for photo in (jpeg(), path, str(path)):
        await faceid.search(photo)
    assert worker.photos == [jpeg()] * 3


async def test_the_blocking_client_does_the_same_in_any_thread(
    faceid: AsyncClient, worker: Worker, stranger: Ingress, tls_folder: Path
) -> None:
    worker.recognise = "ada"

    def use() -> set[str]:
        with Client(stranger.base_url, ca_file=tls_folder / "ca.pem") as blocking:
            blocking.login(EMAIL, PASSWORD)
            assert blocking.enroll(jpeg(), "ada")["user_id"] == "ada"
            assert blocking.search(jpeg())["matched"]
            broken_off = blocking.pages("/logs", {}, limit=1)
            assert next(broken_off)["user_id"] == "ada"
            outcomes = {entry["outcome"] for entry in blocking.logs()}
        del broken_off  # What is raised when it is let go would fail the test.
        return outcomes

    assert await asyncio.to_thread(use) == {"matched", "enrolled"}


async def test_labels_are_replaced_by_none_and_stay_where_none_are_given(faceid: AsyncClient) -> None:
    await faceid.enroll(jpeg(), "ada", groups=["staff"], tags=["visitor"])
    enrolled = await faceid.enroll(jpeg(), "ada", groups=[])
    assert (enrolled["groups"], enrolled["tags"]) == ([], ["visitor"])


async def test_address_trust_and_key_may_come_from_the_environment(
    faceid: AsyncClient, worker: Worker, tls_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "CA_FILE", "API_KEY"):
        monkeypatch.delenv(f"FACEID_{name}", raising=False)
    with pytest.raises(NotReachable, match="FACEID_URL"):
        AsyncClient()
    made = await faceid.request("POST", "/api-keys", json={"name": "door", "scopes": ["search"]})
    monkeypatch.setenv("FACEID_URL", faceid.url)
    monkeypatch.setenv("FACEID_CA_FILE", str(tls_folder / "ca.pem"))
    monkeypatch.setenv("FACEID_API_KEY", made.body["api_key"])
    async with AsyncClient() as door:
        assert not (await door.search(jpeg()))["matched"]
    # The key is for the server of the environment, and for no other.
    async with AsyncClient(faceid.url, ca_file=tls_folder / "ca.pem") as stranger:
        with pytest.raises(ApiError, match="unauthenticated"):
            await stranger.search(jpeg())


async def test_what_is_no_json_comes_as_bytes(faceid: AsyncClient) -> None:
    await faceid.search(jpeg())
    reply = await faceid.request("GET", "/logs", headers={"Accept": "application/x-ndjson"})
    assert json.loads(reply.body)["outcome"] == "not_matched"
    assert "not_matched" not in repr(reply)


async def test_a_listing_is_read_page_by_page_and_can_be_broken_off(
    faceid: AsyncClient, worker: Worker
) -> None:
    for _ in range(5):
        await faceid.search(jpeg())
    items = [item async for item in faceid.pages("/logs", {}, limit=2)]
    assert len({item["job_id"] for item in items}) == 5
    assert [entry["outcome"] async for entry in faceid.logs(outcome="not_matched")] == ["not_matched"] * 5
    assert [entry async for entry in faceid.logs(since="2100-01-01")] == []


async def test_an_expired_token_is_refreshed_once_for_all_calls_that_meet_it(
    faceid: AsyncClient, clock: ManualClock
) -> None:
    # A refresh token that is used twice ends the session: were each call to refresh, the last would fail.
    clock.advance(PAST_THE_TOKENS_LIFE_S)
    await asyncio.gather(*(faceid.search(jpeg()) for _ in range(5)))
    clock.advance(PAST_THE_TOKENS_LIFE_S)
    await faceid.search(jpeg())


async def test_who_is_logged_out_is_told_so(faceid: AsyncClient) -> None:
    await faceid.logout()
    with pytest.raises(ApiError) as refused:
        await faceid.search(jpeg())
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")


async def test_a_job_that_outlasts_the_first_wait_is_asked_after(
    faceid: AsyncClient, worker: Worker, stranger: Ingress
) -> None:
    worker.hold = True
    with pytest.raises(JobPending) as pending:
        await faceid.search(jpeg(), wait_s=0)
    assert (await faceid.job(pending.value.job_id))["state"] == "queued"
    waiting = asyncio.create_task(faceid.search(jpeg(), wait_s=60))
    job = await worker.job(2)
    login = await stranger.services.accounts.find_login(EMAIL)
    assert login is not None
    await worker.finish(login[0], job, searched(worker.services, job, "ada"))
    assert (await waiting)["job_id"] == job.id


@dataclass
class Told:
    """A server that answers what it is told to, and notes what came."""

    answers: list[web.Response | None]
    """In turn; None ends the connection without an answer."""
    requests: list[tuple[str, str, str | None, str | None]] = field(
        default_factory=list[tuple[str, str, str | None, str | None]]
    )
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        headers = request.headers
        self.requests.append(
            (request.method, request.path, headers.get("Idempotency-Key"), headers.get("Authorization"))
        )
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer


def problem(status: int, code: str, **headers: str) -> web.Response:
    body = {"title": "No", "code": code, "detail": "Why.", "correlation_id": "c-1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(body, status=status, headers=named, content_type="application/problem+json")


def answer(body: object) -> web.Response:
    return web.json_response(body, headers={"X-Correlation-ID": "c-1"})


FOUND: dict[str, object] = {
    "job_id": "1",
    "matched": False,
    "best": None,
    "candidates": [],
    "face": {"box": {"x": 1, "y": 2, "width": 3, "height": 4}, "detection_confidence": 1}
    | {"quality": {}, "landmarks": {}},
    "threshold": 85,
    "gallery_size": 0,
    "of_a_later_version": True,
}


@asynccontextmanager
async def told(tls_folder: Path, *answers: web.Response | None) -> AsyncGenerator[Told]:
    server = Told(list(answers))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def client_of(server: Told, tls_folder: Path, *, retry_for_s: float = 30) -> AsyncClient:
    return AsyncClient(server.url, ca_file=tls_folder / "ca.pem", retry_for_s=retry_for_s)


async def test_what_may_pass_is_tried_again_under_one_key(tls_folder: Path) -> None:
    answers = (
        problem(503, "unavailable", Retry_After="0"),
        None,
        problem(409, "idempotency_in_progress"),
        answer(FOUND),
        answer(FOUND),
    )
    async with told(tls_folder, *answers) as server, client_of(server, tls_folder) as faceid:
        found = await faceid.search(jpeg())
        assert (found["matched"], dict(found)["of_a_later_version"]) == (False, True)
        await faceid.search(jpeg())
    keys = [key for _, _, key, _ in server.requests]
    assert None not in keys
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]


async def test_a_pause_that_is_longer_than_the_bound_is_not_begun(tls_folder: Path) -> None:
    refusal = problem(429, "rate_limited", Retry_After="3600")
    async with told(tls_folder, refusal) as server, client_of(server, tls_folder) as faceid:
        with pytest.raises(ApiError) as refused:
            await faceid.search(jpeg())
    assert refused.value.retry_after_s == 3600
    assert len(server.requests) == 1


async def test_a_log_in_is_sent_once_only(tls_folder: Path) -> None:
    async with told(tls_folder, None) as server, client_of(server, tls_folder) as faceid:
        with pytest.raises(ConnectionLost):
            await faceid.login(EMAIL, PASSWORD)
    assert [(path, key) for _, path, key, _ in server.requests] == [("/login", None)]


async def test_a_refusal_carries_what_the_problem_says(tls_folder: Path) -> None:
    refusal = problem(422, "no_face")
    async with told(tls_folder, refusal) as server, client_of(server, tls_folder) as faceid:
        with pytest.raises(ApiError) as refused:
            await faceid.search(jpeg())
    error = refused.value
    assert (error.status, error.code, error.detail, error.correlation_id) == (422, "no_face", "Why.", "c-1")
    assert str(error) == "No (no_face). Why."


async def test_a_wrong_field_is_named(faceid: AsyncClient) -> None:
    with pytest.raises(ApiError) as refused:
        await faceid.enroll(jpeg(), "")
    assert [error["field"] for error in refused.value.errors] == ["user_id"]


async def test_a_redirect_takes_the_credential_nowhere(tls_folder: Path) -> None:
    async with told(tls_folder) as elsewhere, told(tls_folder) as server:
        server.answers.append(web.Response(status=307, headers={"Location": f"{elsewhere.url}/logs"}))
        async with client_of(server, tls_folder) as faceid:
            with pytest.raises(FaceIdError):
                await faceid.search(jpeg())
    assert elsewhere.requests == []


async def test_a_server_of_something_else_is_told_apart(tls_folder: Path) -> None:
    broken = web.Response(text="{", content_type="application/json")
    for other in (web.Response(text="<html>hello</html>"), web.json_response({"hello": "world"}), broken):
        async with told(tls_folder, other) as server, client_of(server, tls_folder) as faceid:
            with pytest.raises(FaceIdError, match="FaceID server"):
                await faceid.search(jpeg())


async def test_no_server_and_no_trust_are_told_apart(tls_folder: Path) -> None:
    async with told(tls_folder) as server, AsyncClient(server.url) as faceid:
        with pytest.raises(NotTrusted):
            await faceid.get("/healthz")
    with pytest.raises(NotTrusted, match=r"missing\.pem"):
        AsyncClient(server.url, ca_file=tls_folder / "missing.pem")
    async with client_of(server, tls_folder) as faceid:
        with pytest.raises(NotReachable, match="No server answers"):
            await faceid.get("/healthz")
    for address in ("http://127.0.0.1:8443", ""):
        with pytest.raises(NotReachable, match="https"):
            AsyncClient(address)
    async with AsyncClient("https://") as faceid:
        with pytest.raises(NotReachable, match="no address"):
            await faceid.get("/healthz")
