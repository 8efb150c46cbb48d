"""Real servers that answer nobody: callers are told so, at once after the first few; it passes by itself."""

import asyncio
from collections.abc import Generator
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from infra.services import Services
from tests.ingress.conftest import Answer, Client, form, jpeg
from tests.ingress.worker import Worker
from tests.servers.engine import Server
from tests.stores import Servers

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

_PATIENCE_S: Final = 60
_LARGE: Final = bytes(4000)
"""After a photo's end, so that it travels as a blob."""
_FOR_EVER_S: Final = 1000


@pytest.fixture
def servers(real_servers: Servers) -> Servers:
    return real_servers


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"max_inline_bytes": 2000}


@pytest.fixture(autouse=True)
def captured_log() -> Generator[None]:
    """Drawing a traceback for the terminal takes a second, and there are many here."""
    with capture_logs():
        yield


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may take a second and not ten: that a silence is long enough is not what is tested."""
    allowed(monkeypatch, 1)


def allowed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("infra.mongodb.connection.CALL_S", seconds)
    monkeypatch.setattr("infra.broker.kafka.producer._PUBLISH_S", seconds)


async def enrol(client: Client, number: int) -> Answer:
    headers = {"Prefer": "respond-async", "Idempotency-Key": f"slow-{number}"}
    photo = jpeg(200 + number) + _LARGE
    return await client.call("POST", "/face/enroll", data=form(photo, user_id=f"u-{number}"), headers=headers)


async def down(client: Client) -> set[str]:
    answer = await client.call("GET", "/readyz")
    return {name for name, state in answer.body["parts"].items() if state != "ready"}


def breaker(services: Services, part: str) -> float:
    value = services.metrics.value("faceid_store_breaker_state", store=part)
    assert value is not None
    return value


@pytest.mark.parametrize("part", ["documents", "broker", "objects"])
async def test_callers_of_a_silent_store_do_not_pile_up_and_are_served_when_it_is_back(
    stranger: Client, services: Services, servers: Servers, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    server: Server = {"documents": servers.mongo, "broker": servers.kafka, "objects": servers.s3}[part]
    monkeypatch.setattr(services.objects, "_timeout_s", 1)
    client = await stranger.register()
    assert breaker(services, part) == 0
    server.pause()
    try:
        first = await asyncio.gather(*(enrol(client, number) for number in range(4)))
        assert {(answer.status, answer.code) for answer in first} == {(503, "unavailable")}
        async with asyncio.timeout(_PATIENCE_S):
            while breaker(services, part) == 0:  # Documents: each had more than one call in it.
                await enrol(client, 0)
        assert part in await down(client)
        # From here on whoever waits for the store waits for ever. That is one at most: the others are told.
        allowed(monkeypatch, _FOR_EVER_S)
        monkeypatch.setattr(services.objects, "_timeout_s", _FOR_EVER_S)
        calls = {asyncio.create_task(enrol(client, number)) for number in range(12)}
        async with asyncio.timeout(_PATIENCE_S):
            while len(calls) > 1:
                done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                for call in done:
                    answer = call.result()
                    assert (answer.status, answer.code) == (503, "unavailable")
                    assert int(answer.headers["Retry-After"]) > 0
    finally:
        server.go_on()
    await asyncio.gather(*calls)
    async with Worker(services).at_work() as worker, asyncio.timeout(_PATIENCE_S):
        for number in range(12):
            while (answer := await enrol(client, number)).status not in {200, 201, 202}:
                assert (answer.status, answer.code) in {
                    (503, "unavailable"),
                    (409, "idempotency_in_progress"),
                }, answer.body
            ended = await client.call("GET", f"/jobs/{answer.body['job_id']}?wait=30")
            assert ended.body["state"] == "succeeded", ended.body
        assert worker.services is services
        while await down(client):
            pass
    assert breaker(services, part) == 0
    faces = await client.call("GET", "/faces?limit=500")
    assert len(faces.body["items"]) == 12, "one face each"
