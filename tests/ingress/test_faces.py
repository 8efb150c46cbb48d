import asyncio
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from infra.clock import Clock, ManualClock
from infra.repositories.collections import JOBS
from schemas.access import Role
from schemas.jobs import JobKind
from schemas.messages import RemovalBody
from schemas.records import FaceState
from tests.clocks import manual
from tests.ingress.conftest import Client, form, jpeg, keep_photo, user_ids
from tests.ingress.worker import Worker

pytestmark = pytest.mark.on_servers

UNKNOWN = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture
def clock() -> Clock:
    return ManualClock()


async def enrol(client: Client, user_id: str, **fields: str) -> str:
    """Enrol, and let a second pass, so that every face has a time of its own; the face's id."""
    answer = await client.call("POST", "/face/enroll", data=form(None, user_id=user_id, **fields))
    assert answer.status == 201, answer.body
    manual(client.services.clock).advance(1)
    return answer.body["face_id"]


async def listed(client: Client, query: str = "") -> list[str]:
    """All pages' user ids."""
    return await user_ids(client, f"/faces?{query}")


def png() -> bytes:
    photo = io.BytesIO()
    Image.new("RGB", (30, 30), "grey").save(photo, "PNG")
    return photo.getvalue()


async def test_a_face_is_shown_without_its_template(client: Client) -> None:
    enrolled = (await client.enrol("ada")).body
    answer = await client.call("GET", f"/faces/{enrolled['face_id']}")
    assert answer.status == 200
    assert set(answer.body) == {
        *("face_id", "user_id", "full_name", "groups", "tags", "quality", "box", "model", "created_at"),
        *("enrolled_by", "has_photo", "has_reference_photo"),
    }
    assert answer.body["user_id"] == "ada"
    assert answer.body["enrolled_by"].startswith("member:")
    assert answer.body["created_at"].endswith("Z")
    assert answer.body["has_photo"] is False


async def test_every_role_may_look_at_a_face(client: Client) -> None:
    face_id = (await client.enrol()).body["face_id"]
    for role in Role:
        await client.become(role)
        assert (await client.call("GET", f"/faces/{face_id}")).status == 200


async def test_a_deleted_face_is_gone(client: Client, worker: Worker) -> None:
    face_id = (await client.enrol()).body["face_id"]
    answer = await client.call("DELETE", f"/faces/{face_id}")
    assert (answer.status, answer.content) == (204, b"")
    assert (await client.call("GET", f"/faces/{face_id}")).code == "not_found"
    assert (await client.call("DELETE", f"/faces/{face_id}")).code == "not_found"
    assert worker.bodies[-1] == RemovalBody(face_id=face_id)


async def test_a_face_is_denied_before_its_deletion_is_done(client: Client, worker: Worker) -> None:
    face_id = (await client.enrol()).body["face_id"]
    worker.hold = True
    answer = await client.call("DELETE", f"/faces/{face_id}", headers={"Prefer": "respond-async"})
    assert answer.status == 202
    assert answer.body["kind"] == "delete_face"
    record = await client.services.faces.get(client.company_id, UUID(face_id))
    assert record is not None
    assert record.state is FaceState.DELETED
    assert (await client.call("GET", f"/faces/{face_id}")).code == "not_found"


async def test_two_deletions_at_once_both_succeed(client: Client) -> None:
    face_id = (await client.enrol()).body["face_id"]
    answers = await asyncio.gather(*(client.call("DELETE", f"/faces/{face_id}") for _ in range(2)))
    assert {answer.status for answer in answers} <= {204, 404}
    assert 204 in {answer.status for answer in answers}


async def test_a_deletion_of_what_is_not_there_leaves_no_job(client: Client) -> None:
    assert (await client.call("DELETE", f"/faces/{UNKNOWN}")).status == 404
    assert (await client.services.documents.find(JOBS, client.company_id)).items == ()


