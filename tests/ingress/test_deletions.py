"""Deletion as it is promised: denied from its acceptance, waited for, and never lost."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from infra.broker.port import BrokerUnavailable
from infra.clock import ManualClock
from infra.repositories.collections import JOBS
from schemas.jobs import JobKind, JobState
from schemas.records import UserState
from tests.ingress.conftest import Client
from tests.ingress.worker import Worker, removed
from workers.ending import Finisher
from workers.relay import Relay
from workers.sweeping import Sweeper

pytestmark = pytest.mark.on_servers

NOW = {"Prefer": "respond-async"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def enrolled(client: Client, worker: Worker) -> tuple[str, str]:
    """The paths of a face and of its user; from now on removals are held."""
    face_id = (await client.enrol("ada")).body["face_id"]
    worker.hold = True
    return f"/faces/{face_id}", "/users/ada"


@pytest.mark.parametrize("of_user", [False, True])
async def test_a_deletion_is_waited_for_and_denies_meanwhile(
    client: Client, worker: Worker, of_user: bool
) -> None:
    face, user = await enrolled(client, worker)
    path = user if of_user else face
    deleting = asyncio.create_task(client.call("DELETE", path))
    job = await worker.job(2)
    assert (await client.call("GET", face)).code == "not_found"
    assert (await client.call("DELETE", path)).code == "not_found", "while the first is running"
    await worker.finish(client.company_id, job, removed(job))
    answer = await deleting
    assert (answer.status, answer.content) == (204, b"")
    assert "Preference-Applied" not in answer.headers
    assert (await client.call("DELETE", path)).code == "not_found"
    assert len(worker.jobs) == 2


@pytest.mark.parametrize("of_user", [False, True])
async def test_a_deletion_is_waited_for_for_ten_seconds(
    client: Client, worker: Worker, clock: ManualClock, of_user: bool
) -> None:
    face, user = await enrolled(client, worker)
    deleting = asyncio.create_task(client.call("DELETE", user if of_user else face))
    job = await worker.job(2)
    for _ in range(10):
        await clock.until_sleeping(2)  # whoever waits, and who looks at the queue of searches
        assert not deleting.done()
        clock.advance(1)
    answer = await deleting
    assert (answer.status, answer.headers["Location"]) == (202, f"/jobs/{job.id}")
    await worker.finish(client.company_id, job, removed(job))
    assert (await client.call("GET", answer.headers["Location"])).body["state"] == "succeeded"


async def test_a_preference_of_a_deletion_is_followed(client: Client, worker: Worker) -> None:
    face, user = await enrolled(client, worker)
    first = await client.call("DELETE", face, headers=NOW)
    second = await client.call("DELETE", user, headers={"Prefer": "wait=0"})
    for answer, applied in ((first, "respond-async"), (second, "wait=0")):
        assert (answer.status, answer.headers["Preference-Applied"]) == (202, applied)
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("of_user", [False, True])
async def test_a_deletion_that_could_not_be_published_is_published_by_the_sweep(
    client: Client, worker: Worker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, of_user: bool
) -> None:
    face, user = await enrolled(client, worker)
    worker.hold = False

    async def down(*_: object, **__: object) -> None:
        raise BrokerUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(type(client.services.broker), "publish", down)
        answer = await client.call("DELETE", user if of_user else face)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert (await client.call("GET", face)).code == "not_found", "denied nonetheless"
    kind = JobKind.ERASE_USER if of_user else JobKind.DELETE_FACE
    (left,) = (
        await client.services.documents.find(
            JOBS,
            client.company_id,
            where={"kind": kind, "state": JobState.QUEUED},
            order_by=("created_at",),
        )
    ).items
    sweeper = Sweeper(client.services, Finisher(client.services, Relay(client.services)))
    assert await sweeper.end_lost_jobs() == 0
    clock.advance(timedelta(minutes=5, seconds=1).total_seconds())
    assert await sweeper.end_lost_jobs() == 1
    job = await worker.job(2)
    assert job.id == left.id
    ended = await client.call("GET", f"/jobs/{job.id}?wait=30")
    assert ended.body["state"] == "succeeded"


async def test_somebody_whose_first_enrolment_is_on_its_way_is_erased(client: Client, worker: Worker) -> None:
    worker.hold = True
    await client.enrol("ada", headers=NOW)
    await worker.job()
    assert (await client.call("DELETE", "/users/bob", headers=NOW)).code == "not_found"
    answer = await client.call("DELETE", "/users/ada", headers=NOW)
    assert (answer.status, answer.body["kind"]) == (202, "erase_user")
    user_hash = await client.services.users.hash_of(client.company_id, "ada")
    shell = await client.services.users.get(client.company_id, user_hash)
    assert shell is not None
    assert (shell.state, shell.epoch) == (UserState.ERASED, 1)
    record = await client.services.jobs.get(client.company_id, UUID(answer.body["job_id"]))
    assert record is not None
    assert record.subject_epoch == 0
