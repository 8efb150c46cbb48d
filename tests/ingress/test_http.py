"""What every answer has in common, and what is not quite HTTP."""

import asyncio
import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra.documents.port import DocumentsUnavailable
from infra.seen import Seen
from ingress.server import serve_ingress
from ingress.workers_seen import WorkersSeen
from schemas.problem_types import PROBLEM_TYPES
from tests.ingress.conftest import ENGINE, PASSWORD, Client, form
from tests.ingress.worker import Worker


async def raw(client: Client, tls_folder: Path, sent: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    trust = ssl.create_default_context(cafile=tls_folder / "ca.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, ssl=trust)
    try:
        writer.write(sent)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_correlation_id_is_made_where_none_is_given(stranger: Client) -> None:
    answers = [await stranger.call("GET", "/healthz") for _ in range(2)]
    made = {answer.headers["X-Correlation-ID"] for answer in answers}
    assert len(made) == 2


async def test_a_correlation_id_that_is_not_acceptable(stranger: Client) -> None:
    for given in ("", "two words", "x" * 129, "ümlaut"):
        answer = await stranger.call("GET", "/healthz", headers={"X-Correlation-ID": given})
        assert (given, answer.status, answer.code) == (given, 400, "invalid_correlation_id")
        assert answer.headers["X-Correlation-ID"] == answer.body["correlation_id"] != given


async def test_a_path_that_is_not_there(stranger: Client) -> None:
    answer = await stranger.call("GET", "/nowhere", headers={"X-Correlation-ID": "x"})
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body == {
        "type": "/problems/not_found",
        "title": PROBLEM_TYPES["not_found"].title,
        "status": 404,
        "detail": PROBLEM_TYPES["not_found"].remedy,
        "code": "not_found",
        "correlation_id": "x",
    }


async def test_a_method_that_a_path_does_not_take(stranger: Client) -> None:
    answer = await stranger.call("PUT", "/login")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


async def test_what_answers_get_answers_head(stranger: Client) -> None:
    answer = await stranger.call("HEAD", "/healthz")
    assert (answer.status, answer.content) == (200, b"")


async def test_every_answer_is_kept_out_of_caches_and_names_no_library(stranger: Client) -> None:
    for path in ("/healthz", "/nowhere"):
        answer = await stranger.call("GET", path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "faceid"


async def test_the_service_is_alive_and_ready(stranger: Client) -> None:
    assert (await stranger.call("GET", "/healthz")).body == {"status": "ok"}
    stranger.parts["model"] = "ready"
    answer = await stranger.call("GET", "/readyz")
    assert answer.status == 200
    assert answer.body == {
        "ready": True,
        "parts": {"documents": "ready", "broker": "ready", "objects": "ready", "model": "ready"},
        "engines": [ENGINE.model_dump()],
    }


async def test_what_is_not_ready_is_named(stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down() -> None:
        raise DocumentsUnavailable("the disk is full")

    monkeypatch.setattr(stranger.services.documents, "ping", down)
    stranger.parts["model"] = "loading"
    answer = await stranger.call("GET", "/readyz")
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert answer.body["ready"] is False
    assert answer.body["parts"]["documents"] == "unavailable"
    assert answer.body["parts"]["model"] == "loading"


async def test_an_ingress_alone_is_ready_without_workers_and_tells_that_there_are_none(
    client: Client, tls_folder: Path
) -> None:
    """It accepts jobs, which wait: were it taken out of service for that, nobody could accept them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    workers = WorkersSeen(client.services)
    alone = await serve_ingress(client.services, context, workers.state, host_decides=False)
    try:
        other = dataclasses.replace(client, base_url=f"https://127.0.0.1:{alone.port}", port=alone.port)
        answer = await other.call("GET", "/readyz")
    finally:
        await alone.stop()
    assert (answer.status, answer.body["ready"]) == (200, True)
    assert answer.body["parts"]["model"] == answer.body["parts"]["index"] == "not known yet"


async def test_a_store_that_is_down_is_said_to_be(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*_: Any, **__: Any) -> None:
        raise DocumentsUnavailable("connection to 10.0.0.1 refused")

    monkeypatch.setattr(client.services.documents, "get", down)
    for answer in (await client.call("GET", "/logs"), await client.search()):
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert b"10.0.0.1" not in answer.content


async def test_a_mistake_of_ours_is_told_without_its_details(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(client.services.documents, "find", broken)
    with structlog.testing.capture_logs() as lines:
        answer = await client.call("GET", "/logs?user_id=ada")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret detail" not in answer.content
    failure = next(line for line in lines if line["event"] == "request_failed")
    assert isinstance(failure["exc_info"], ZeroDivisionError)


async def test_a_request_is_logged_by_its_pattern_alone(client: Client) -> None:
    with structlog.testing.capture_logs() as lines:
        await client.call("DELETE", "/users/ada-7?name=Ada")
        await client.call("GET", "/logs?user_id=ada-7")
    assert [{name: line[name] for name in ("event", "method", "route", "status")} for line in lines] == [
        {"event": "request_answered", "method": "DELETE", "route": "/users/{user_id}", "status": 404},
        {"event": "request_answered", "method": "GET", "route": "/logs", "status": 200},
    ]
    assert "ada-7" not in str(lines)


NOT_HTTP = {
    "no request": b"nonsense\r\n\r\n",
    "no version": b"GET / HTTP/9.9\r\n\r\n",
    "bad header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: secret-value\r\n\r\n",
    "long header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "bad length": b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
}


async def test_what_is_not_http_gets_a_problem_too(stranger: Client, tls_folder: Path) -> None:
    for case, sent in NOT_HTTP.items():
        with structlog.testing.capture_logs() as lines:
            answer = await raw(stranger, tls_folder, sent)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.partition(b"\r\n")[0].split(b" ")[1] == b"400", case
        assert b"application/problem+json" in head, case
        assert b'"code":"malformed_request"' in body, case
        assert b"secret-value" not in answer
        # The exception is logged by its type alone (`infra.redaction`).
        assert "secret-value" not in str([{**line, "error": None} for line in lines])


async def test_a_client_that_asks_first_is_told_to_go_on(client: Client) -> None:
    answer = await client.call("POST", "/face/search", data=form(), expect100=True)
    assert answer.status == 200


async def test_a_client_that_asks_first_is_spared_a_body_that_is_refused(
    stranger: Client, tls_folder: Path
) -> None:
    head = b"POST /face/search HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
    answer = await raw(stranger, tls_folder, head + b"Content-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_body_that_is_cut_off_holds_nothing_up(client: Client, tls_folder: Path) -> None:
    trust = ssl.create_default_context(cafile=tls_folder / "ca.pem")
    _, writer = await asyncio.open_connection("127.0.0.1", client.port, ssl=trust)
    writer.write(
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.call("GET", "/healthz")).status == 200


class TestSlowClients:
    async def test_a_body_that_comes_too_slowly_is_not_waited_for(
        self, stranger: Client, tls_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ingress.bodies._JSON_TIMEOUT_S", 0.05)
        answer = await raw(
            stranger,
            tls_folder,
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
            b"Connection: close\r\n\r\n{",
        )
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer


async def test_stopping_lets_requests_finish(client: Client, worker: Worker, tls_folder: Path) -> None:
    """What is in flight when the server stops is answered: here with 202, since nobody ends the job."""

    async def readiness() -> Seen:
        return Seen({})

    worker.hold = True
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    settings = client.services.settings.model_copy(update={"drain_s": 0.2})
    services = dataclasses.replace(client.services, settings=settings)
    second = await serve_ingress(services, context, readiness)
    other = dataclasses.replace(client, base_url=f"https://127.0.0.1:{second.port}", port=second.port)
    in_flight = asyncio.create_task(other.search(headers={"Prefer": "wait=60"}))
    await worker.job()
    await second.stop()
    assert (await in_flight).status == 202


async def test_a_password_never_reaches_the_log(stranger: Client) -> None:
    with structlog.testing.capture_logs() as lines:
        await stranger.register()
        await stranger.call("POST", "/login", json={"email": "ada@example.org", "password": 17})
    assert PASSWORD not in str(lines)
    assert "ada@example.org" not in str(lines)


async def test_a_flood_of_readiness_checks_asks_the_stores_once(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def ping() -> None:
        nonlocal asked
        asked += 1

    monkeypatch.setattr(stranger.services.objects, "ping", ping)
    monkeypatch.setattr("ingress.readiness._KEPT_S", 3600)
    answers = await asyncio.gather(*(stranger.call("GET", "/readyz") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert asked == 1
