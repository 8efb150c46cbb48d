"""`Idempotency-Key` over real HTTPS and real stores: done once, answered as the first time."""

import asyncio
import base64
import secrets
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from multidict import CIMultiDict

from infra.broker.port import BrokerUnavailable
from infra.clock import ManualClock
from infra.repositories.collections import CLAIMS, FACES, JOBS
from ingress.answers import json_response
from ingress.bodies import JsonBody
from ingress.calls import Call
from ingress.routes import ROUTES
from ingress.routing import Route
from schemas.access import KEY_SCOPES, Scope
from schemas.api.base import Request
from schemas.ids import PLATFORM
from schemas.jobs import JobState
from tests.ingress.conftest import PASSWORD, Answer, Client, form, jpeg
from tests.ingress.worker import Worker, searched
from workers.ending import Finisher
from workers.relay import Relay
from workers.sweeping import Sweeper

pytestmark = pytest.mark.system

KEY = {"Idempotency-Key": "4be9a2d1"}
NOW = {**KEY, "Prefer": "respond-async"}
ADA = {"company_name": "Acme", "email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def enrol(client: Client, user_id: str = "ada", **options: Any) -> Answer:
    return await client.enrol(user_id, **{"headers": KEY, **options})


async def jobs_of(client: Client) -> int:
    return await client.services.documents.count(JOBS, client.company_id)


async def test_the_first_answer_is_given_again(client: Client, worker: Worker) -> None:
    first = await enrol(client)
    again = await enrol(client)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(worker.jobs) == 1
    assert await jobs_of(client) == 1


async def test_without_a_key_every_request_is_another(client: Client, worker: Worker) -> None:
    await client.search()
    await client.search()
    assert len(worker.jobs) == 2
    assert (await client.services.documents.find(CLAIMS, client.company_id)).items == ()


async def test_other_fields_under_a_key_are_refused(client: Client) -> None:
    await enrol(client)
    for answer in (
        await enrol(client, "bob"),
        await client.call("POST", "/face/enroll", data=form(user_id="ada", full_name="Ada"), headers=KEY),
        await client.call("POST", "/face/enroll", data=form(jpeg(80), user_id="ada"), headers=KEY),
        await client.search(headers=KEY),
    ):
        assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert await client.services.documents.count(FACES, client.company_id) == 1


async def test_the_same_fields_in_another_form_are_the_same_request(client: Client, worker: Worker) -> None:
    photo = jpeg()
    fields = {"user_id": "ada", "full_name": "Ada", "tags": ["a", "b"], "metadata": {"x": 1, "y": 2}}
    data = form(photo, metadata='{"y": 2, "x": 1}', full_name="Ada", user_id="ada", tags='["a", "b"]')
    image = base64.b64encode(photo).decode()
    first = await client.call("POST", "/face/enroll", data=data, headers=KEY)
    again = await client.call("POST", "/face/enroll", json={**fields, "image": image}, headers=KEY)
    turned = dict(reversed([*fields.items(), ("image", image)]))
    third = await client.call("POST", "/face/enroll", json=turned, headers=KEY)
    assert first.status == 201, first.body
    assert first.body == again.body == third.body
    assert len(worker.jobs) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "x" * 256, "a\tb"])
async def test_a_key_must_be_visible_ascii(client: Client, key: str) -> None:
    answer = await enrol(client, headers={"Idempotency-Key": key})
    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")


async def test_two_keys_are_none(client: Client) -> None:
    headers = CIMultiDict([("Authorization", f"Bearer {client.token}"), *KEY.items(), *KEY.items()])
    async with client.http.post(f"{client.base_url}/face/search", data=form(), headers=headers) as answer:
        assert (await answer.json(content_type=None))["code"] == "invalid_idempotency_key"


async def test_the_longest_key_and_every_visible_character_do(client: Client) -> None:
    for key in ("x" * 255, "".join(chr(code) for code in range(0x21, 0x7F))):
        assert (await client.search(headers={"Idempotency-Key": key})).status == 200


