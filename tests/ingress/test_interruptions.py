"""A keyed request that is interrupted at any of its writes, and sent again: one job, one face, one entry, one
answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from infra.broker.port import Broker
from infra.clock import ManualClock
from infra.documents.port import Documents, DocumentsUnavailable
from infra.objects.port import Objects
from infra.repositories.collections import API_KEYS, COMPANIES, FACES, JOBS, MEMBERS
from infra.services import Services
from schemas.jobs import JobState
from tests.ingress.conftest import PASSWORD, Answer, Client
from tests.ingress.worker import Worker

pytestmark = pytest.mark.system

_WRITES = frozenset({"insert", "compare_and_set", "compare_and_set_many", "delete", "publish", "put", "sync"})


class Crash(asyncio.CancelledError):
    """What a request meets whose process dies: nothing of it runs on, and nobody is answered."""


@dataclass
class Faults:
    """Interrupts the write of a given number, counted from when it was armed."""

    number: int = 0
    applied: bool = False
    """Whether the write is done nonetheless, and only its outcome is lost."""
    error: Callable[[], BaseException] = Crash
    met: str | None = None
    _count: int = 0

    def arm(self, number: int, *, applied: bool, error: Callable[[], BaseException]) -> None:
        self.number, self.applied, self.error = number, applied, error
        self.met, self._count = None, 0

    def disarm(self) -> None:
        self.number = 0

    async def write(self, name: str, do: Callable[[], Any]) -> Any:
        self._count += 1
        if self._count != self.number:
            return await do()
        self.met = name
        if self.applied:
            await do()
        raise self.error()


@dataclass(frozen=True)
class Interrupted:
    """A store whose writes may be interrupted; everything else is the store's own."""

    store: Documents | Broker | Objects
    faults: Faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if name not in _WRITES:
            return method

        async def write(*arguments: Any, **options: Any) -> Any:
            return await self.faults.write(name, lambda: method(*arguments, **options))

        return write


