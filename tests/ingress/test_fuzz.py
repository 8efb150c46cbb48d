"""Mutations of good requests at every route: `.venv/bin/pytest -s -m long tests/ingress/test_fuzz.py`."""

import asyncio
import random
import re
import secrets
from pathlib import Path

import pytest
import structlog

from ingress.routes import ROUTES
from tests.ingress.conftest import Client, jpeg
from tests.ingress.test_http import raw
from tests.ingress.test_recognition import END, IMAGE, part

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REQUESTS = 3000
SOME_ID = "0198c0de-0000-7000-8000-000000000001"
ODD = (
    *(b"\x00", b"\xff", b"\r\n", b"%00", b"%ff", b"{", b'"', b"--x", b"9" * 400, b"\xed\xa0\x80", b"="),
    *(b"..", b"/", b"?", b"&", b":", b";", b" ", b"\\u0000", b"1e999", b"null", b"-1", b"[" * 250),
)
BODIES = (
    (b"application/json", b'{"email": "a@b", "password": "a long password", "company_name": "Acme"}'),
    (b"application/json", b'{"image": "/9j/", "user_id": "ada", "metadata": {"a": [1, 2.5, null]}}'),
    (
        b"multipart/form-data; boundary=x",
        part(IMAGE, jpeg()) + part(b'Content-Disposition: form-data; name="user_id"', b"ada") + END,
    ),
)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that lacks its end, or headers that do, hold nothing up."""
    for name in (
        "ingress.bodies._JSON_TIMEOUT_S",
        "ingress.photos._TIMEOUT_S",
        "ingress.server._KEEPALIVE_S",
    ):
        monkeypatch.setattr(name, 0.2)


@pytest.mark.usefixtures("impatience")
async def test_nothing_that_is_sent_makes_us_fail(client: Client, tls_folder: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    for number in range(REQUESTS):
        sent = mutated(generator, request(generator, client.token or ""))
        with structlog.testing.capture_logs() as lines:
            async with asyncio.timeout(30):
                answer = await raw(client, tls_folder, sent)
        failures = [line for line in lines if line["log_level"] in {"error", "critical"}]
        assert failures == [], (seed, number, sent)
        assert not answer or answer.split(b" ", 2)[1][:1] in {b"1", b"2", b"4"}, (seed, number, sent)
    assert (await client.call("GET", "/healthz")).status == 200


def request(generator: random.Random, token: str) -> bytes:
    """A request of some route that is nearly right."""
    route = generator.choice(ROUTES)
    path = route.path.format_map(dict.fromkeys(re.findall(r"{(\w+)}", route.path), SOME_ID))
    query = generator.choice((b"", b"?limit=5&cursor=abc", b"?user_id=ada&from=2026-01-01", b"?wait=0"))
    content_type, body = generator.choice(BODIES)
    heads = (
        route.method.encode() + b" " + path.encode() + query + b" HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Authorization: Bearer " + token.encode(),
        b"Prefer: wait=0",
        b"Accept: " + generator.choice((b"*/*", b"text/csv", b"application/x-ndjson;q=0.5")),
        b"Content-Type: " + content_type,
        b"Content-Length: " + str(len(body)).encode(),
    )
    return b"\r\n".join((*heads, b"", body if route.method != "GET" else b""))


def mutated(generator: random.Random, sent: bytes) -> bytes:
    """A few bytes changed, put in, taken out or doubled; sometimes none."""
    changed = bytearray(sent)
    for _ in range(generator.randrange(4)):
        at = generator.randrange(len(changed))
        length = generator.randrange(1, 20)
        match generator.randrange(4):
            case 0:
                changed[at] = generator.randrange(256)
            case 1:
                changed[at:at] = generator.choice(ODD)
            case 2:
                del changed[at : at + length]
            case _:
                changed[at:at] = changed[at : at + length]
        if not changed:
            return b"\r\n"
    return bytes(changed)
