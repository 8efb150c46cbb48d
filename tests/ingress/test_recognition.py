import base64
import json
from typing import Any

import aiohttp
import pytest

from infra.documents.sqlite import SqliteDocuments
from infra.repositories.collections import JOBS
from schemas.access import Role
from schemas.jobs import JobState
from schemas.messages import PhotoBody
from tests.ingress.conftest import Client, form, jpeg
from tests.ingress.worker import Worker, refused


async def test_a_person_is_enrolled(client: Client, worker: Worker) -> None:
    photo = jpeg()
    answer = await client.call(
        "POST",
        "/face/enroll",
        data=form(
            photo,
            user_id="ada",
            full_name="Ada Lovelace",
            tags='["staff", "floor 2"]',
            reference_id="P-17",
            metadata='{"badge": 17}',
        ),
        headers={"X-Correlation-ID": "door-7"},
    )
    assert answer.status == 201
    assert answer.headers["Location"] == f"/faces/{answer.body['face_id']}"
    assert answer.headers["X-Correlation-ID"] == "door-7"
    assert {
        name: answer.body[name] for name in ("user_id", "full_name", "tags", "reference_id", "metadata")
    } == {
        "user_id": "ada",
        "full_name": "Ada Lovelace",
        "tags": ["staff", "floor 2"],
        "reference_id": "P-17",
        "metadata": {"badge": 17},
    }
    assert worker.photos == [photo]
    (job,) = worker.jobs
    assert job.submitted_by.startswith("member:")
    assert job.correlation_id == "door-7"
    assert job.reply_to is not None


async def test_a_probe_is_searched(client: Client, worker: Worker) -> None:
    worker.recognise = "ada"
    answer = await client.search(threshold="92%", limit="3", groups="hq", location='{"device_id": "door-7"}')
    assert answer.status == 200
    assert answer.body["matched"] is True
    assert answer.body["best"]["user_id"] == "ada"
    (body,) = worker.bodies
    assert isinstance(body, PhotoBody)
    assert body.search is not None
    assert body.search.model_dump(exclude_defaults=True) == {
        "threshold_percent": 92.0,
        "groups": ("hq",),
        "limit": 3,
        "location": {"device_id": "door-7"},
        "may_loosen": True,
    }


async def test_a_search_that_finds_nobody_says_so(client: Client) -> None:
    answer = await client.search()
    assert answer.status == 200
    assert answer.body["matched"] is False
    assert answer.body["best"] is None
    assert answer.body["candidates"] == []


async def test_lists_come_in_three_spellings(client: Client) -> None:
    for fields in (
        [("tags", "a"), ("tags", "b")],
        [("tags[]", "a"), ("tags[]", "b")],
        [("tags", '["a", "b"]')],
        [("tags[]", "a"), ("tags", "b")],
    ):
        data = aiohttp.FormData()
        for name, value in fields:
            data.add_field(name, value)
        data.add_field("image", jpeg(), filename="x")
        data.add_field("user_id", "ada")
        answer = await client.call("POST", "/face/enroll", data=data)
        assert (fields, answer.body["tags"]) == (fields, ["a", "b"])


async def test_what_only_begins_like_a_list_is_an_item(client: Client) -> None:
    answer = await client.call("POST", "/face/enroll", data=form(user_id="ada", tags="[draft"))
    assert answer.body["tags"] == ["[draft"]


async def test_a_photo_comes_as_json_too(client: Client, worker: Worker) -> None:
    photo = jpeg()
    lines = base64.encodebytes(photo).decode()
    answer = await client.call(
        "POST",
        "/face/enroll",
        json={"user_id": "ada", "image": lines, "groups": ["hq"], "metadata": {"a": [1]}},
    )
    assert answer.status == 201
    assert answer.body["groups"] == ["hq"]
    assert answer.body["metadata"] == {"a": [1]}
    assert worker.photos == [photo]