def over(services: Services, store: Callable[[Any], Any]) -> Services:
    """The same services over other stores."""
    return Services.over(
        settings=services.settings,
        clock=services.clock,
        entropy=services.entropy,
        model=services.model,
        calibration=services.calibration,
        master=services.master,
        keys=services.keys,
        documents=store(services.documents),
        broker=store(services.broker),
        objects=store(services.objects),
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Every photo is a blob, so that there is one more write to interrupt."""
    return {"max_inline_bytes": 0, "access_token_s": 86_400}


@pytest.fixture(autouse=True)
def captured_log() -> Generator[None]:
    """Drawing a traceback for the terminal takes a second, and there are many here."""
    with capture_logs():
        yield


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def services(services: Services, faults: Faults) -> Services:
    """The stores as the ingress sees them."""
    return over(services, lambda store: Interrupted(store, faults))


@pytest.fixture
async def worker(services: Services) -> AsyncGenerator[Worker]:
    """Sees the stores as they are."""
    async with Worker(over(services, lambda interrupted: interrupted.store)).at_work() as worker:
        yield worker


def down() -> DocumentsUnavailable:
    return DocumentsUnavailable()


async def answered(call: Awaitable[Answer]) -> Answer | None:
    """The answer; None where the process died before there was one."""
    try:
        return await call
    except aiohttp.ServerDisconnectedError:
        return None


@pytest.mark.parametrize("preference", ["respond-async", "wait=10"])
@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("error", [Crash, down])
async def test_an_enrolment_is_done_once(
    client: Client,
    worker: Worker,
    faults: Faults,
    clock: ManualClock,
    preference: str,
    applied: bool,
    error: Callable[[], BaseException],
) -> None:
    met: list[str] = []
    for number in range(1, 20):
        key = {"Idempotency-Key": str(number)}
        user_id = f"user-{number}"
        faults.arm(number, applied=applied, error=error)
        first = await answered(client.enrol(user_id, headers={**key, "Prefer": preference}))
        assert faults.met is None or first is None or first.status == 503
        if error is Crash or applied:
            clock.advance(30)
        faults.disarm()
        again = await client.enrol(user_id, headers=key)
        assert (faults.met, again.status) == (faults.met, 201), again.body
        last = await client.enrol(user_id, headers=key)
        assert last.body == again.body
        if faults.met is None:
            break
        met.append(faults.met)
    marked = ["compare_and_set"] if preference == "respond-async" else []
    assert met == ["insert", "insert", "put", "publish", *marked]
    await _is_done_once(client, len(met) + 1)


async def test_an_enrolment_whose_client_is_gone_when_it_ends(
    client: Client, worker: Worker, clock: ManualClock, faults: Faults
) -> None:
    """As if the process had died while it held the call, and the worker had gone on."""
    worker.hold = True
    key = {"Idempotency-Key": "1"}
    first = await client.enrol(headers={**key, "Prefer": "respond-async"})
    job = await worker.job()
    worker.hold = False
    clock.advance(30)
    again = await client.enrol(headers=key)
    assert (first.status, again.status) == (202, 201)
    assert again.body["job_id"] == job.id
    await _is_done_once(client, 1)


async def _is_done_once(client: Client, count: int) -> None:
    documents = client.services.documents
    jobs = (await documents.find(JOBS, client.company_id, limit=100)).items
    assert [(job.state, job.logged) for job in jobs] == [(JobState.SUCCEEDED, True)] * count
    assert await documents.count(FACES, client.company_id) == count
    left = [blob async for blob in client.services.objects.list(client.company_id, "inflight/")]
    assert len(left) <= count, "blobs put again after the end are swept away"


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("error", [Crash, down])
async def test_a_registration_is_made_once(
    stranger: Client, faults: Faults, clock: ManualClock, applied: bool, error: Callable[[], BaseException]
) -> None:
    met: list[str] = []
    for number in range(1, 20):
        key = {"Idempotency-Key": str(number)}
        account = {"company_name": "Acme", "email": f"{number}@example.org", "password": PASSWORD}
        faults.arm(number, applied=applied, error=error)
        await answered(stranger.call("POST", "/register", json=account, headers=key))
        if error is Crash or applied:
            clock.advance(30)
        faults.disarm()
        again = await stranger.call("POST", "/register", json=account, headers=key)
        assert (faults.met, again.status) == (faults.met, 201), again.body
        last = await stranger.call("POST", "/register", json=account, headers=key)
        assert last.body == again.body
        await stranger.login(account["email"])
        stranger.token = None
        if faults.met is None:
            break
        met.append(faults.met)
    assert met == ["insert", "insert", "insert", "insert", "compare_and_set"]
    assert len(await stranger.services.documents.companies(COMPANIES)) == len(met) + 1


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("error", [Crash, down])
@pytest.mark.parametrize("path", ["/members", "/api-keys", "/api-keys/{key_id}/rotate"])
async def test_what_has_a_secret_is_made_once_and_its_secret_shown_once(
    client: Client,
    faults: Faults,
    clock: ManualClock,
    path: str,
    applied: bool,
    error: Callable[[], BaseException],
) -> None:
    documents = client.services.documents
    new_key = {"name": "door", "scopes": ["search"]}
    interrupted = 0
    body: Mapping[str, Any]
    for number in range(1, 20):
        old = (await client.call("POST", "/api-keys", json=new_key)).body
        body = {"overlap_s": 3600} if "rotate" in path else new_key
        if path == "/members":
            body = {"email": f"{number}@example.org", "role": "staff"}
        before = (
            await documents.count(MEMBERS, client.company_id),
            await documents.count(API_KEYS, client.company_id),
        )
        headers = {"Idempotency-Key": str(number)}
        target = path.format(key_id=old["key_id"])
        faults.arm(number, applied=applied, error=error)
        await answered(client.call("POST", target, json=body, headers=headers))
        met = faults.met
        if error is Crash or applied:
            clock.advance(30)
        faults.disarm()
        again = await client.call("POST", target, json=body, headers=headers)
        shown = met is None or (met == "compare_and_set" and applied and again.status == 409)
        if shown:
            assert again.code == "secret_already_shown", (met, again.body)
        else:
            assert again.status in {200, 201}, (met, again.body)
        last = await client.call("POST", target, json=body, headers=headers)
        assert last.code == "secret_already_shown"
        after = (
            await documents.count(MEMBERS, client.company_id),
            await documents.count(API_KEYS, client.company_id),
        )
        assert sum(after) - sum(before) == (0 if "rotate" in path else 1)
        if "rotate" in path:
            # The secret before works on, however often the rotation was taken up.
            works = await client.fresh().call("GET", "/jobs", headers={"X-API-Key": old["api_key"]})
            assert works.status == 200, met
        if met is None:
            break
        interrupted += 1
    assert interrupted > 2
