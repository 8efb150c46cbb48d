"""What is sent wrongly, by mistake or on purpose: each gets its 4xx with a code, and nothing comes of it.

More stands in `test_recognition` (forms that are none) and in `test_http` (what is no HTTP, slow bodies).
"""

import asyncio
import base64
import io
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from PIL import Image

from infra.seen import Seen
from ingress.server import serve_ingress
from tests.ingress.conftest import Client, form, jpeg
from tests.ingress.test_http import raw
from tests.ingress.test_recognition import END, FORM, IMAGE, part
from tests.ingress.worker import Worker


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"max_photo_bytes": 200_000, "max_photo_pixels": 100_000}


@pytest.fixture
async def client(client: Client) -> AsyncGenerator[Client]:
    """A client after whose test nothing was a mistake of ours, no file is left, and a search is answered."""
    before = files_of(client)
    with structlog.testing.capture_logs() as lines:
        yield client
    assert [line for line in lines if line["log_level"] in {"error", "critical"}] == []
    assert files_of(client) == before
    assert (await client.search()).status == 200


def files_of(client: Client) -> set[Path]:
    """What lies in the data folder, the store's own files apart."""
    folder = client.services.settings.data_dir
    return {path for path in folder.rglob("*") if path.is_file() and ".sqlite" not in path.name}


def encoded(format_: str, **options: Any) -> bytes:
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "grey").save(photo, format_, **options)
    return photo.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_of(width_px: int, height_px: int, *, head: int = 13) -> bytes:
    """A PNG whose header says this, with a byte of everything else."""
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)[:head]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


PICTURES = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green")]

PHOTOS: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 415, "unsupported_media_type"),
    "one byte": (b"\xff", 415, "unsupported_media_type"),
    "a GIF": (encoded("GIF"), 415, "unsupported_media_type"),
    "an animated GIF": (encoded("GIF", save_all=True, append_images=PICTURES), 415, "unsupported_media_type"),
    "a WebP": (encoded("WEBP"), 415, "unsupported_media_type"),
    "a TIFF": (encoded("TIFF"), 415, "unsupported_media_type"),
    "a BMP": (encoded("BMP"), 415, "unsupported_media_type"),
    "a PDF": (b"%PDF-1.7\n" + bytes(100), 415, "unsupported_media_type"),
    "a page": (b"<!doctype html><script>alert(1)</script>", 415, "unsupported_media_type"),
    "a vector image": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_media_type"),
    "an archive": (b"PK\x03\x04" + bytes(100), 415, "unsupported_media_type"),
    "a program": (b"\x7fELF" + bytes(100), 415, "unsupported_media_type"),
    "text before a JPEG": (b"GIF89a" + jpeg(), 415, "unsupported_media_type"),
    "a JPEG cut in its header": (jpeg()[:60], 422, "corrupt_image"),
    "a PNG cut in its header": (encoded("PNG")[:20], 422, "corrupt_image"),
    "a PNG of 0x0": (png_of(0, 0), 422, "corrupt_image"),
    "a PNG of 0x48": (png_of(0, 48), 422, "corrupt_image"),
    "a PNG without a size": (png_of(64, 48, head=4), 422, "corrupt_image"),
    "a PNG of a petapixel": (png_of(2**25, 2**25), 422, "image_dimensions"),
    "a PNG of one line": (png_of(100_000, 1), 422, "image_dimensions"),
    "a JPEG of 1x1": (jpeg(1, 1), 422, "image_dimensions"),
    "a bomb": (png_of(60_000, 60_000), 422, "image_dimensions"),
    "too many bytes": (jpeg() + bytes(200_000), 413, "image_too_large"),
}


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "../../etc/passwd", "🙂.jpg", "x" * 3000, ""])
async def test_what_is_no_photo_is_refused_whatever_it_is_called(client: Client, name: str) -> None:
    for case, (photo, status, code) in PHOTOS.items():
        data = aiohttp.FormData()
        data.add_field("image", photo, filename=name, content_type="image/jpeg")
        answer = await client.call("POST", "/face/search", data=data)
        assert (case, answer.status, answer.code) == (case, status, code)


async def test_what_is_no_photo_is_refused_as_base64_too(client: Client) -> None:
    for case, (photo, status, code) in PHOTOS.items():
        answer = await client.call(
            "POST", "/face/enroll", json={"user_id": "ada", "image": base64.b64encode(photo).decode()}
        )
        assert (case, answer.status, answer.code) == (case, status, code)