async def test_what_is_somebody_elses_is_as_unknown_as_what_never_was(
    client: Client, stranger: Client
) -> None:
    face_id = (await client.enrol()).body["face_id"]
    other = await stranger.register("bob@example.org")
    same = {"X-Correlation-ID": "same"}
    for method in ("GET", "DELETE"):
        answers = [
            await other.call(method, f"/faces/{wanted}", headers=same)
            for wanted in (face_id, UNKNOWN, "nonsense", "{" + UNKNOWN + "}", UNKNOWN.replace("-", ""))
        ]
        assert {(answer.status, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert (await client.call("GET", f"/faces/{face_id}")).status == 200


async def test_a_person_is_erased_with_their_faces(client: Client, worker: Worker) -> None:
    face_id = (await client.enrol("ada/7 ü")).body["face_id"]
    answer = await client.call("DELETE", "/users/ada%2F7%20%C3%BC")
    assert answer.status == 204
    assert (await client.call("GET", f"/faces/{face_id}")).code == "not_found"
    assert (await client.call("DELETE", "/users/ada%2F7%20%C3%BC")).code == "not_found"
    assert worker.jobs[-1].kind is JobKind.ERASE_USER
    body = worker.bodies[-1]
    assert isinstance(body, RemovalBody)
    assert body.user_hash is not None


async def test_a_person_is_denied_before_the_erasure_is_done(client: Client, worker: Worker) -> None:
    face_id = (await client.enrol("ada")).body["face_id"]
    worker.hold = True
    answer = await client.call("DELETE", "/users/ada", headers={"Prefer": "wait=0"})
    assert answer.status == 202
    assert (await client.call("GET", f"/faces/{face_id}")).code == "not_found"


async def test_nobody_is_erased_who_is_not_there(client: Client, stranger: Client) -> None:
    await client.enrol("ada")
    other = await stranger.register("bob@example.org")
    for user_id in ("ada", "nobody", "x" * 500, "%FF", "%00"):
        assert (await other.call("DELETE", f"/users/{user_id}")).code == "not_found"


async def test_an_auditor_changes_nothing(client: Client) -> None:
    face_id = (await client.enrol("ada")).body["face_id"]
    await client.become(Role.AUDITOR)
    for path in (f"/faces/{face_id}", "/users/ada"):
        assert (await client.call("DELETE", path)).code == "forbidden"


async def test_faces_are_listed_newest_first_page_by_page(client: Client) -> None:
    ids = [await enrol(client, f"u-{number % 3}") for number in range(7)]
    url, found = "/faces?limit=3", list[str]()
    while True:
        answer = await client.call("GET", url)
        found += [item["face_id"] for item in answer.body["items"]]
        if "Link" not in answer.headers:
            break
        url = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert found == ids[::-1]
    assert answer.body["items"] == [(await client.call("GET", f"/faces/{ids[0]}")).body]
    assert (await client.call("GET", "/faces?cursor=nonsense")).code == "invalid_cursor"
    await client.call("DELETE", f"/faces/{ids[6]}")
    assert len(await listed(client, "limit=2")) == 6


async def test_faces_are_found_by_what_is_said_of_their_users(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrol(client, "a", groups="hq", tags="staff", reference_id="P-1")
    await enrol(client, "b", groups='["hq", "lab"]', tags="guest")
    await enrol(client, "c", groups="lab", tags='["staff", "guest"]', reference_id="P-1")
    await enrol(client, "a")
    answers = {
        "user_id=a": ["a", "a"],
        "user_id=nobody": [],
        "reference_id=P-1": ["a", "c", "a"],
        "group=hq": ["a", "b", "a"],
        "tag=guest": ["c", "b"],
        "group=lab&tag=guest": ["c", "b"],
        "group=lab&reference_id=P-1": ["c"],
        "user_id=a&group=hq&tag=staff&reference_id=P-1": ["a", "a"],
        "user_id=a&group=lab": [],
    }
    for at_once in (100, 1):  # Few users are looked up by name; many, by reading faces.
        monkeypatch.setattr("ingress.resources.faces.USERS_AT_ONCE", at_once)
        for query, expected in answers.items():
            for limit in ("", "&limit=1"):
                assert (query, await listed(client, query + limit)) == (query, expected)
    for query in ("group=", "user_id=..", "limit=0", "full_name=Ada", "tag=a&tag=b"):
        assert (query, (await client.call("GET", f"/faces?{query}")).code) == (query, "invalid_request")


async def test_faces_of_another_company_are_not_listed(client: Client, stranger: Client) -> None:
    await enrol(client, "ada", groups="hq")
    other = await stranger.register("bob@example.org")
    for query in ("", "user_id=ada", "group=hq"):
        assert await listed(other, query) == []


@pytest.mark.parametrize(("photo", "content_type"), [(jpeg(), "image/jpeg"), (png(), "image/png")])
async def test_a_photo_that_is_kept_comes_back_as_it_was_sent(
    client: Client, photo: bytes, content_type: str
) -> None:
    face_id = await enrol(client, "ada")
    assert (await client.call("GET", f"/faces/{face_id}/image")).code == "not_found"
    photo_key = await keep_photo(client, face_id, photo)
    assert photo not in await client.services.objects.get(client.company_id, photo_key)
    answer = await client.call("GET", f"/faces/{face_id}/image")
    assert (answer.status, answer.content) == (200, photo)
    assert {
        name: answer.headers[name] for name in ("Content-Type", "Cache-Control", "Content-Disposition")
    } == {
        "Content-Type": content_type,
        "Cache-Control": "private, no-store",
        "Content-Disposition": "inline",
    }
    assert (await client.call("GET", f"/faces/{face_id}")).body["has_photo"] is True
    head = await client.call("HEAD", f"/faces/{face_id}/image")
    assert (head.status, head.content, head.headers["Content-Length"]) == (200, b"", str(len(photo)))
    await client.services.objects.delete(client.company_id, photo_key)
    assert (await client.call("GET", f"/faces/{face_id}/image")).code == "not_found"


async def test_a_reference_photo_that_is_kept_comes_back_too(client: Client) -> None:
    face_id = await enrol(client, "ada")
    await keep_photo(client, face_id, jpeg())
    reference = f"/faces/{face_id}/image?kind=reference"
    assert (await client.call("GET", reference)).code == "not_found"
    await keep_photo(client, face_id, png(), "reference_photo_key")
    answer = await client.call("GET", reference)
    assert (answer.content, answer.headers["Content-Type"]) == (png(), "image/png")
    assert (await client.call("GET", f"/faces/{face_id}/image?kind=face")).content == jpeg()
    assert (await client.call("GET", f"/faces/{face_id}")).body["has_reference_photo"] is True
    assert (await client.call("GET", f"/faces/{face_id}/image?kind=thumb")).code == "invalid_request"


async def test_who_sees_a_photo(client: Client, stranger: Client) -> None:
    face_id = await enrol(client, "ada")
    await keep_photo(client, face_id, jpeg())
    other = await stranger.register("bob@example.org")
    for unknown in (face_id, UNKNOWN, "nonsense"):
        assert (await other.call("GET", f"/faces/{unknown}/image")).code == "not_found"
    statuses: dict[Any, int] = {}
    for role in Role:
        await client.become(role)
        statuses[role] = (await client.call("GET", f"/faces/{face_id}/image")).status
    assert statuses == {Role.ADMIN: 200, Role.STAFF: 200, Role.AUDITOR: 403}


async def test_a_company_that_ceases_to_keep_photos_shows_none_from_then_on(client: Client) -> None:
    face_id = await enrol(client, "ada")
    await keep_photo(client, face_id, jpeg())
    await keep_photo(client, face_id, jpeg(), "reference_photo_key")
    policy = {"policies": {"retention": {"keep_photos": False}}}
    assert (await client.call("PATCH", "/company", json=policy)).status == 200
    for kind in ("face", "reference"):
        assert (await client.call("GET", f"/faces/{face_id}/image?kind={kind}")).code == "not_found"
    shown = (await client.call("GET", f"/faces/{face_id}")).body
    assert (shown["has_photo"], shown["has_reference_photo"]) == (False, False)
    assert (await client.call("GET", "/faces")).body["items"] == [shown]


async def test_a_photo_goes_with_its_face(client: Client) -> None:
    face_id = await enrol(client, "ada")
    await keep_photo(client, face_id, jpeg())
    await client.call("DELETE", f"/faces/{face_id}", headers={"Prefer": "respond-async"})
    assert (await client.call("GET", f"/faces/{face_id}/image")).code == "not_found"


async def test_a_bound_key_sees_the_faces_of_its_groups_only(
    client: Client, calls_as: Callable[..., None]
) -> None:
    inside = await enrol(client, "in", groups='["hq", "lab"]')
    outside = await enrol(client, "out", groups="lab")
    await keep_photo(client, outside, jpeg())
    calls_as(groups=frozenset({"hq"}))
    assert await listed(client) == ["in"]
    assert await listed(client, "user_id=in") == ["in"]
    assert await listed(client, "user_id=out") == []
    assert (await client.call("GET", "/faces?group=lab")).code == "forbidden"
    assert (await client.call("GET", f"/faces/{inside}")).status == 200
    for method, place in (("GET", ""), ("GET", "/image"), ("DELETE", "")):
        assert (await client.call(method, f"/faces/{outside}{place}")).code == "not_found"
