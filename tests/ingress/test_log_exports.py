"""The access log as CSV and NDJSON: all of it, in one answer, as it is read."""

import asyncio
import contextlib
import csv
import dataclasses
import io
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from infra.clock import ManualClock
from infra.documents.port import DocumentsUnavailable
from infra.repositories.access_log import AccessLog
from infra.seen import Seen
from ingress.server import serve_ingress
from schemas.access import Role, Scope
from tests.ingress.access_log import attempt
from tests.ingress.conftest import Answer, Client

pytestmark = pytest.mark.system

NDJSON = "application/x-ndjson"
CSV = "text/csv"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export reads two entries at a time."""
    monkeypatch.setattr("ingress.resources.logs._PAGE", 2)


async def fill(client: Client, clock: ManualClock, count: int, **attributes: Any) -> None:
    for number in range(count):
        clock.advance(1)
        await attempt(client, at=clock.now(), correlation_id=f"c-{number}", **attributes)


async def export(client: Client, accept: str, **query: str) -> Answer:
    return await client.call("GET", "/logs", params=query, headers={"Accept": accept})


def lines(answer: Answer) -> list[dict[str, Any]]:
    """What an export as NDJSON holds."""
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.content.splitlines()]


def table(answer: Answer) -> list[dict[str, str]]:
    """What an export as CSV holds."""
    assert answer.status == 200, answer.body
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", CSV),
        (CSV, CSV),
        ("TEXT/CSV;header=absent", CSV),
        (NDJSON, NDJSON),
        (f"{CSV};q=0.5, {NDJSON};q=0.7", NDJSON),
        (f"{CSV}, {NDJSON}", CSV),
        ("application/json;q=0.1, */*;q=0.5", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        (f"application/json;q=0, application/*;q=0.3, {CSV};q=0.2", NDJSON),
        (f"{CSV};q=nonsense, {NDJSON}", NDJSON),
        (",,;;q=1,", None),
        ("text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=0", None),
    ],
)
async def test_the_client_says_what_it_likes_best(
    client: Client, accept: str | None, content_type: str | None
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    # aiohttp would ask for anything where nothing is asked for.
    async with client.http.get(
        f"{client.base_url}/logs",
        headers={**headers, "Authorization": f"Bearer {client.token}"},
        skip_auto_headers=["Accept"],
    ) as answer:
        if content_type is None:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (406, "not_acceptable")
        else:
            assert (answer.status, answer.content_type) == (200, content_type)
            assert answer.headers["Vary"] == "Accept"


@pytest.mark.usefixtures("small_pages")
async def test_an_export_holds_everything_newest_first(client: Client, clock: ManualClock) -> None:
    await fill(client, clock, 5, user_id="ada", device_id="door-1")
    items = (await client.call("GET", "/logs")).body["items"]
    answer = await export(client, NDJSON)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="access-log.ndjson"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Correlation-ID"]
    assert [{name: line[name] for name in items[0]} for line in lines(answer)] == items
    rows = table(await export(client, CSV))
    assert [row["correlation_id"] for row in rows] == ["c-4", "c-3", "c-2", "c-1", "c-0"]
    assert [(row["time"], row["cursor"]) for row in rows] == [
        (line["time"], line["cursor"]) for line in lines(answer)
    ]


@pytest.mark.usefixtures("small_pages")
async def test_an_export_keeps_to_filters_and_limit_and_goes_on(client: Client, clock: ManualClock) -> None:
    await fill(client, clock, 4, device_id="door-1")
    await fill(client, clock, 3, device_id="door-2")
    for limit in (1, 2, 3):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while part := lines(await export(client, NDJSON, device_id="door-1", limit=str(limit), **cursor)):
            assert len(part) <= limit
            found += [line["correlation_id"] for line in part]
            cursor = {"cursor": part[-1]["cursor"]}
        assert found == ["c-3", "c-2", "c-1", "c-0"]
    assert len(lines(await export(client, NDJSON, limit="100000"))) == 7
    other = await export(client, NDJSON, device_id="door-2", **cursor)
    assert other.code == "invalid_cursor"


async def test_an_empty_export(client: Client) -> None:
    assert (await export(client, NDJSON)).content == b""
    answer = await export(client, CSV)
    assert answer.content.decode() == (
        "time,job_id,kind,outcome,code,user_id,other_user_ids,nearest_user_id,score,similarity,confidence,"
        "threshold,device_id,site,latitude,longitude,photo_hash,credential,correlation_id,cursor\r\n"
    )
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"


async def test_a_spreadsheet_takes_no_cell_for_a_formula(client: Client, clock: ManualClock) -> None:
    user_ids = ("=1+1", "+1", "-1", "@x", '=HYPERLINK("http://x","y")', "a,b", 'a"b', "Zoë 🙂", " =1")
    for user_id in user_ids:
        clock.advance(1)
        location = {"site": "\t=1\r\n+2", "latitude": -33.5}
        await attempt(client, user_id=user_id, other_user_ids=("=2",), location=location, at=clock.now())
    rows = table(await export(client, CSV))[::-1]
    assert [row["user_id"] for row in rows] == [
        *("'=1+1", "'+1", "'-1", "'@x", '\'=HYPERLINK("http://x","y")', "a,b", 'a"b', "Zoë 🙂", " =1")
    ]
    assert {row["other_user_ids"] for row in rows} == {'["=2"]'}
    assert {row["site"] for row in rows} == {"'\t=1\r\n+2"}
    assert {(row["latitude"], row["similarity"]) for row in rows} == {("-33.5", "-0.25")}
    assert [line["user_id"] for line in lines(await export(client, NDJSON))][::-1] == list(user_ids)


async def test_a_head_of_an_export_has_no_body(client: Client, clock: ManualClock) -> None:
    await fill(client, clock, 1)
    for _ in range(2):  # The connection is good for the next request.
        answer = await client.call("HEAD", "/logs", headers={"Accept": CSV})
        assert (answer.status, answer.content) == (200, b"")
        assert answer.headers["Content-Type"].startswith(CSV)
    assert (await client.call("GET", "/logs")).status == 200


@pytest.mark.usefixtures("small_pages")
async def test_what_comes_meanwhile_moves_nothing(
    client: Client, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client, clock, 6)
    find = AccessLog.find

    async def busy(self: AccessLog, *given: Any, **options: Any) -> Any:
        page = await find(self, *given, **options)
        clock.advance(1)
        await attempt(client, at=clock.now(), correlation_id="later")
        return page

    monkeypatch.setattr(AccessLog, "find", busy)
    found = [line["correlation_id"] for line in lines(await export(client, NDJSON))]
    assert found == ["c-5", "c-4", "c-3", "c-2", "c-1", "c-0"]


async def test_a_store_that_is_down_from_the_start_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(monkeypatch, 0)
    assert (await export(client, CSV)).code == "unavailable"


@pytest.mark.usefixtures("small_pages")
async def test_an_export_that_fails_midway_can_be_taken_for_no_whole(
    client: Client, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client, clock, 6)
    fail_after(monkeypatch, 2)
    with structlog.testing.capture_logs() as said, pytest.raises(aiohttp.ClientError):
        await export(client, CSV)
    assert [line["event"] for line in said if line["log_level"] == "error"] == ["stream_failed"]
    monkeypatch.undo()
    assert (await client.call("GET", "/logs")).status == 200


def fail_after(monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
    """Let the store go down after that many pages."""
    find, asked = AccessLog.find, 0

    async def failing(self: AccessLog, *given: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked > pages:
            raise DocumentsUnavailable("the disk is gone")
        return await find(self, *given, **options)

    monkeypatch.setattr(AccessLog, "find", failing)


@dataclass
class Endless:
    """A log without end: the same page over and over."""

    pages: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    log, find = Endless(), AccessLog.find

    async def again(self: AccessLog, *given: Any, **options: Any) -> Any:
        log.pages += 1
        log.begun.set()
        page = await find(self, *given, **{**options, "after": None})
        last = page.items[-1]
        return dataclasses.replace(page, next_key=(last.created_at, last.id))

    monkeypatch.setattr(AccessLog, "find", again)
    return log


class Said(asyncio.Event):
    """Set when the stream says that its client does not take it."""

    def info(self, event: str, **_: Any) -> None:
        assert event == "stream_not_taken"
        self.set()


@pytest.fixture
def not_taken(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr("ingress.streaming._log", said)
    return said


async def test_a_client_that_takes_nothing_holds_the_reading_up_and_is_cut_off_at_last(
    client: Client,
    clock: ManualClock,
    endless: Endless,
    not_taken: Said,
    monkeypatch: pytest.MonkeyPatch,
    tls_folder: Path,
) -> None:
    await fill(client, clock, 500)
    monkeypatch.setattr("ingress.streaming._STALLED_S", 0.2)
    reader, writer = await begun(client, tls_folder)
    await not_taken.wait()
    # A few megabytes lie in the buffers of both kernels; then nothing was read any more.
    assert endless.pages < 200
    last = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(2**16):
            last = (last + part)[-100:]
    assert last
    assert not last.endswith(b"0\r\n\r\n")
    writer.transport.abort()


async def test_a_client_that_goes_away_ends_the_work(
    client: Client, clock: ManualClock, endless: Endless, not_taken: Said, tls_folder: Path
) -> None:
    await fill(client, clock, 50)
    reader, writer = await begun(client, tls_folder)
    await reader.readexactly(1000)
    writer.transport.abort()
    await not_taken.wait()
    assert (await client.call("GET", "/healthz")).status == 200


async def test_an_export_that_cannot_end_in_time_is_cut_when_the_server_stops(
    client: Client, clock: ManualClock, endless: Endless, tls_folder: Path
) -> None:
    async def readiness() -> Seen:
        return Seen({})

    await fill(client, clock, 50)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    settings = client.services.settings.model_copy(update={"drain_s": 0.2})
    second = await serve_ingress(dataclasses.replace(client.services, settings=settings), context, readiness)
    other = dataclasses.replace(client, base_url=f"https://127.0.0.1:{second.port}", port=second.port)
    in_flight = asyncio.create_task(export(other, NDJSON))
    await endless.begun.wait()
    await second.stop()
    with pytest.raises(aiohttp.ClientError):
        await in_flight


async def begun(client: Client, tls_folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for an export and read nothing of it beyond a small buffer."""
    trust = ssl.create_default_context(cafile=tls_folder / "ca.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, ssl=trust, limit=2**10)
    request = (
        f"GET /logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\nAccept: {NDJSON}\r\n\r\n"
    )
    writer.write(request.encode())
    await writer.drain()
    return reader, writer


@asynccontextmanager
async def under_way(client: Client) -> AsyncGenerator[aiohttp.StreamReader]:
    """An export that has begun, and what comes of it."""
    key = {"X-API-Key": client.api_key} if client.api_key else {"Authorization": f"Bearer {client.token}"}
    async with client.http.get(f"{client.base_url}/logs", headers={"Accept": NDJSON, **key}) as answer:
        assert answer.status == 200
        await answer.content.readexactly(1000)
        yield answer.content


class TestAccess:
    """An export lasts, and who reads it may not be allowed to for as long."""

    async def test_a_revoked_key_reads_no_more(
        self, client: Client, clock: ManualClock, endless: Endless
    ) -> None:
        await fill(client, clock, 50)
        reader = await client.add_key(Scope.LOGS_READ)
        async with ended(reader, clock, "invalid_api_key"):
            (key,) = (await client.call("GET", "/api-keys")).body["items"]
            assert (await client.call("DELETE", f"/api-keys/{key['key_id']}")).status == 204

    async def test_who_has_logged_out_reads_no_more(
        self, client: Client, clock: ManualClock, endless: Endless
    ) -> None:
        await fill(client, clock, 50)
        reader = await client.add_member("otto@example.org", Role.AUDITOR)
        async with ended(reader, clock, "invalid_token"):
            assert (await reader.call("POST", "/logout")).status == 204

    async def test_an_auditor_who_becomes_staff_reads_no_more(
        self, client: Client, clock: ManualClock, endless: Endless
    ) -> None:
        await fill(client, clock, 50)
        reader = await client.add_member("otto@example.org", Role.AUDITOR)
        async with ended(reader, clock, "forbidden"):
            members = (await client.call("GET", "/members")).body["items"]
            (otto,) = [item["member_id"] for item in members if item["role"] == "auditor"]
            changed = await client.call("PATCH", f"/members/{otto}", json={"role": "staff"})
            assert changed.status == 200

    async def test_an_access_token_may_run_out_meanwhile(
        self, client: Client, clock: ManualClock, endless: Endless
    ) -> None:
        await fill(client, clock, 50)
        async with under_way(client) as content:
            clock.advance(client.services.settings.access_token_s + 1)
            assert (await client.call("GET", "/logs")).code == "token_expired"
            begun = endless.pages
            while endless.pages < begun + 20:
                assert await content.read(2**16)


@asynccontextmanager
async def ended(reader: Client, clock: ManualClock, code: str) -> AsyncGenerator[None]:
    """What the block does ends an export of the reader's that is under way, a second later, and says why."""
    with structlog.testing.capture_logs() as said:
        async with under_way(reader) as content:
            yield
            clock.advance(1)
            with pytest.raises(aiohttp.ClientError):
                await content.read()
    assert [line["code"] for line in said if line["event"] == "stream_refused"] == [code]
    assert [line for line in said if line["log_level"] == "error"] == []


async def test_a_company_has_two_exports_at_once_and_holds_up_no_other(
    client: Client, clock: ManualClock, endless: Endless
) -> None:
    await fill(client, clock, 50)
    async with under_way(client):
        async with under_way(client):
            third = await export(client, CSV)
            assert (third.status, third.code) == (429, "too_many_exports")
            assert third.headers["Retry-After"] == "10"
            assert (await client.call("GET", "/logs")).status == 200
            other = await client.fresh().register("bob@example.org")
            await fill(other, clock, 50)
            async with under_way(other):
                pass
        async with asyncio.timeout(30):
            while (await client.call("HEAD", "/logs", headers={"Accept": CSV})).status == 429:
                pass
