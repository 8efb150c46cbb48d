"""Servers whose disks are full: what is new is refused, what was accepted is done once there is room, and
nobody has to see to it."""

import asyncio
import os
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from pymongo.errors import PyMongoError
from structlog.testing import capture_logs

from infra.clock import SystemClock
from infra.services import Services
from infra.settings import Settings
from infra.vectors.qdrant_calls import QdrantAddress
from scripts.setup import set_up_bucket
from tests.ingress.conftest import MODEL, Answer, Client, form, jpeg, keeping_photos
from tests.ingress.real_workers import real_workers
from tests.servers import kafka, secantus, versitygw
from tests.servers.engine import Server, free_port, or_skip
from tests.servers.qdrant import QdrantServer
from tests.servers.small_disk import SmallDisk, small_disk
from tests.stores import Servers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_PATIENCE_S: Final = 90
_MIB: Final = 2**20
_LARGE: Final = bytes(4000)
"""After a photo's end, so that it travels as a blob."""


@dataclass(frozen=True)
class Filled:
    """A server and its disk."""

    server: Server
    disk: SmallDisk

    def fill(self) -> None:
        """Leave no room, nor what the server has put aside for itself."""
        self.disk.fill()
        if isinstance(self.server, secantus.MongoServer):
            with suppress(PyMongoError), self.server.client() as client:
                for _ in range(1000):
                    client["others"]["ballast"].insert_one({"ballast": os.urandom(_MIB)})

    def have_room(self) -> None:
        """What retention or an operator frees; and whoever supervises a server starts it again when it has
        stopped, or stopped working, for want of room, as Kafka and MongoDB do."""
        self.disk.free()
        if not isinstance(self.server, versitygw.S3Server):
            self.server.kill()
            self.server.restart()


@dataclass(frozen=True)
class SmallServers:
    servers: Servers
    by_part: Mapping[str, Filled]


@pytest.fixture(scope="module")
def small_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServers]:
    for server in (kafka, versitygw):
        or_skip(server.fetch)
    folder = tmp_path_factory.mktemp("small")
    with ExitStack() as stack:
        broker = stack.enter_context(kafka.running(folder / "kafka", up=False))
        documents = stack.enter_context(secantus.running(folder / "mongo", up=False))
        objects = stack.enter_context(versitygw.running(folder / "s3", up=False))
        disks = {
            part: Filled(server, stack.enter_context(small_disk(server, server.folder / "data", size)))
            for part, server, size in (
                ("broker", broker, 256 * _MIB),
                ("documents", documents, 256 * _MIB),
            )
        }
        data = small_disk(objects, folder / "s3" / "data", 16 * _MIB)
        disks["objects"] = Filled(objects, stack.enter_context(data))
        for filled in disks.values():
            filled.server.restart()
        port = free_port()
        nobody = QdrantServer(QdrantAddress(f"http://127.0.0.1:{port}"), port, None)
        servers = Servers(broker, documents, objects, nobody, "small")
        asyncio.run(set_up_bucket(Settings(**servers.settings), print, SystemClock()))
        yield SmallServers(servers, disks)


@pytest.fixture
def servers(small_servers: SmallServers) -> Servers:
    return small_servers.servers


@pytest.fixture(autouse=True)
def captured_log() -> Generator[None]:
    """Drawing a traceback for the terminal takes a second, and there are many here."""
    with capture_logs():
        yield


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has stopped is waited for, for a while."""
    monkeypatch.setattr("infra.broker.kafka.producer._PUBLISH_S", 3)


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"max_inline_bytes": 2000}


@pytest.fixture
async def working(services: Services, settings: Settings, tmp_path: Path) -> Any:
    async with real_workers(settings, MODEL, tmp_path / "index") as workers:
        yield workers


async def enrol(client: Client, number: int, padding: bytes = b"") -> Answer:
    """Somebody new, under a key."""
    photo = jpeg(200 + number) + padding
    headers = {"Prefer": "respond-async", "Idempotency-Key": f"enrol-{number}"}
    return await client.call("POST", "/face/enroll", data=form(photo, user_id=f"u-{number}"), headers=headers)


async def until_accepted(client: Client, number: int, padding: bytes) -> str:
    """A client that comes again for as long as it is told to."""
    async with asyncio.timeout(_PATIENCE_S):
        while (answer := await enrol(client, number, padding)).status != 202:
            assert (answer.status, answer.code) in {
                (503, "unavailable"),
                (409, "idempotency_in_progress"),
            }, answer.body
    return answer.body["job_id"]


async def down(client: Client) -> set[str]:
    answer = await client.call("GET", "/readyz")
    return {name for name, state in answer.body["parts"].items() if state != "ready"}


@pytest.mark.parametrize("part", ["objects", "broker", "documents"])
async def test_what_is_new_is_refused_and_what_was_accepted_is_done_once_there_is_room(
    stranger: Client, working: Services, small_servers: SmallServers, part: str
) -> None:
    filled, client = small_servers.by_part[part], await stranger.register()
    await client.services.companies.configure(client.company_id, keeping_photos(part == "objects"))
    padding = _LARGE if part == "objects" else b""
    accepted = [(await enrol(client, 0)).body["job_id"]]
    await asyncio.to_thread(filled.fill)
    number = 1
    while (answer := await enrol(client, number, padding)).status == 202:
        # What a server still had room for, of its own.
        accepted.append(answer.body["job_id"])
        number += 1
    assert (answer.status, answer.code) == (503, "unavailable"), answer.body
    assert int(answer.headers["Retry-After"]) > 0
    assert part in await down(client)
    if part == "objects":
        # What needs no room there is accepted; its photo is to be kept, which has to wait.
        accepted.append((await enrol(client, 900)).body["job_id"])
    await asyncio.to_thread(filled.have_room)
    accepted.append(await until_accepted(client, number, padding))
    async with asyncio.timeout(_PATIENCE_S):
        while part in await down(client):
            pass
    for job_id in accepted:
        ended = await client.call("GET", f"/jobs/{job_id}?wait=60")
        assert (ended.status, ended.body.get("state")) == (200, "succeeded"), ended.body
    logged = Counter[str]()
    url = "/logs?limit=500"
    entries = await client.call("GET", url)
    logged.update(entry["job_id"] for entry in entries.body["items"])
    assert logged == Counter(accepted), "one entry each"
    faces = await client.call("GET", "/faces?limit=500")
    assert len(faces.body["items"]) == len(accepted), "one face each"