async def test_a_key_is_its_credentials(client: Client, stranger: Client, worker: Worker) -> None:
    await enrol(client)
    other = await stranger.register("bob@example.org")
    assert "Idempotent-Replayed" not in (await enrol(other, "bob")).headers
    assert len(worker.jobs) == 2
    # Another log-in of the same member is the same credential.
    await client.login()
    assert "Idempotent-Replayed" in (await enrol(client)).headers


async def test_while_the_first_is_held_the_second_is_told_so(client: Client, worker: Worker) -> None:
    worker.hold = True
    first = asyncio.create_task(client.search(headers=KEY))
    job = await worker.job()
    second = await client.search(headers=KEY)
    assert (second.status, second.code) == (409, "idempotency_in_progress")
    assert second.body["job_id"] == job.id
    assert second.headers["Retry-After"] == "1"
    await worker.finish(client.company_id, job, searched(client.services, job, None))
    assert (await first).status == 200
    assert (await client.search(headers=KEY)).body == (await first).body
    assert await jobs_of(client) == 1, "the refused try is no attempt of its own"


async def test_who_was_told_202_is_told_how_the_job_stands(client: Client, worker: Worker) -> None:
    worker.hold = True
    first = await client.search(headers=NOW)
    again = await client.search(headers=NOW)
    assert (first.status, again.status) == (202, 202)
    assert again.body == first.body
    assert again.headers["Location"] == first.headers["Location"]
    held = asyncio.create_task(client.search(headers={**KEY, "Prefer": "wait=30"}))
    job = await worker.job()
    await worker.finish(client.company_id, job, searched(client.services, job, None))
    assert (await held).status == 200
    assert (await held).headers["Preference-Applied"] == "wait=30"
    assert (await client.search(headers=NOW)).status == 200
    assert len(worker.jobs) == 1


async def test_a_claim_without_a_result_is_taken_up_after_30_seconds(
    client: Client, worker: Worker, clock: ManualClock
) -> None:
    worker.hold = True
    first = await client.search(headers=NOW)
    await worker.job()
    clock.advance(29)
    await client.search(headers=NOW)
    assert len(worker.jobs) == 1
    clock.advance(1)
    again = await client.search(headers=NOW)
    assert (again.status, again.body["job_id"]) == (202, first.body["job_id"])
    second = await worker.job(2)
    assert second.id == first.body["job_id"], "published again, under the same id"
    await client.search(headers=NOW)  # The 30 seconds begin anew.
    assert len(worker.jobs) == 2
    assert await jobs_of(client) == 1


async def test_fifty_at_once_make_one_job(client: Client, worker: Worker) -> None:
    answers = await asyncio.gather(*(enrol(client) for _ in range(50)))
    assert {(answer.status, answer.code) for answer in answers} <= {
        (201, None),
        (409, "idempotency_in_progress"),
    }
    made = [answer.body for answer in answers if answer.status == 201]
    assert made
    assert all(body == made[0] for body in made)
    assert len(worker.jobs) == 1
    assert await jobs_of(client) == 1
    assert await client.services.documents.count(FACES, client.company_id) == 1


async def test_a_refusal_by_the_worker_is_given_again(client: Client, worker: Worker) -> None:
    worker.refuse_with = "no_face"
    first = await client.search(headers=KEY)
    worker.refuse_with = None
    again = await client.search(headers=KEY)
    assert (again.status, again.code) == (422, "no_face")
    assert again.body == first.body


async def test_a_refusal_by_the_ingress_is_given_again_and_logged_once(client: Client) -> None:
    answers = [
        await client.call("POST", "/face/search", data=form(b"no photo"), headers=KEY) for _ in range(2)
    ]
    assert {answer.code for answer in answers} == {"unsupported_media_type"}
    assert answers[0].body == answers[1].body
    assert len((await client.call("GET", "/logs")).body["items"]) == 1


