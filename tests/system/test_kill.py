"""Nothing is lost: processes are killed -9 in the middle of a stream of jobs, and everything accepted is done
once."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from faceid_client import AsyncClient, NotReachable, Reply
from infra.clock import SystemClock
from infra.opening import open_services, open_vectors
from infra.repositories.collections import FACES, JOBS
from infra.settings import Settings
from schemas.jobs import JobState
from schemas.records import FaceState
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.system.photos import variants
from workers.recognition.model import calibrated_model
from workers.recognition.weights import find_weights

pytestmark = pytest.mark.system

_COMPANIES = 3
_PHOTOS_A_PERSON = 6
_SEARCHES_A_COMPANY = 8
_KILLS = 8
_DEADLINE_S = 180
_ASYNC = {"Prefer": "respond-async"}
_VICTIMS = ("host", "compute_child", "opener_child", "edge_child")


@dataclass
class Company:
    """A company of the test, and which of its jobs were accepted."""

    number: int
    token: str = ""
    accepted: list[str] = field(default_factory=list[str])

    @property
    def account(self) -> dict[str, str]:
        return {
            "company_name": f"Company {self.number}",
            "email": f"admin-{self.number}@example.com",
            "password": "a long enough password",
        }


@dataclass
class Supervised:
    """A service that is started again whenever it was killed: what a process supervisor does."""

    process: ServiceProcess
    up: asyncio.Event = field(default_factory=asyncio.Event)
    kills: Counter[str] = field(default_factory=Counter[str])

    async def start(self) -> None:
        await self.process.start()
        self.up.set()

    async def kill(self, victim: str) -> None:
        """Kill -9 the host or one of its children."""
        self.kills[victim] += 1
        if victim == "host":
            self.up.clear()
            tree = psutil.Process(self.process.pid).children(recursive=True)
            await self.process.kill()
            _, orphans = await asyncio.to_thread(psutil.wait_procs, tree, timeout=10)
            assert not orphans, "killing the host left its children behind"
            await self.start()
            return
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # One that was killed before may be dying yet.
                if any(part.endswith(victim) for part in child.cmdline()):
                    child.send_signal(signal.SIGKILL)


@pytest.fixture
async def supervised(tmp_path: Path) -> AsyncIterator[Supervised]:
    # A search waits as long as it takes here: what is tested is that it is done, not how soon.
    patient = {"FACEID_SEARCH_TTL_S": "3600"}
    supervised = Supervised(ServiceProcess(tmp_path, tmp_path / "serve.log", extra_environment=patient))
    await supervised.start()
    yield supervised
    await supervised.process.stop()


@pytest.mark.timeout(600)
async def test_nothing_is_lost_when_processes_are_killed(supervised: Supervised, photos: Photos) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    companies = [Company(number) for number in range(_COMPANIES)]
    for company in companies:
        await _register(supervised, company)

    work = [_work(company, photos) for company in companies]
    submissions = [submission for company_work in work for submission in company_work]
    chance.shuffle(submissions)
    victims = [_VICTIMS[turn % len(_VICTIMS)] for turn in range(_KILLS)]
    chance.shuffle(victims)
    every = len(submissions) // (len(victims) + 1)
    for number, (company, path, photo, fields) in enumerate(submissions, start=1):
        if number % every == 0 and victims:
            await supervised.kill(victims.pop())
        await _submit(supervised, company, path, photo, fields)
    assert sum(supervised.kills.values()) == _KILLS

    for company in companies:
        await _all_done_once(supervised, company)
    assert await supervised.process.stop() == 0
    await _stores_agree(supervised.process, {company.number: company for company in companies})


def _work(company: Company, photos: Photos) -> list[tuple[Company, str, bytes, dict[str, Any]]]:
    enrolments = [
        (company, "/face/enroll", photo, {"user_id": name, "full_name": name})
        for name in ("Barack Obama", "Joe Biden", "Grace Hopper")
        for photo in variants(photos.people[name][0], _PHOTOS_A_PERSON)
    ]
    probes = variants(photos.people["Barack Obama"][1], _SEARCHES_A_COMPANY)
    return enrolments + [(company, "/face/search", photo, dict[str, Any]()) for photo in probes]


async def _register(supervised: Supervised, company: Company) -> None:
    async with AsyncClient(supervised.process.url, ca_file=supervised.process.ca_file) as api:
        assert (await api.call("POST", "/register", json=company.account)).status == 201
        await api.login(company.account["email"], company.account["password"])
        company.token = api.token or ""


async def _submit(
    supervised: Supervised, company: Company, path: str, photo: bytes, fields: dict[str, Any]
) -> None:
    """Submit until it is accepted. An attempt whose answer was cut off may have been accepted, too: that is
    found out later, from the jobs."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            await supervised.up.wait()
            try:
                async with AsyncClient(supervised.process.url, ca_file=supervised.process.ca_file) as api:
                    api.token = company.token
                    reply = await api.call("POST", path, photo=photo, fields=fields, headers=_ASYNC)
            except NotReachable:
                continue
            if reply.status == 202:
                company.accepted.append(reply.body["job_id"])
                return
            assert reply.status == 503, reply.body


async def _all_done_once(supervised: Supervised, company: Company) -> None:
    async with AsyncClient(supervised.process.url, ca_file=supervised.process.ca_file) as api:
        api.token = company.token
        faces: list[str] = []
        for job_id in company.accepted:
            reply = await _ended(api, job_id)
            assert reply.body["state"] == "succeeded", reply.body
            if "face_id" in reply.body["result"]:
                faces.append(reply.body["result"]["face_id"])
        assert len(faces) == 3 * _PHOTOS_A_PERSON
        assert len(set(faces)) == len(faces), "two jobs made one face"
        for face_id in faces:
            assert (await api.call("GET", f"/faces/{face_id}")).status == 200
        entries = await _log(api)
        logged = Counter(entry["job_id"] for entry in entries)
        assert set(company.accepted) <= set(logged)
        assert set(logged.values()) == {1}


async def _ended(api: AsyncClient, job_id: str) -> Reply:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            reply = await api.call("GET", f"/jobs/{job_id}", params={"wait": "50"})
            assert reply.status == 200, reply.body
            if reply.body["state"] != "queued":
                return reply


async def _log(api: AsyncClient) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    params = {"limit": "25"}
    while True:
        body = (await api.call("GET", "/logs", params=params)).body
        entries.extend(body["items"])
        if body["next_cursor"] is None:
            return entries
        params["cursor"] = body["next_cursor"]


async def _stores_agree(process: ServiceProcess, companies: dict[int, Company]) -> None:
    """With the service stopped: every face record has its one point, every job has ended."""
    settings = Settings.model_validate(
        {name.removeprefix("FACEID_").lower(): value for name, value in process.settings.items()}
    )
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    async with (
        open_services(settings, model.stamp, model.calibration, SystemClock()) as services,
        open_vectors(settings, model.stamp, SystemClock()) as index,
    ):
        found = await services.documents.companies(FACES)
        assert len(found) == len(companies)
        for company_id in found:
            records = await services.faces.changed_since(company_id, 0, limit=500)
            faces = [record for record in records if record.state is FaceState.ACTIVE]
            points, _ = await index.scroll(company_id, after=None, limit=500)
            assert {str(point.face_id) for point in points} == {face.id for face in faces}
            jobs_of_faces = [face.job_id for face in faces]
            assert len(jobs_of_faces) == len(set(jobs_of_faces))
            queued = await services.documents.count(JOBS, company_id, where={"state": JobState.QUEUED})
            assert queued == 0
