"""What is particular to objects on S3, on a stand-in that fails as it is told to. How a real server
takes it is in `test_s3_server`."""

import asyncio
import base64
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.clock import SystemClock
from infra.objects.port import ObjectsUnavailable
from infra.objects.s3 import S3Objects
from infra.objects.s3_names import name_of, read_name
from infra.objects.s3_place import S3Place
from infra.refused import StoreRefused
from schemas.ids import PLATFORM
from tests.servers.engine import free_port

A = UUID(int=0xA)
SECRET = "a secret that nobody may see"
SLOW_DOWN = "<Error><Code>SlowDown</Code></Error>"

parts = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,10}", fullmatch=True)


@dataclass
class StandIn:
    """Answers what `faults` says, in turn; then, that all is well."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    faults: list[Callable[[], Awaitable[web.Response]]] = field(
        default_factory=list[Callable[[], Awaitable[web.Response]]]
    )

    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def never(self) -> web.Response:
        """An answer that does not come while the test runs."""
        await self.over.wait()
        return web.Response()

    def place(self, **changes: Any) -> S3Place:
        given: dict[str, Any] = {
            "bucket": "faceid",
            "endpoint": f"http://127.0.0.1:{self.port}",
            "access_key": "somebody",
            "secret_key": SecretStr(SECRET),
        }
        return S3Place(**(given | changes))

    def fails(self, status: int, code: str, times: int = 1) -> None:
        async def answer() -> web.Response:
            return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")

        self.faults += [answer] * times

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.append((request.method, request.path_qs))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.faults:
            return await self.faults.pop(0)()
        if request.method == "POST" and "uploads" in request.query:
            text = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
            return web.Response(text=text)
        if request.method == "POST":
            return web.Response(text="<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
        if request.method == "GET" and "/=" not in request.path:
            return web.Response(text="<ListBucketResult></ListBucketResult>")
        return web.Response(headers={"ETag": '"e"'})


@pytest.fixture(autouse=True)
def no_wait_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(*_: object) -> float:
        return 0

    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", at_once)


@pytest.fixture
async def stand_in() -> AsyncGenerator[StandIn]:
    server = StandIn()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    server.over.set()
    await runner.cleanup()


@pytest.fixture
async def objects(stand_in: StandIn) -> AsyncGenerator[S3Objects]:
    objects = S3Objects(stand_in.place(), SystemClock())
    yield objects
    await objects.close()


@given(folders=st.lists(parts, max_size=3), name=parts)
def test_a_name_tells_company_and_key(folders: list[str], name: str) -> None:
    key = "/".join((*folders, name))
    written = name_of(A, key)
    assert read_name(written) == (A, key)
    assert written.split("/")[1] == str(A)


@pytest.mark.parametrize(
    "name", ["", "x", "inflight/x", f"inflight/{A}", f"inflight/{A}/x", "a/b/=c", "/", "=x", f"{A}/=x"]
)
def test_what_is_not_ours_has_no_company_and_no_key(name: str) -> None:
    assert read_name(name) is None


def test_what_is_in_flight_has_a_beginning_of_its_own_for_sweeps_and_rules() -> None:
    assert name_of(A, "inflight/x") == f"inflight/{A}/=x"


def test_a_place_does_not_show_its_secret(stand_in: StandIn) -> None:
    assert SECRET not in f"{stand_in.place()!r} {stand_in.place()}"


@pytest.mark.parametrize("size", [10, 17 * 2**20])
async def test_a_blob_takes_its_checksum_and_the_asked_encryption_along(stand_in: StandIn, size: int) -> None:
    objects = S3Objects(stand_in.place(encryption="AES256"), SystemClock())
    await objects.put(A, "photos/x", bytes(size))
    await objects.close()
    checksum = base64.b64encode(zlib.crc32(bytes(min(size, 8 * 2**20))).to_bytes(4, "big")).decode()
    sent = [headers for headers in stand_in.headers if "x-amz-checksum-crc32" in headers]
    assert sent[0]["x-amz-checksum-crc32"] == checksum
    assert all("trailer" not in name for headers in stand_in.headers for name in headers)
    # Of an upload in parts, the encryption is said once, first.
    assert stand_in.headers[0]["x-amz-server-side-encryption"] == "AES256"


async def test_no_encryption_is_asked_for_unless_told(stand_in: StandIn, objects: S3Objects) -> None:
    await objects.put(A, "photos/x", b"x")
    assert "x-amz-server-side-encryption" not in stand_in.headers[0]


async def test_an_overloaded_server_is_asked_again(stand_in: StandIn, objects: S3Objects) -> None:
    stand_in.fails(503, "SlowDown", times=2)
    await objects.put(A, "photos/x", b"x")
    assert len(stand_in.asked) == 3


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (403, "AccessDenied"), (404, "NoSuchBucket")]
)
async def test_what_a_running_service_is_refused_is_unavailable_and_names_no_key(
    stand_in: StandIn, objects: S3Objects, status: int, code: str
) -> None:
    async def listed() -> None:
        assert [info async for info in objects.list(A, "photos/")] == []

    for call in (
        lambda: objects.put(A, "photos/hidden", b"x"),
        lambda: objects.get(A, "photos/hidden"),
        objects.ping,
        listed,
    ):
        stand_in.faults.clear()
        stand_in.fails(status, code, times=3)
        with pytest.raises(ObjectsUnavailable, match=code) as raised:
            await call()
        assert "hidden" not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__


async def test_a_deletion_from_a_bucket_that_is_gone_is_not_taken_for_one_of_nothing(
    stand_in: StandIn, objects: S3Objects
) -> None:
    stand_in.fails(404, "")  # HEAD: without a body, so without a code
    stand_in.fails(404, "NoSuchBucket")
    with pytest.raises(ObjectsUnavailable, match="NoSuchBucket"):
        await objects.delete(A, "photos/x")


async def test_of_many_deletions_one_that_fails_is_told(stand_in: StandIn, objects: S3Objects) -> None:
    async def all_but_one() -> web.Response:
        fault = "<Error><Key>photos/hidden</Key><Code>AccessDenied</Code></Error>"
        return web.Response(text=f"<DeleteResult>{fault}</DeleteResult>")

    stand_in.faults.append(all_but_one)
    with pytest.raises(ObjectsUnavailable, match="AccessDenied") as raised:
        await objects.delete_many(A, [f"photos/{n}" for n in range(1500)])
    assert "hidden" not in str(raised.value)
    assert len(stand_in.asked) == 1


async def test_what_another_has_just_deleted_is_deleted(stand_in: StandIn, objects: S3Objects) -> None:
    async def all_but_two() -> web.Response:
        faults = "<Error><Key>x</Key><Code>NoSuchKey</Code></Error>" * 2
        return web.Response(text=f"<DeleteResult>{faults}</DeleteResult>")

    async def there() -> web.Response:
        return web.Response()

    stand_in.faults += [all_but_two, there]
    stand_in.fails(404, "NoSuchKey")
    await objects.delete_many(A, [f"photos/{n}" for n in range(10)])
    await objects.delete(A, "photos/x")
    assert [method for method, _ in stand_in.asked] == ["POST", "HEAD", "DELETE"]


async def test_no_more_are_deleted_by_one_request_than_s3_takes(
    stand_in: StandIn, objects: S3Objects
) -> None:
    async def done() -> web.Response:
        return web.Response(text="<DeleteResult></DeleteResult>")

    stand_in.faults += [done] * 2
    await objects.delete_many(A, [f"photos/{n}" for n in range(1500)])
    assert stand_in.asked == [("POST", "/faceid?delete")] * 2


async def test_nobody_there_is_unavailable(stand_in: StandIn) -> None:
    objects = S3Objects(stand_in.place(endpoint=f"http://127.0.0.1:{free_port()}"), SystemClock())
    for call in (objects.start(), objects.make_bucket(), objects.ping()):
        with pytest.raises(ObjectsUnavailable, match="no connection"):
            await call
    await objects.close()


async def test_who_never_answers_is_unavailable_in_time(stand_in: StandIn) -> None:
    objects = S3Objects(stand_in.place(), SystemClock(), timeout_s=0.2)
    stand_in.faults += [stand_in.never] * 4
    for call in (objects.start(), objects.get(A, "photos/x"), objects.ping()):
        with pytest.raises(ObjectsUnavailable, match="in time"):
            await call
    await objects.close()


async def test_what_was_sent_in_parts_and_failed_is_aborted(stand_in: StandIn, objects: S3Objects) -> None:
    async def begin() -> web.Response:
        stand_in.fails(400, "InvalidRequest")
        text = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=text)

    stand_in.faults.append(begin)
    with pytest.raises(ObjectsUnavailable, match="InvalidRequest"):
        await objects.put(A, "photos/x", bytes(17 * 2**20))
    assert stand_in.asked[-1] == ("DELETE", f"/faceid/photos/{A}/%3Dx?uploadId=7")


async def test_what_was_sent_in_parts_and_cancelled_is_aborted(stand_in: StandIn, objects: S3Objects) -> None:
    sending = asyncio.Event()

    async def begin() -> web.Response:
        stand_in.faults.append(never)
        text = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=text)

    async def never() -> web.Response:
        sending.set()
        return await stand_in.never()

    stand_in.faults.append(begin)
    putting = asyncio.create_task(objects.put(A, "photos/x", bytes(17 * 2**20)))
    await sending.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert stand_in.asked[-1] == ("DELETE", f"/faceid/photos/{A}/%3Dx?uploadId=7")


async def test_a_blob_that_came_damaged_is_not_given_out(stand_in: StandIn, objects: S3Objects) -> None:
    async def damaged() -> web.Response:
        checksum = base64.b64encode(zlib.crc32(b"right").to_bytes(4, "big")).decode()
        return web.Response(body=b"wrong", headers={"x-amz-checksum-crc32": checksum})

    stand_in.faults.append(damaged)
    with pytest.raises(ObjectsUnavailable):
        await objects.get(A, "photos/x")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchBucket", "FACEID_S3_BUCKET"),
        (403, "InvalidAccessKeyId", "FACEID_S3_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", "FACEID_S3_SECRET_KEY"),
        (403, "AccessDenied", "FACEID_S3_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "clocks"),
        (400, "AuthorizationHeaderMalformed", "FACEID_S3_REGION"),
        (400, "KMS.DisabledException", "FACEID_S3_ENCRYPTION"),
        (405, "MethodNotAllowed", "FACEID_S3_ENDPOINT"),
        (501, "NotImplemented", "FACEID_S3_ENDPOINT"),
    ],
)
async def test_what_no_waiting_mends_is_one_line_that_names_the_setting(
    stand_in: StandIn, objects: S3Objects, status: int, code: str, words: str
) -> None:
    stand_in.fails(status, code)
    with pytest.raises(StoreRefused, match=words) as raised:
        await objects.start()
    line = str(raised.value)
    assert line.startswith(f"objects: bucket faceid at http://127.0.0.1:{stand_in.port}: ")
    assert SECRET not in line
    assert "\n" not in line


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (400, "BadDigest")])
async def test_what_passes_is_waited_for_at_start(
    stand_in: StandIn, objects: S3Objects, status: int, code: str
) -> None:
    stand_in.fails(status, code, times=3)
    with pytest.raises(ObjectsUnavailable, match=code):
        await objects.start()
    stand_in.faults.clear()
    await objects.start()


async def test_start_tries_what_the_service_will_need(stand_in: StandIn, objects: S3Objects) -> None:
    await objects.start()
    probe = f"/faceid/%3D/{PLATFORM}/%3Dping"
    assert [asked for asked in stand_in.asked if asked[1].startswith(probe)] == [
        ("PUT", probe),
        ("GET", probe),
        ("DELETE", probe),
    ]


async def test_a_file_that_holds_no_certificates_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for file in (wrong, tmp_path / "missing.pem"):
        objects = S3Objects(stand_in.place(ca_file=file), SystemClock())
        with pytest.raises(StoreRefused, match="FACEID_S3_CA_FILE"):
            await objects.start()
        await objects.close()


async def test_a_machine_without_credentials_is_told_and_soon(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the address at which a machine asks for its role swallows what is sent to it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as metadata:
        port = metadata.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}/")
        objects = S3Objects(stand_in.place(access_key=None, secret_key=None), SystemClock(), timeout_s=20)
        with pytest.raises(StoreRefused, match="no credentials: set FACEID_S3_ACCESS_KEY"):
            await objects.start()
        await objects.close()
    assert stand_in.asked == []
