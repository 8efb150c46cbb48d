"""A service that is killed -9 in the middle of keyed enrolments, and a client that repeats each until it has
its answer: every key is one job, one face, one entry of the log."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faceid_client import AsyncClient, ConnectionLost, NotReachable, Reply
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.system.photos import variants

pytestmark = pytest.mark.system

_PEOPLE = ("Barack Obama", "Joe Biden", "Grace Hopper")
_PHOTOS_A_PERSON = 8
_AT_ONCE = 4
_KILLS = 3
_DEADLINE_S = 300
_ACCOUNT = {"company_name": "Acme", "email": "ada@example.org", "password": "a long enough password"}


@dataclass
class Service:
    """A service that may be killed, and is then started again."""

    process: ServiceProcess
    token: str = ""
    up: asyncio.Event = field(default_factory=asyncio.Event)
    tries: Counter[str] = field(default_factory=Counter[str])

    async def start(self) -> None:
        await self.process.start()
        self.up.set()

    async def kill(self) -> None:
        self.up.clear()
        await self.process.kill()
        await self.start()

    async def repeated(self, key: str, **options: Any) -> Reply:
        """Send a request under a key until there is an answer that is neither 409 "in progress" nor 503."""
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                await self.up.wait()
                self.tries[key] += 1
                pause_s = 0.0
                try:
                    async with AsyncClient(self.process.url, ca_file=self.process.ca_file) as api:
                        api.token = self.token
                        reply = await api.call(headers={"Idempotency-Key": key}, **options)
                except (ConnectionLost, NotReachable):
                    continue
                if reply.status not in {409, 503}:
                    return reply
                assert reply.status == 503 or reply.body["code"] == "idempotency_in_progress", reply.body
                pause_s = float(reply.headers["Retry-After"])
                await asyncio.sleep(pause_s)  # What a client does who is told when to come back.


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(ServiceProcess(tmp_path, tmp_path / "serve.log"))
    await service.start()
    yield service
    await service.process.stop()


@pytest.mark.timeout(600)
async def test_every_key_is_one_job_however_often_it_is_sent(service: Service, photos: Photos) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    assert (await service.repeated("register", method="POST", path="/register", json=_ACCOUNT)).status == 201
    async with AsyncClient(service.process.url, ca_file=service.process.ca_file) as api:
        await api.login(_ACCOUNT["email"], _ACCOUNT["password"])
        service.token = api.token or ""

    work = [
        {"method": "POST", "path": "/face/enroll", "photo": photo, "fields": {"user_id": name}}
        for name in _PEOPLE
        for photo in variants(photos.people[name][0], _PHOTOS_A_PERSON)
    ]
    chance.shuffle(work)
    answers: dict[str, Reply] = {}
    places = asyncio.Semaphore(_AT_ONCE)

    async def enrol(key: str, request: dict[str, Any]) -> None:
        async with places:
            answers[key] = await service.repeated(key, **request)

    async def kill_now_and_then() -> None:
        for turn in range(1, _KILLS + 1):
            while len(answers) < turn * len(work) // (_KILLS + 1):  # noqa: ASYNC110 - answers come in by themselves
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.random() * 0.2)  # Somewhere in the middle of those that are under way.
            await service.kill()

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_now_and_then())
        for number, request in enumerate(work):
            group.create_task(enrol(f"key-{number}", request))

    assert {reply.status for reply in answers.values()} == {201}
    for number, request in enumerate(work):
        again = await service.repeated(f"key-{number}", **request)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.body == answers[f"key-{number}"].body
    assert sum(service.tries.values()) > 2 * len(work), "some request was cut off, and sent again"
    await _each_is_one(service, {key: reply.body for key, reply in answers.items()})


async def _each_is_one(service: Service, bodies: dict[str, dict[str, Any]]) -> None:
    job_ids = {body["job_id"] for body in bodies.values()}
    face_ids = {body["face_id"] for body in bodies.values()}
    assert len(job_ids) == len(face_ids) == len(bodies)
    async with AsyncClient(service.process.url, ca_file=service.process.ca_file) as api:
        api.token = service.token
        jobs = (await api.call("GET", "/jobs", params={"kind": "enroll", "limit": "500"})).body["items"]
        assert Counter(job["job_id"] for job in jobs) == Counter(job_ids)
        assert {job["state"] for job in jobs} == {"succeeded"}
        entries = (await api.call("GET", "/logs", params={"limit": "500"})).body["items"]
        assert Counter(entry["job_id"] for entry in entries) == Counter(job_ids)
        for face_id in face_ids:
            assert (await api.call("GET", f"/faces/{face_id}")).status == 200
