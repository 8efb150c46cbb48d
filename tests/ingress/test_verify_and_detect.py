"""POST /face/verify and /face/detect, and what a search takes besides: over HTTPS, with a worker without a
model."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import pytest

from infra.repositories.jobs import Ending, LogEntry
from schemas.access import KEY_SCOPES, Role, Scope
from schemas.jobs import JobKind, JobRecord, JobState, LogDetails, Outcome
from schemas.messages import PhotoBody, SearchFields, VerifyFields
from schemas.problems import ProblemError
from tests.ingress.conftest import Answer, Client, form, jpeg
from tests.ingress.worker import Worker

OTHER = jpeg(80, 60)


def two_photos(name: str = "other_image", other: bytes = OTHER, **fields: str) -> aiohttp.FormData:
    """A form with two photos."""
    data = form(None, **fields)
    data.add_field(name, other, filename="other.jpg", content_type="image/jpeg")
    return data


async def verify(client: Client, data: aiohttp.FormData, **options: Any) -> Answer:
    return await client.call("POST", "/face/verify", data=data, **options)


async def entries(client: Client) -> list[dict[str, Any]]:
    return (await client.call("GET", "/logs")).body["items"]


class TestVerify:
    async def test_a_photo_is_compared_with_a_users_faces(self, client: Client, worker: Worker) -> None:
        await client.enrol("ada")
        answer = await verify(client, form(user_id="ada", threshold="92%", location='{"device_id": "door"}'))
        assert (answer.status, answer.body["matched"]) == (200, True)
        job, body = worker.jobs[1], worker.bodies[1]
        assert isinstance(body, PhotoBody)
        assert body.verify is not None
        assert (body.verify.threshold_percent, body.second) == (92.0, None)
        assert (job.kind, job.deadline_at is not None) == (JobKind.VERIFY, True)
        users = client.services.users
        assert job.subject_user_hash == await users.hash_of(client.company_id, "ada")

    async def test_a_photo_is_compared_with_another(self, client: Client, worker: Worker) -> None:
        photo = jpeg()
        as_json = {"image": base64.b64encode(photo).decode(), "other_image": base64.b64encode(OTHER).decode()}
        for answer in (
            await verify(client, two_photos()),
            await client.call("POST", "/face/verify", json=as_json),
        ):
            assert answer.status == 200
        assert worker.photos == [photo, OTHER] * 2
        assert [job.subject_user_hash for job in worker.jobs] == [None, None]

    async def test_under_an_idempotency_key_another_second_photo_is_another_request(
        self, client: Client
    ) -> None:
        key = {"Idempotency-Key": "once"}
        first = await verify(client, two_photos(), headers=key)
        again = await verify(client, two_photos(), headers=key)
        assert (first.status, again.body["job_id"]) == (200, first.body["job_id"])
        other = await verify(client, two_photos(other=jpeg(90, 60)), headers=key)
        assert (other.status, other.code) == (422, "idempotency_key_reused")

    async def test_it_is_either_a_user_or_a_photo(self, client: Client) -> None:
        for data in (form(), two_photos(user_id="ada")):
            answer = await verify(client, data)
            assert (answer.status, answer.code) == (422, "invalid_request")
            assert [error["field"] for error in answer.body["errors"]] == ["user_id", "other_image"]

    async def test_a_user_who_is_not_there_is_refused_and_logged(self, client: Client) -> None:
        answer = await verify(client, form(user_id="nobody", location='{"device_id": "door"}'))
        assert (answer.status, answer.code) == (404, "not_found")
        (entry,) = await entries(client)
        assert (entry["kind"], entry["outcome"], entry["code"]) == ("verify", "refused", "not_found")
        assert (entry["user_id"], entry["location"]) == (None, {"device_id": "door"})

    async def test_an_erased_user_is_not_there(self, client: Client) -> None:
        await client.enrol("ada")
        await client.call("DELETE", "/users/ada")
        assert (await verify(client, form(user_id="ada"))).code == "not_found"

    async def test_the_two_photos_problems_are_told_apart(self, client: Client) -> None:
        for first, other, field in ((jpeg(), b"GIF89a", "other_image"), (b"GIF89a", OTHER, "image")):
            data = form(first)
            data.add_field("other_image", other, filename="other")
            answer = await verify(client, data)
            assert (answer.status, answer.code) == (415, "unsupported_media_type")
            assert answer.body["detail"].startswith(f"{field}: ")
            assert [error["field"] for error in answer.body["errors"]] == [field]

    async def test_a_photo_given_twice_is_refused(self, client: Client) -> None:
        data = two_photos()
        data.add_field("other_image", OTHER, filename="again")
        answer = await verify(client, data)
        assert answer.body["errors"] == [{"field": "other_image", "message": "is given twice"}]

    async def test_a_second_photo_that_is_no_base64(self, client: Client) -> None:
        photo = base64.b64encode(jpeg()).decode()
        answer = await client.call("POST", "/face/verify", json={"image": photo, "other_image": "no!"})
        assert answer.body["errors"] == [{"field": "other_image", "message": "must be text in base64"}]

    async def test_who_may_not_search_may_not_verify_and_that_is_logged(self, client: Client) -> None:
        await client.become(Role.AUDITOR)
        assert (await verify(client, form(user_id="ada"))).code == "forbidden"
        assert [(entry["kind"], entry["code"]) for entry in await entries(client)] == [
            ("verify", "forbidden")
        ]


class TestSmallLimits:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"max_photo_bytes": 20_000, "max_inline_bytes": len(jpeg()) + 10}

    async def test_two_photos_of_which_one_would_fit_are_one_blob(
        self, client: Client, worker: Worker
    ) -> None:
        assert (await verify(client, two_photos())).status == 200
        (job,), (body,) = worker.jobs, worker.bodies
        assert isinstance(body, PhotoBody)
        assert (body.photo, body.second) == (None, None)
        assert job.blob_key is not None

    async def test_each_photo_has_the_limit_for_itself(self, client: Client) -> None:
        large, small = OTHER + bytes(20_000 - len(OTHER)), jpeg()
        assert (await verify(client, two_photos(other=large))).status == 200
        for first, other, field in ((small, large + b"x", "other_image"), (large + b"x", small, "image")):
            data = form(first)
            data.add_field("other_image", other, filename="other")
            as_json = {
                name: base64.b64encode(photo).decode()
                for name, photo in (("image", first), ("other_image", other))
            }
            for answer in (
                await verify(client, data),
                await client.call("POST", "/face/verify", json=as_json),
            ):
                assert (answer.status, answer.code) == (413, "image_too_large")
                assert answer.body["detail"].startswith(f"{field}: ")


class TestDetect:
    async def test_a_photo_is_looked_at_and_not_logged(self, client: Client, worker: Worker) -> None:
        answer = await client.call("POST", "/face/detect", data=form())
        assert (answer.status, answer.body["faces"]) == (200, [])
        (job,) = worker.jobs
        assert (job.kind, job.deadline_at is not None) == (JobKind.DETECT, True)
        assert (await client.call("POST", "/face/detect", data=form(b"GIF89a"))).status == 415
        assert await entries(client) == []

    async def test_it_takes_nothing_but_the_photo(self, client: Client) -> None:
        answer = await client.call("POST", "/face/detect", data=form(user_id="ada"))
        assert answer.body["errors"] == [{"field": "user_id", "message": "is not known here"}]


class TestThresholds:
    @pytest.mark.parametrize(
        ("spelling", "percent"),
        [("90", 90), ("90%", 90), ("0.9", 90), (".9", 90), ("90.5 %", 90.5), ("100", 100), ("1%", 1)],
    )
    async def test_every_spelling_is_a_percentage(
        self, client: Client, worker: Worker, spelling: str, percent: float
    ) -> None:
        assert (await client.search(threshold=spelling)).status == 200
        (body,) = worker.bodies
        assert isinstance(body, PhotoBody)
        assert body.search is not None
        assert body.search.threshold_percent == pytest.approx(percent)

    async def test_numbers_in_json_are_spellings_too(self, client: Client, worker: Worker) -> None:
        photo = base64.b64encode(jpeg()).decode()
        for value in (90, 90.0, 0.9, "0.9"):
            answer = await client.call("POST", "/face/search", json={"image": photo, "threshold": value})
            assert (value, answer.status) == (value, 200)
        fields = [body.search for body in worker.bodies if isinstance(body, PhotoBody)]
        assert [one.threshold_percent for one in fields if one] == [90] * 4

    @pytest.mark.parametrize(
        "spelling", ["1", "0", "-5", "high", "85 percent", "101", "", "1e2", "\uff18\uff15"]
    )
    async def test_what_is_doubtful_is_refused(self, client: Client, spelling: str) -> None:
        for answer in (
            await client.search(threshold=spelling),
            await verify(client, two_photos(threshold=spelling)),
        ):
            assert (spelling, answer.status, answer.code) == (spelling, 422, "invalid_threshold")

    async def test_looser_takes_the_scope_and_stricter_does_not(self, client: Client, worker: Worker) -> None:
        assert (await client.search(threshold="60")).status == 200
        assert (await verify(client, two_photos(threshold="60"))).status == 200
        await client.become(Role.STAFF)
        for answer in (await client.search(threshold="60"), await verify(client, two_photos(threshold="60"))):
            assert (answer.status, answer.code) == (403, "threshold_too_low")
        assert (await client.search(threshold="99")).status == 200
        fields = [body.search or body.verify for body in worker.bodies if isinstance(body, PhotoBody)]
        assert [one.may_loosen for one in fields if one] == [True, True, False]


class TestInvestigation:
    async def test_it_takes_the_scope_and_the_wish(self, client: Client, worker: Worker) -> None:
        await client.search()
        await client.search(investigate="true")
        bodies = [body for body in worker.bodies if isinstance(body, PhotoBody)]
        assert [body.search and body.search.investigate for body in bodies] == [False, True]
        await client.become(Role.STAFF)
        answer = await client.search(investigate="true")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert (await client.search(investigate="false")).status == 200

    async def test_a_search_says_which_faces_it_is_for(self, client: Client, worker: Worker) -> None:
        assert (await client.search(face="all", limit="50")).status == 200
        (body,) = worker.bodies
        assert isinstance(body, PhotoBody)
        assert body.search == SearchFields(face="all", limit=50, may_loosen=True)
        wrong = await client.search(face="smallest")
        assert wrong.body["errors"][0]["field"] == "face"


class TestGroups:
    async def test_a_bound_key_searches_its_own_groups(
        self, client: Client, worker: Worker, calls_as: Callable[..., None]
    ) -> None:
        calls_as(scopes=KEY_SCOPES, groups=frozenset({"hq", "lab"}))
        asked: Mapping[str, tuple[str, ...]] = {"": ("hq", "lab"), "lab": ("lab",)}
        for groups in asked:
            answer = await client.search(None, headers=None, **({"groups": groups} if groups else {}))
            assert answer.status == 200
        fields = [body.search for body in worker.bodies if isinstance(body, PhotoBody)]
        assert [one.groups for one in fields if one] == list(asked.values())
        outside = await client.search(groups='["lab", "vault"]')
        assert (outside.status, outside.code) == (403, "forbidden")

    async def test_a_bound_key_verifies_its_own_users(
        self, client: Client, worker: Worker, calls_as: Callable[..., None]
    ) -> None:
        for user_id, group in (("ada", "hq"), ("bob", "vault")):
            await client.call("POST", "/face/enroll", data=form(user_id=user_id, groups=group))
        calls_as(scopes=KEY_SCOPES, groups=frozenset({"hq"}))
        assert (await verify(client, form(user_id="ada"))).status == 200
        assert (await verify(client, form(user_id="bob"))).code == "not_found"
        body = worker.bodies[-1]
        assert isinstance(body, PhotoBody)
        assert body.verify == VerifyFields(groups=("hq",), may_loosen=True)

    async def test_a_bound_key_enrols_into_its_own_groups(
        self, client: Client, calls_as: Callable[..., None]
    ) -> None:
        async def enrol(user_id: str, **fields: str) -> Answer:
            return await client.call("POST", "/face/enroll", data=form(None, user_id=user_id, **fields))

        await enrol("ada", groups='["hq", "vault"]')
        await enrol("bob", groups="vault")
        calls_as(scopes=KEY_SCOPES, groups=frozenset({"hq", "lab"}))
        assert (await enrol("bob")).code == "not_found"
        assert (await enrol("cat", groups="vault")).code == "forbidden"
        assert (await enrol("cat")).body["groups"] == ["hq", "lab"]
        assert (await enrol("ada")).body["groups"] == ["hq", "vault"]
        moved = sorted((await enrol("ada", groups="lab")).body["groups"])
        assert moved == ["lab", "vault"], "what the key is not bound to, it leaves alone"


def duplicate_of(job: JobRecord, user_id: str) -> Ending:
    """An enrolment refused since the face is this user's."""
    problem = ProblemError("duplicate_face", job_id=job.id, user_id=user_id)
    return Ending(
        state=JobState.FAILED,
        http_status=409,
        answer=problem.problem(job.correlation_id),
        event_type="face.enroll_failed",
        code=problem.code,
        log=LogEntry(outcome=Outcome.REFUSED, details=LogDetails(id=job.id)),
    )


