import asyncio
from uuid import UUID

from infra.repositories.collections import JOBS
from schemas.access import Role
from schemas.jobs import JobKind
from schemas.messages import RemovalBody
from schemas.records import FaceState
from tests.ingress.conftest import Client
from tests.ingress.worker import Worker

UNKNOWN = "0198c0de-0000-7000-8000-000000000001"


async def test_a_face_is_shown_without_its_template(client: Client) -> None:
    enrolled = (await client.enrol("ada")).body
    answer = await client.call("GET", f"/faces/{enrolled['face_id']}")
    assert answer.status == 200
    assert set(answer.body) == {
        *("face_id", "user_id", "full_name", "groups", "tags", "quality", "box", "model", "created_at"),
        *("enrolled_by", "has_photo"),
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