async def test_a_problem_of_the_job_is_the_calls(client: Client, worker: Worker) -> None:
    worker.refuse_with = "no_face"
    answer = await client.search(headers={"X-Correlation-ID": "door-7"})
    assert (answer.status, answer.code) == (422, "no_face")
    assert answer.body["job_id"] == worker.jobs[0].id
    assert answer.body["correlation_id"] == "door-7"
    assert answer.body["type"] == "/problems/no_face"


async def test_who_does_not_wait_is_told_where_to_ask(client: Client, worker: Worker) -> None:
    worker.hold = True
    answer = await client.enrol(headers={"Prefer": "respond-async"})
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/jobs/{answer.body['job_id']}"
    assert answer.headers["Retry-After"] == "1"
    assert (answer.body["state"], answer.body["kind"]) == ("queued", "enroll")


async def test_an_answer_within_the_time_preferred_says_so(client: Client) -> None:
    answer = await client.search(headers={"Prefer": "wait=5, handling=lenient"})
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=5"


@pytest.mark.embedded
async def test_a_search_that_waits_costs_one_sync(client: Client) -> None:
    documents = client.services.documents
    assert isinstance(documents, SqliteDocuments)
    await client.search()
    before = documents._file.stats()
    await client.search()
    after = documents._file.stats()
    assert after.synced_commits - before.synced_commits == 1