async def test_verify_and_detect_answer_again_too(client: Client, worker: Worker) -> None:
    await client.enrol("ada")
    for path, fields in (("/face/verify", {"user_id": "ada"}), ("/face/detect", dict[str, str]())):
        key = {"Idempotency-Key": path}
        answers = [
            await client.call("POST", path, data=form(None, **fields), headers=headers)
            for headers in (key, key, {**key, "Prefer": "respond-async"})
        ]
        assert {answer.status for answer in answers} == {200}, answers[0].body
        assert answers[0].body == answers[1].body == answers[2].body
    assert len(worker.jobs) == 3


async def test_a_refusal_that_is_no_attempt_is_given_again(client: Client) -> None:
    answers = [
        await client.call("POST", "/face/detect", data=form(b"no photo"), headers=KEY) for _ in range(2)
    ]
    assert {answer.status for answer in answers} == {415}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert answers[0].body == answers[1].body
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert (await client.call("GET", "/logs")).body["items"] == []


async def test_what_is_no_valid_request_claims_nothing(client: Client) -> None:
    wrong = await client.call("POST", "/face/enroll", data=form(user_id=""), headers=KEY)
    assert (wrong.status, wrong.code) == (422, "invalid_request")
    assert (await enrol(client)).status == 201


async def test_a_job_that_failed_for_our_part_releases_the_key(client: Client, worker: Worker) -> None:
    worker.refuse_with = "job_failed"
    first = await client.search(headers=KEY)
    assert (first.status, first.code) == (500, "job_failed")
    worker.refuse_with = None
    again = await client.search(headers=KEY)
    assert again.status == 200
    assert again.body["job_id"] != first.body["job_id"]