async def test_a_duplicates_other_person_is_named_only_to_who_may_read_them(
    client: Client, worker: Worker, calls_as: Callable[..., None]
) -> None:
    await client.call("POST", "/face/enroll", data=form(user_id="ada", groups="vault"))
    worker.hold = True
    pending = await client.enrol("eve", headers={"Prefer": "respond-async"})
    job = await worker.job(2)
    await worker.finish(client.company_id, job, duplicate_of(job, "ada"))

    async def named() -> list[Any]:
        shown = await client.call("GET", pending.headers["Location"])
        listed = await client.call("GET", "/jobs", params={"correlation_id": job.correlation_id})
        problems = [shown.body["problem"], listed.body["items"][0]["problem"]]
        assert [problem["code"] for problem in problems] == ["duplicate_face"] * 2
        return [problem.get("user_id") for problem in problems]

    assert await named() == ["ada", "ada"]
    for scopes, groups, told in (
        (KEY_SCOPES - {Scope.FACES_READ}, None, None),
        (KEY_SCOPES, frozenset({"hq"}), None),
        (KEY_SCOPES, frozenset({"hq", "vault"}), "ada"),
    ):
        calls_as(groups=groups, scopes=scopes)
        assert await named() == [told, told]


async def test_an_enrolment_that_is_refused_at_once_hides_the_other_person_too(
    client: Client, worker: Worker, calls_as: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.enrol("ada")

    async def refusing(company_id: Any, job: JobRecord, body: Any) -> Ending:
        return duplicate_of(job, "ada")

    monkeypatch.setattr(worker, "_ending", refusing)
    told = await client.enrol("eve")
    assert (told.status, told.code, told.body["user_id"]) == (409, "duplicate_face", "ada")
    calls_as(groups=None, scopes=frozenset({Scope.FACES_WRITE}))
    hidden = await client.enrol("eve")
    assert (hidden.status, hidden.code) == (409, "duplicate_face")
    assert "user_id" not in hidden.body
    assert "ada" not in hidden.content.decode()


async def test_a_reference_photo_travels_with_an_enrolment(client: Client, worker: Worker) -> None:
    photo = jpeg()
    answer = await client.call("POST", "/face/enroll", data=two_photos("reference_image", user_id="ada"))
    assert answer.status == 201
    assert worker.photos == [photo, OTHER]
    wrong = await client.call(
        "POST", "/face/enroll", data=two_photos("reference_image", b"GIF89a", user_id="ada")
    )
    assert (wrong.status, wrong.code) == (415, "unsupported_media_type")
    assert wrong.body["detail"].startswith("reference_image: ")