class TestImpatience:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"wait_s": 0.05}

    async def test_a_job_that_takes_longer_runs_on(
        self, client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker.hold = True
        synced = 0
        sync = client.services.documents.sync

        async def counted() -> None:
            nonlocal synced
            await sync()
            synced += 1

        monkeypatch.setattr(client.services.documents, "sync", counted)
        answer = await client.search()
        assert answer.status == 202
        assert "Preference-Applied" not in answer.headers
        job = await worker.job()
        assert answer.headers["Location"] == f"/jobs/{job.id}"
        assert synced == 1, "what was accepted for who waits is made safe before 202 is told"
        assert job.deadline_at is not None


class TestSmallLimits:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"max_photo_bytes": 20_000, "max_photo_pixels": 10_000, "max_inline_bytes": 100}

    async def test_a_photo_that_does_not_travel_inline_is_a_blob(
        self, client: Client, worker: Worker
    ) -> None:
        assert (await client.search()).status == 200
        (job,) = worker.jobs
        (body,) = worker.bodies
        assert isinstance(body, PhotoBody)
        assert body.photo is None
        assert job.blob_key is not None
        blob = await client.services.objects.get(client.company_id, job.blob_key)
        assert jpeg() not in blob

    async def test_a_photo_that_cannot_be_used(self, client: Client) -> None:
        for photo, status, code in (
            (jpeg() + bytes(20_000), 413, "image_too_large"),
            (jpeg(101, 100), 422, "image_dimensions"),
            (jpeg(19, 100), 422, "image_dimensions"),
            (jpeg()[:100], 422, "corrupt_image"),
            (b"GIF89a" + bytes(100), 415, "unsupported_media_type"),
            (b"", 415, "unsupported_media_type"),
        ):
            for as_json in (False, True):
                answer = await send(client, photo, as_json=as_json)
                assert (photo[:8], answer.status, answer.code) == (photo[:8], status, code)

    async def test_an_endless_photo_is_refused_before_it_has_come(self, client: Client) -> None:
        sent = 0

        async def endless() -> Any:
            nonlocal sent
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            while True:
                sent += 1
                yield bytes(10_000)

        answer = await client.call(
            "POST",
            "/face/search",
            data=endless(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert (answer.status, answer.code) == (413, "image_too_large")
        assert sent > 0


async def send(client: Client, photo: bytes, *, as_json: bool) -> Any:
    if as_json:
        return await client.call("POST", "/face/search", json={"image": base64.b64encode(photo).decode()})
    data = aiohttp.FormData()
    data.add_field("image", photo, filename="x")
    return await client.call("POST", "/face/search", data=data)


async def test_a_wrong_field_is_named(client: Client) -> None:
    for name, value, wrong in (
        ("limit", "51", "limit"),
        ("limit", "many", "limit"),
        ("treshold", "90", "treshold"),
        ("location", "{", "location"),
        ("location", '{"latitude": 100}', "location.latitude"),
        ("limit[]", "1", "limit[]"),
        ("groups", "[]", "groups"),
        ("groups", '["a", 1]', "groups.1"),
    ):
        answer = await client.call("POST", "/face/search", data=form(None, **{name: value}))
        assert (answer.status, answer.code) == (422, "invalid_request")
        assert [value, *(error["field"] for error in answer.body["errors"])] == [value, wrong]


async def test_what_is_missing_is_named(client: Client) -> None:
    data = aiohttp.FormData()
    data.add_field("image", jpeg(), filename="x")
    answer = await client.call("POST", "/face/enroll", data=data)
    assert answer.body["errors"] == [{"field": "user_id", "message": "is required"}]
    bare = aiohttp.FormData({"user_id": "ada"}, default_to_multipart=True)
    for answer in (
        await client.call("POST", "/face/enroll", json={"user_id": "ada"}),
        await client.call("POST", "/face/enroll", data=bare),
    ):
        assert answer.body["errors"] == [{"field": "image", "message": "is required"}]


async def test_a_field_given_twice_is_refused(client: Client) -> None:
    twice = {"image": form(user_id="ada"), "user_id": form(user_id="ada")}
    twice["image"].add_field("image", jpeg(), filename="again")
    twice["user_id"].add_field("user_id", "bob")
    for field, data in twice.items():
        answer = await client.call("POST", "/face/enroll", data=data)
        assert answer.body["errors"] == [{"field": field, "message": "is given twice"}]


async def test_an_image_that_is_no_base64(client: Client) -> None:
    for image in (17, "no base64!", "é", "AAA", None):
        answer = await client.call("POST", "/face/search", json={"image": image})
        assert (image, answer.status, answer.code) == (image, 422, "invalid_request")
        assert answer.body["errors"][0]["field"] == "image"


def part(headers: bytes, content: bytes = b"") -> bytes:
    """One part of a form whose boundary is x."""
    return b"--x\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


LIMIT = b'Content-Disposition: form-data; name="limit"'
IMAGE = b'Content-Disposition: form-data; name="image"'
END = b"--x--\r\n"
FORM = "multipart/form-data; boundary=x"

UNREADABLE = {
    "nothing": (b"", FORM, "malformed_body"),
    "no boundary comes": (b"nothing", FORM, "malformed_body"),
    "no part comes": (b"--x\r\n", FORM, "malformed_body"),
    "no end comes": (part(LIMIT, b"1"), FORM, "malformed_body"),
    "no name": (part(b"X: y", b"1") + END, FORM, "malformed_body"),
    "no boundary told": (END, "multipart/form-data", "malformed_body"),
    "no parts": (END, FORM, "invalid_request"),
    "boundary too long": (END, "multipart/form-data; boundary=" + "x" * 71, "malformed_body"),
    "no UTF-8": (part(LIMIT, b"\xff") + END, FORM, "malformed_body"),
    "a form in a form": (
        part(b"Content-Type: multipart/mixed; boundary=y", b"--y--") + END,
        FORM,
        "malformed_body",
    ),
    "an encoded part": (
        part(IMAGE + b"\r\nContent-Transfer-Encoding: base64", b"AAAA") + END,
        FORM,
        "malformed_body",
    ),
    "a charset too long": (
        part(b'Content-Disposition: form-data; name="_charset_"', b"a" * 40) + END,
        FORM,
        "malformed_body",
    ),
    "a long field": (part(LIMIT, b"1" * 70_000) + END, FORM, "body_too_large"),
    "many fields": (part(LIMIT, b"1") * 300 + END, FORM, "body_too_large"),
    "a long header": (part(LIMIT + b"; x=" + b"y" * 10_000) + END, FORM, "malformed_body"),
    "another kind of form": (b"limit=1", "application/x-www-form-urlencoded", "unsupported_content_type"),
    "a bare photo": (jpeg(), "image/jpeg", "unsupported_content_type"),
    "no number": (b'{"image": NaN}', "application/json", "malformed_body"),
}


async def test_a_body_that_cannot_be_read(client: Client) -> None:
    for case, (body, content_type, code) in UNREADABLE.items():
        headers = {"Content-Type": content_type}
        answer = await client.call("POST", "/face/search", data=body, headers=headers)
        assert (case, answer.code) == (case, code)


async def test_a_threshold_may_be_stricter_than_the_companys_and_no_looser(client: Client) -> None:
    await client.become(Role.STAFF)
    for threshold in ("85", "99.5"):
        assert (await client.search(threshold=threshold)).status == 200
    looser = await client.search(threshold="0.84")
    assert (looser.status, looser.code) == (403, "threshold_too_low")
    assert looser.body["detail"] == "Ask for at least 85 %."
    doubtful = await client.search(threshold="1")
    assert (doubtful.status, doubtful.code) == (422, "invalid_threshold")


async def test_a_refusal_is_an_entry_of_the_access_log(client: Client) -> None:
    refused = await client.search(
        b"GIF89a", location='{"device_id": "door-7"}', headers={"X-Correlation-ID": "knock"}
    )
    (entry,) = (await client.call("GET", "/logs")).body["items"]
    assert (entry["kind"], entry["outcome"], entry["code"]) == ("search", "refused", "unsupported_media_type")
    assert entry["job_id"] == refused.body["job_id"]
    assert entry["correlation_id"] == "knock"
    assert entry["location"] == {"device_id": "door-7"}
    job = await client.call("GET", f"/jobs/{entry['job_id']}")
    assert job.body["state"] == "failed"
    assert job.body["problem"] == refused.body


async def test_who_may_not_search_is_refused_and_logged(client: Client) -> None:
    await client.become(Role.AUDITOR)
    for answer, scope in ((await client.search(), "search"), (await client.enrol(), "faces:write")):
        assert (answer.status, answer.code) == (403, "forbidden")
        assert (
            answer.body["detail"] == f"This takes the role admin or staff, or a key with the scope {scope}."
        )
    entries = (await client.call("GET", "/logs", params={"outcome": "refused"})).body["items"]
    assert [(entry["kind"], entry["code"]) for entry in entries] == [
        ("enroll", "forbidden"),
        ("search", "forbidden"),
    ]


async def test_who_is_not_known_leaves_no_entry(client: Client, stranger: Client) -> None:
    assert (await stranger.search()).code == "unauthenticated"
    assert (await client.services.documents.find(JOBS, client.company_id)).items == ()


async def test_an_enrolment_is_stamped_with_the_users_epoch(client: Client, worker: Worker) -> None:
    await client.enrol("ada")
    assert (await client.call("DELETE", "/users/ada")).status == 204
    await client.enrol("ada")
    first, _, second = worker.jobs
    assert first.subject_user_hash == second.subject_user_hash
    assert second.subject_epoch == first.subject_epoch + 1


async def test_photos_and_names_are_sealed_on_their_way(client: Client, worker: Worker) -> None:
    worker.hold = True
    await client.call(
        "POST",
        "/face/enroll",
        data=form(user_id="ada-7", full_name="Ada Lovelace"),
        headers={"Prefer": "respond-async"},
    )
    data_dir = client.services.settings.data_dir
    job = await worker.job()
    stored = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    assert job.id.encode() in stored
    for secret in (b"ada-7", b"Ada Lovelace", jpeg()[:60]):
        assert secret not in stored


async def test_a_superseded_job_tells_so(client: Client, worker: Worker) -> None:
    worker.hold = True
    pending = await client.enrol(headers={"Prefer": "respond-async"})
    job = await worker.job()
    await worker.finish(client.company_id, job, refused(job, "job_superseded", JobState.SUPERSEDED))
    answer = await client.call("GET", pending.headers["Location"])
    assert answer.body["state"] == "superseded"
    assert answer.body["problem"]["code"] == "job_superseded"
    assert json.dumps(answer.body)