async def test_a_publish_that_failed_is_picked_up_by_the_retry(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = type(client.services.broker)
    publish = broker.publish

    async def down(*_: object, **__: object) -> None:
        raise BrokerUnavailable

    monkeypatch.setattr(broker, "publish", down)
    refused = await enrol(client)
    assert (refused.status, refused.code) == (503, "unavailable")
    (left,) = (await client.services.documents.find(JOBS, client.company_id)).items
    assert left.state is JobState.QUEUED
    monkeypatch.setattr(broker, "publish", publish)
    again = await enrol(client)
    assert (again.status, again.body["job_id"]) == (201, left.id)
    assert await jobs_of(client) == 1
    assert "Idempotent-Replayed" in (await enrol(client)).headers


async def test_a_released_key_takes_other_fields(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise BrokerUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(type(client.services.broker), "publish", down)
        assert (await enrol(client)).status == 503
    assert (await enrol(client, "bob")).body["user_id"] == "bob"
    assert (await enrol(client)).code == "idempotency_key_reused"


async def test_a_key_is_kept_for_a_day(client: Client, worker: Worker, clock: ManualClock) -> None:
    await enrol(client)
    clock.advance(24 * 3600 - 1)
    await client.login()
    assert "Idempotent-Replayed" in (await enrol(client)).headers
    clock.advance(1)
    assert (await enrol(client, "bob")).body["user_id"] == "bob"
    sweeper = Sweeper(client.services, Finisher(client.services, Relay(client.services)))
    clock.advance(24 * 3600)
    await sweeper.drop_expired()
    assert (await client.services.documents.find(CLAIMS, client.company_id)).items == ()


async def test_a_claim_names_nobody(client: Client) -> None:
    await enrol(client, "grace.hopper")
    await client.call("POST", "/register", json={**ADA, "email": "eve@example.org"}, headers=KEY)
    for scope in (client.company_id, PLATFORM):
        (claim,) = (await client.services.documents.find(CLAIMS, scope)).items
        text = claim.model_dump_json()
        for secret in ("grace", "4be9a2d1", "eve", "correct", "Acme"):
            assert secret not in text


async def test_a_registration_is_made_once(stranger: Client) -> None:
    first = await stranger.call("POST", "/register", json=ADA, headers=KEY)
    again = await stranger.call("POST", "/register", json=ADA, headers=KEY)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    # Letter case does not make another e-mail address of it, but another request.
    for changed in ({"password": PASSWORD + "!"}, {"email": "ADA@example.org"}, {"company_name": "Else"}):
        answer = await stranger.call("POST", "/register", json={**ADA, **changed}, headers=KEY)
        assert answer.code == "idempotency_key_reused"
    other = await stranger.call("POST", "/register", json={**ADA, "email": "bob@example.org"}, headers=KEY)
    assert other.status == 201
    taken = await stranger.call("POST", "/register", json=ADA, headers={"Idempotency-Key": "another"})
    assert taken.code == "email_taken"
    still = await stranger.call("POST", "/register", json=ADA, headers={"Idempotency-Key": "another"})
    assert still.body == taken.body


async def test_log_in_takes_no_notice_of_a_key(client: Client) -> None:
    account = {"email": ADA["email"], "password": PASSWORD}
    answers = [await client.call("POST", "/login", json=account, headers=KEY) for _ in range(2)]
    assert {answer.status for answer in answers} == {200}
    assert answers[0].body["access_token"] != answers[1].body["access_token"]


def test_every_post_that_makes_something_honours_keys() -> None:
    made_nothing = {"/login", "/token/refresh", "/logout", "/me/password"}
    for route in ROUTES:
        makes = route.method == "POST" and route.path not in made_nothing
        assert (route.path, route.idempotent) == (route.path, makes)


class Thing(Request):
    name: str


@dataclass
class Things:
    """What the route has made; a test may hold its first call."""

    made: dict[UUID, list[str]] = field(default_factory=dict[UUID, list[str]])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def make(self, call: Call, body: Thing) -> web.Response:
        secret = f"secret {secrets.token_hex(8)}"
        self.made.setdefault(call.new_id(), []).append(secret)
        if body.name == "slow" and not self.begun.is_set():
            self.begun.set()
            await self.go_on.wait()
        return json_response(Thing(name=secret), status=201)


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Things:
    """The ingress has a route whose answer holds a secret."""
    things = Things()
    route = Route(
        "POST",
        "/things",
        things.make,
        JsonBody(Thing),
        {201: Thing},
        scope=Scope.MEMBER,
        idempotent=True,
        answers_secret=True,
    )
    monkeypatch.setattr("ingress.app.ROUTES", (*ROUTES, route))
    return things


async def test_what_has_no_order_is_the_same_in_any(client: Client) -> None:
    """Nor may a set's order be that of one process: the request may come again to another."""
    scopes = sorted(KEY_SCOPES)
    codes = [
        (await client.call("POST", "/api-keys", json={"name": "a", "scopes": given}, headers=KEY)).code
        for given in permutations(scopes, len(scopes))
        if given[0] == scopes[-1]
    ]
    assert codes == [None, *["secret_already_shown"] * (len(codes) - 1)]


async def test_a_secret_is_shown_once(things: Things, client: Client) -> None:
    first = await client.call("POST", "/things", json={"name": "a"}, headers=KEY)
    again = await client.call("POST", "/things", json={"name": "a"}, headers=KEY)
    assert first.status == 201
    assert (again.status, again.code) == (409, "secret_already_shown")
    assert [again.body["id"]] == [str(thing_id) for thing_id in things.made]
    (claim,) = (await client.services.documents.find(CLAIMS, client.company_id)).items
    assert claim.answer_sealed is None


async def test_of_two_runs_only_the_later_shows_its_secret(
    things: Things, client: Client, clock: ManualClock
) -> None:
    """The later has replaced what the earlier made, so that one's secret is worth nothing."""
    first = asyncio.create_task(client.call("POST", "/things", json={"name": "slow"}, headers=KEY))
    await things.begun.wait()
    assert (await client.call("POST", "/things", json={"name": "slow"}, headers=KEY)).status == 409
    clock.advance(30)
    second = await client.call("POST", "/things", json={"name": "slow"}, headers=KEY)
    things.go_on.set()
    assert ((await first).status, (await first).code) == (409, "idempotency_in_progress")
    ((_, later),) = things.made.values()
    assert (second.status, second.body) == (201, {"name": later})
    third = await client.call("POST", "/things", json={"name": "slow"}, headers=KEY)
    assert third.code == "secret_already_shown"