async def test_of_many_pictures_in_one_file_the_first_is_the_photo(client: Client, worker: Worker) -> None:
    """As a viewer shows it that knows of no others: the ingress passes the file on as it came."""
    for photo in (
        encoded("PNG", save_all=True, append_images=PICTURES),
        encoded("MPO", save_all=True, append_images=PICTURES),
    ):
        assert (await client.search(photo)).status == 200
        assert worker.photos[-1] == photo


JSON_BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "nothing": (b"", "malformed_body", None),
    "no JSON": (b"email=a", "malformed_body", None),
    "cut off": (b'{"email": "a', "malformed_body", None),
    "a list": (b"[]", "malformed_body", None),
    "a text": (b'"x"', "malformed_body", None),
    "null": (b"null", "malformed_body", None),
    "more than one": (b"{}{}", "malformed_body", None),
    "a mark of byte order": (b"\xef\xbb\xbf{}", "malformed_body", None),
    "UTF-16": ("{}".encode("utf-16"), "malformed_body", None),
    "no UTF-8": (b'{"email": "\xff"}', "malformed_body", None),
    "half a surrogate pair": (b'{"email": "\\ud800"}', "malformed_body", None),
    "infinity": (b'{"email": Infinity}', "malformed_body", None),
    "a number beyond all bounds": (b'{"email": 1e999}', "malformed_body", None),
    "a number of 5,000 digits": (b'{"email": ' + b"9" * 5000 + b"}", "malformed_body", None),
    "60,000 lists in each other": (b"[" * 60_000, "malformed_body", None),
    "300 objects in each other": (b'{"email":' * 300 + b"1" + b"}" * 300, "malformed_body", None),
    "a name twice": (b'{"email": "a@b", "email": "c@d"}', "invalid_request", "email"),
    "a name twice, escaped": (b'{"email": "a@b", "\\u0065mail": "c@d"}', "invalid_request", "email"),
    "a name twice, deep": (b'{"email": {"a": [{"b": 1, "b": 2}]}}', "invalid_request", "b"),
    "an unknown name": (b'{"\\u0000{0}": 1}', "invalid_request", "\x00{0}"),
    "a number of 4,000 digits": (b'{"email": ' + b"9" * 4000 + b"}", "malformed_body", None),
    "a number of 65 bits": (b'{"email": 9223372036854775808}', "malformed_body", None),
    "the largest number": (b'{"email": -9223372036854775808}', "invalid_request", "email"),
    "a list as text": (b'{"email": ["a@b"]}', "invalid_request", "email"),
    "100 objects in each other": (b'{"email":' * 100 + b"1" + b"}" * 100, "invalid_request", "email"),
    "null for text": (b'{"email": null}', "invalid_request", "email"),
    "too long": (b'{"email": "' + b"a" * 70_000 + b'"}', "body_too_large", None),
}


@pytest.mark.parametrize("path", ["/register", "/login"])
async def test_json_that_is_not_as_it_should_be(client: Client, path: str) -> None:
    for case, (body, code, field) in JSON_BODIES.items():
        answer = await client.call("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (case, answer.code) == (case, code)
        fields = [error["field"] for error in answer.body.get("errors", [])]
        assert field is None or field in fields


CONTENT_TYPES = {
    "none": "",
    "another": "text/plain",
    "XML": "application/xml",
    "nearly": "application/jsonx",
    "a form": "application/x-www-form-urlencoded",
    "no type at all": ";;;",
    "letters of another alphabet": "application/jsön",
}


@pytest.mark.parametrize("path", ["/login", "/face/search"])
async def test_content_types_that_are_not_taken(client: Client, path: str) -> None:
    for case, content_type in CONTENT_TYPES.items():
        answer = await client.call("POST", path, data=b"{}", headers={"Content-Type": content_type})
        assert (case, answer.status, answer.code) == (case, 415, "unsupported_content_type")


async def test_an_encoded_body_is_not_decoded(client: Client) -> None:
    for encoding in ("gzip", "br", "identity, gzip", "x"):
        answer = await client.call(
            "POST",
            "/login",
            data=zlib.compress(bytes(10_000_000)),
            headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        )
        assert (encoding, answer.status, answer.code) == (encoding, 415, "unsupported_content_type")


FIELDS: dict[str, tuple[Mapping[str, str], str]] = {
    "an id with NUL": ({"user_id": "a\x00b"}, "user_id"),
    "an id that is blank": ({"user_id": " \u2003"}, "user_id"),
    "an id of dots": ({"user_id": ".."}, "user_id"),
    "an empty id": ({"user_id": ""}, "user_id"),
    "an id too long": ({"user_id": "x" * 129}, "user_id"),
    "a name of 201 emoji": ({"full_name": "🙂" * 201}, "full_name"),
    "a name with a line break": ({"full_name": "Ada\nLovelace"}, "full_name"),
    "51 tags": ({"tags": json.dumps(["a"] * 51)}, "tags"),
    "a tag that is a number": ({"tags": "[1]"}, "tags.0"),
    "a tag too long": ({"tags": "x" * 65}, "tags.0"),
    "metadata that are a list": ({"metadata": "[]"}, "metadata"),
    "metadata that name a thing twice": ({"metadata": '{"a": 1, "a": 2}'}, "metadata"),
    "metadata without an end": ({"metadata": '{"a": 1'}, "metadata"),
    "metadata with infinity": ({"metadata": '{"a": 1e999}'}, "metadata"),
    "metadata with a number of 65 bits": ({"metadata": '{"a": [9223372036854775808]}'}, "metadata"),
    "metadata too deep": ({"metadata": '{"a":' * 300 + "1" + "}" * 300}, "metadata"),
    "metadata too large": ({"metadata": json.dumps({"a": "x" * 4096})}, "metadata"),
    "an unknown field": ({"{0.__class__}": "1"}, "{0.__class__}"),
    "a place in a list": ({"tags[0]": "a"}, "tags[0]"),
    "a list that is none": ({"full_name[]": "a"}, "full_name[]"),
}


async def test_fields_that_are_wrong_are_named(client: Client) -> None:
    for case, (fields, wrong) in FIELDS.items():
        answer = await client.call("POST", "/face/enroll", data=form(None, **{"user_id": "ada", **fields}))
        assert (case, answer.status, answer.code) == (case, 422, "invalid_request")
        assert [case, *(error["field"] for error in answer.body["errors"])] == [case, wrong]


async def test_a_name_may_have_200_characters_of_any_kind(client: Client) -> None:
    for name in ("🙂" * 200, "é" * 200, "\u0130" * 200, "👩‍🚀" * 60, "\u202eabc"):
        answer = await client.call("POST", "/face/enroll", data=form(None, user_id="ada", full_name=name))
        assert (answer.status, answer.body["full_name"]) == (201, name)


@pytest.mark.parametrize("path", ["/face/search", "/face/verify"])
async def test_a_place_may_not_write_into_the_log_what_a_terminal_obeys(client: Client, path: str) -> None:
    for name, text in product(("device_id", "site"), ("a\x1b[2J", "a\nb", "\x00", " ", "x" * 129)):
        data = form(None, location=json.dumps({name: text}))
        answer = await client.call("POST", path, data=data)
        assert answer.code == "invalid_request"
        assert [error["field"] for error in answer.body["errors"]] == [f"location.{name}"]


async def test_a_device_is_found_however_its_name_is_composed(client: Client) -> None:
    await client.search(location=json.dumps({"device_id": "Cafe\u0301"}))
    for name in ("Cafe\u0301", "Caf\u00e9"):
        answer = await client.call("GET", "/logs", params={"device_id": name})
        assert [item["location"]["device_id"] for item in answer.body["items"]] == ["Caf\u00e9"]


QUERIES = {
    "limit=0": "invalid_request",
    "limit=501": "invalid_request",
    "limit=1&limit=1": "invalid_request",
    "limit=1;limit=2": "invalid_request",
    "limit=%31%30%30%30": "invalid_request",
    "limit=" + "9" * 6000: "invalid_request",
    "limit=1e2": "invalid_request",
    "from=yesterday": "invalid_request",
    "from=2026-02-30": "invalid_request",
    "from=2026-13-01T00:00:00Z": "invalid_request",
    "from=0001-01-01T00:00:00%2B23:59": "invalid_request",
    "to=9999-12-31T23:59:59-23:59": "invalid_request",
    "to=1e9": "invalid_request",
    "to=": "invalid_request",
    "outcome=MATCHED": "invalid_request",
    "user_id=": "invalid_request",
    "user_id=%00": "invalid_request",
    "device_id=" + "x" * 129: "invalid_request",
    "colour=red": "invalid_request",
    "=": "invalid_request",
    "cursor=": "invalid_cursor",
    "cursor=nonsense": "invalid_cursor",
    "cursor=%C3%A9": "invalid_cursor",
    "cursor=" + "A" * 5000: "invalid_cursor",
    "cursor=" + base64.urlsafe_b64encode(b"[" * 700).decode(): "invalid_cursor",
    "user_id=%FF": "malformed_request",
    "user_id=%ED%A0%80": "malformed_request",
    "user_id=%zz": "malformed_request",
    "user_id=50%": "malformed_request",
    "%FF=1": "malformed_request",
}


async def test_queries_that_are_wrong(client: Client, tls_folder: Path) -> None:
    for query, code in QUERIES.items():
        assert (query[:60], *await asked(client, tls_folder, f"GET /logs?{query}")) == (
            query[:60],
            {"invalid_request": 422}.get(code, 400),
            code,
        )


PATHS = (
    *("/faces/%00", "/faces/%FF", "/faces/%zz", "/faces/..", "/faces/a%2Fb", "/faces/" + "a" * 4000),
    *("//healthz", "/healthz/", "/HEALTHZ", "/problems/%FF", "/problems/..%2F..", "/jobs/1", "/"),
    "/faces/0198c0de00007000800000000000000",
    "/faces/{0198c0de-0000-7000-8000-000000000001}",
)


async def test_paths_that_lead_nowhere(client: Client, tls_folder: Path) -> None:
    for path in PATHS:
        assert (path[:60], *await asked(client, tls_folder, f"GET {path}")) == (path[:60], 404, "not_found")
    for path in ("%00", "%FF", "%ED%A0%80", "%2e%2e", "a%2Fb", "a" * 1000):
        found = await asked(client, tls_folder, f"DELETE /users/{path}")
        assert (path[:9], *found) == (path[:9], 404, "not_found")


async def asked(client: Client, tls_folder: Path, line: str) -> tuple[int, str | None]:
    """Status and code of a request whose line stands on the wire as it is written here."""
    request = (
        f"{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\nConnection: close\r\n\r\n"
    )
    return read(await raw(client, tls_folder, request.encode()))


def read(answer: bytes) -> tuple[int, str | None]:
    head, _, body = answer.partition(b"\r\n\r\n")
    code = json.loads(body)["code"] if b"application/problem+json" in head else None
    return int(head.split(b" ")[1]), code


def post(*headers: bytes, body: bytes = b"") -> bytes:
    """A log-in with these headers."""
    fixed = (b"POST /login HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Type: application/json")
    return b"\r\n".join((*fixed, *headers, b"", body))


CHUNKED = b"Transfer-Encoding: chunked"

WIRE: dict[str, tuple[bytes, int, str | None]] = {
    "both lengths": (post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400, "malformed_request"),
    "two lengths": (
        post(b"Content-Length: 2", b"Content-Length: 3", body=b"{}"),
        400,
        "malformed_request",
    ),
    "a signed length": (post(b"Content-Length: +2", body=b"{}"), 400, "malformed_request"),
    "a length in hex": (post(b"Content-Length: 0x2", body=b"{}"), 400, "malformed_request"),
    "a length beyond bounds": (
        post(b"Content-Length: " + b"9" * 30, body=b"{}"),
        400,
        "malformed_request",
    ),
    "another encoding": (post(b"Transfer-Encoding: gzip", body=b"{}"), 400, "malformed_request"),
    "chunked twice": (
        post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "a chunk of no size": (post(CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
    "a chunk of less than nothing": (
        post(CHUNKED, body=b"-1\r\n{}\r\n0\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "a chunk beyond bounds": (post(CHUNKED, body=b"f" * 40 + b"\r\n{}\r\n"), 400, "malformed_request"),
    "a chunk longer than said": (post(CHUNKED, body=b"2\r\n{}xx0\r\n\r\n"), 400, "malformed_request"),
    "no host": (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "malformed_request"),
    "two hosts": (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        400,
        "malformed_request",
    ),
    "NUL in a header": (post(b"X: a\x00b"), 400, "malformed_request"),
    "a folded header": (post(b"X: a\r\n b"), 400, "malformed_request"),
    "a header without a colon": (post(b"X"), 400, "malformed_request"),
    "a space before the colon": (post(b"X : y"), 400, "malformed_request"),
    "bare line feeds": (
        b"GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n",
        400,
        "malformed_request",
    ),
    "a bare carriage return": (post(b"X: a\rb"), 400, "malformed_request"),
    "a line too long": (
        b"GET /healthz?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        400,
        "malformed_request",
    ),
    "no method": (b"G@T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
    "TLS in TLS": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "malformed_request"),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "a tunnel": (
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        404,
        "not_found",
    ),
    "the server as a whole": (
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        404,
        "not_found",
    ),
    "an absolute target that is none": (
        b"GET https://[::1/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        400,
        "malformed_request",
    ),
    # What is unusual, and right (RFC 9112 §3.2.2 and §2.5).
    "an absolute target": (
        b"GET https://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        200,
        None,
    ),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200, None),
    "an upgrade that is not taken": (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\n\r\n",
        200,
        None,
    ),
}


async def test_what_is_wrong_on_the_wire(client: Client, tls_folder: Path) -> None:
    for case, (sent, status, code) in WIRE.items():
        async with asyncio.timeout(10):
            answer = await raw(client, tls_folder, sent)
        assert (case, *read(answer)) == (case, status, code)


async def test_garbage_behind_a_request_does_not_spoil_its_answer(client: Client, tls_folder: Path) -> None:
    good = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw(client, tls_folder, good + b"\x00\x01garbage\r\n\r\n")
    assert b"400 Bad Request" in answer
    answer = await raw(client, tls_folder, good * 20 + b"nonsense\r\n\r\n")
    assert answer.count(b"HTTP/1.") >= 1


async def test_a_chunked_photo_is_bounded_like_any_other(client: Client) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"--x\r\n" + IMAGE + b'; filename="a"\r\n\r\n' + jpeg()
        for _ in range(1000):
            yield bytes(10_000)
        yield b"\r\n" + END

    answer = await client.call("POST", "/face/search", data=chunks(), headers={"Content-Type": FORM})
    assert (answer.status, answer.code) == (413, "image_too_large")


async def test_a_field_given_twice_is_refused_in_each_way_of_sending(client: Client) -> None:
    photo = base64.b64encode(jpeg()).decode()
    as_json = f'{{"image": "{photo}", "user_id": "ada", "user_id": "bob"}}'.encode()
    field = b'Content-Disposition: form-data; name="user_id"'
    as_form = part(IMAGE, jpeg()) + part(field, b"ada") + part(field, b"bob") + END
    for body, content_type in ((as_json, "application/json"), (as_form, FORM)):
        answer = await client.call("POST", "/face/enroll", data=body, headers={"Content-Type": content_type})
        assert answer.body["errors"] == [{"field": "user_id", "message": "is given twice"}]


class TestConnections:
    """Clients that do not go through with it."""

    async def test_one_that_says_nothing_is_not_waited_for(
        self, client: Client, tls_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ingress.server._KEEPALIVE_S", 0.1)
        async with another(client, tls_folder) as second:
            for sent in (b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "):
                async with asyncio.timeout(10):
                    assert await raw(second, tls_folder, sent) == b""

    async def test_one_that_sends_a_form_drop_by_drop_is_not_waited_for(
        self, client: Client, tls_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ingress.photos._TIMEOUT_S", 0.1)
        begun = b"--x\r\n" + IMAGE + b"\r\n\r\n" + jpeg()[:50]
        request = (
            b"POST /face/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            b"Authorization: Bearer " + (client.token or "").encode() + b"\r\n\r\n"
        )
        answer = await raw(client, tls_folder, request + begun)
        assert read(answer) == (408, "request_timeout")

    async def test_one_that_closes_its_half_is_answered_or_let_go(
        self, client: Client, tls_folder: Path
    ) -> None:
        """TLS has no half: who ends what it sends has ended the connection (RFC 8446 §6.1 lets us)."""
        requests = (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
            b"",
        )
        for request in requests:
            await asyncio.to_thread(_half_closed, client.port, tls_folder / "ca.pem", request)

    async def test_one_that_speaks_no_tls_is_let_go(self, client: Client) -> None:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
            writer.write(sent)
            if writer.can_write_eof():
                writer.write_eof()
            async with asyncio.timeout(10):
                assert b"HTTP" not in await reader.read()
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def another(client: Client, tls_folder: Path) -> AsyncGenerator[Client]:
    """A second ingress over the same services, with what the test has changed."""

    async def readiness() -> Seen:
        return Seen({})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    running = await serve_ingress(client.services, context, readiness)
    try:
        yield Client(client.http, f"https://127.0.0.1:{running.port}", running.port, client.services)
    finally:
        await running.stop()


def _half_closed(port: int, ca_file: Path, request: bytes) -> bytes:
    trust = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=True) as secure,
    ):
        if request:
            secure.sendall(request)
        socket.socket.shutdown(secure, socket.SHUT_WR)
        received = b""
        try:
            while part_ := secure.recv(2**16):
                received += part_
        except OSError:
            pass
        return received
