"""The registrar, on real stores: decided once, in order, whatever happens twice or at once."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from infra.broker.port import Delivery
from infra.repositories.collections import AUDIT_EVENTS, FACES, JOBS
from infra.repositories.users import Users
from schemas.jobs import JobRecord, JobState, Outcome
from schemas.records import Consent, FaceState, User
from tests.workers.conftest import Workshop, person
from workers.ending import failed
from workers.registrar import face_id_of

pytestmark = pytest.mark.system

CONSENT = Consent(given_at=datetime(2026, 1, 1, tzinfo=UTC), text_version="1", recorded_by="member:test")


async def test_a_new_face_is_recorded_indexed_logged_and_answered(workshop: Workshop) -> None:
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(workshop.company_id, [delivery])

    ended = await workshop.ended(job)
    assert (ended.state, ended.http_status, ended.outcome) == (JobState.SUCCEEDED, 201, Outcome.ENROLLED)
    assert ended.wrapped_key is None, "the job's key must vanish with its end"
    assert await workshop.points() == {str(face_id_of(job))}
    result = await workshop.services.jobs.result_text(workshop.company_id, ended)
    assert result is not None
    assert '"full_name":"Name of u-1"' in result
    assert b"u-1" not in ended.model_dump_json().encode()
    events = await workshop.services.documents.find(AUDIT_EVENTS, workshop.company_id)
    assert [event.type for event in events.items] == ["face.enrolled"]


async def test_a_message_that_comes_again_changes_nothing(workshop: Workshop) -> None:
    job, delivery = await workshop.enrolment("u-1", person(1))
    for _ in range(3):
        await workshop.another_registrar().handle(workshop.company_id, [delivery])
    assert await workshop.services.documents.count(FACES, workshop.company_id) == 1
    assert (await workshop.ended(job)).version == 3  # accepted, ended, told


async def test_a_crash_between_decision_and_ending_is_finished_from_the_record(workshop: Workshop) -> None:
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(workshop.company_id, [delivery])
    done = await workshop.ended(job)
    # As if the process had died after the face's record and before the terminal write.
    reopened = job.model_copy(update={"version": done.version + 1})
    assert await workshop.services.documents.compare_and_set(
        JOBS, workshop.company_id, reopened, expected={"version": done.version}
    )
    await workshop.another_registrar().handle(workshop.company_id, [delivery])
    assert (await workshop.ended(job)).http_status == 201
    assert await workshop.services.documents.count(FACES, workshop.company_id) == 1


async def test_duplicates_within_one_batch_are_found_as_if_one_had_come_after_the_other(
    workshop: Workshop,
) -> None:
    first, one = await workshop.enrolment("u-1", person(1))
    second, two = await workshop.enrolment("u-2", person(1, variation=1))
    await workshop.registrar.handle(workshop.company_id, [one, two])
    assert (await workshop.ended(first)).state is JobState.SUCCEEDED
    refused = await workshop.ended(second)
    assert (refused.code, refused.outcome) == ("duplicate_face", Outcome.REFUSED)
    assert refused.log_user_hashes == (), "a refusal is in nobody's list"
    assert await workshop.points() == {str(face_id_of(first))}
    # The refused person leaves no trace among the users.
    user_hash = await workshop.services.users.hash_of(workshop.company_id, "u-2")
    assert await workshop.services.users.get(workshop.company_id, user_hash) is None


async def test_registrars_that_overtake_each_other_decide_as_one(workshop: Workshop) -> None:
    jobs: list[JobRecord] = []
    batches: list[list[Delivery]] = []
    for half in range(2):
        batch: list[Delivery] = []
        for number in range(8):
            # Both halves enrol the same eight people, under different names.
            job, delivery = await workshop.enrolment(f"u-{half}-{number}", person(number, variation=half))
            jobs.append(job)
            batch.append(delivery)
        batches.append(batch)
    first, second = workshop.registrar, workshop.another_registrar()
    await asyncio.gather(
        first.handle(workshop.company_id, batches[0]), second.handle(workshop.company_id, batches[1])
    )
    ended = [await workshop.ended(job) for job in jobs]
    assert sorted(job.http_status or 0 for job in ended) == [201] * 8 + [409] * 8
    faces = (await workshop.services.documents.find(FACES, workshop.company_id, limit=100)).items
    assert len(faces) == 8
    assert await workshop.points() == {face.id for face in faces}
    assert sorted(face.change for face in faces) == list(range(1, 9))


async def test_an_erasure_voids_what_was_begun_before(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    kept, first = await workshop.enrolment(
        "u-1", person(1), consent=CONSENT, valid_until=datetime(2027, 1, 1, tzinfo=UTC), tags=("staff",)
    )
    await workshop.registrar.handle(company_id, [first])
    late, second = await workshop.enrolment("u-1", person(1, variation=1))

    user_hash = await services.users.hash_of(company_id, "u-1")
    erasure = await services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    assert await services.users.erase(company_id, user_hash, 0)
    await workshop.registrar.handle(company_id, [second, await workshop.removal(erasure)])

    assert (await workshop.ended(late)).state is JobState.SUPERSEDED
    assert (await workshop.ended(erasure)).http_status == 204
    assert await workshop.points() == set()
    record = await services.faces.get(company_id, face_id_of(kept))
    assert record is not None
    assert (record.state, record.template_sealed, record.user_hash) == (FaceState.DELETED, None, None)

    entry = await workshop.ended(kept)
    assert (entry.log_user_hashes, entry.result_sealed, entry.mentions) == ((), None, ())
    details = await services.jobs.log_details(company_id, entry)
    assert details.user_id is not None
    assert details.user_id.startswith("erased-")

    shell = await services.users.get(company_id, user_hash)
    assert shell is not None
    assert (shell.full_name_hash, shell.consent, shell.valid_until, shell.tags) == (None, None, None, ())

    again, third = await workshop.enrolment("u-1", person(1, variation=2))
    await workshop.registrar.handle(company_id, [third])
    assert (await workshop.ended(again)).http_status == 201
    assert await workshop.points() == {str(face_id_of(again))}


async def test_an_erasure_that_comes_again_spares_who_was_enrolled_since(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    _, first = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(company_id, [first])
    user_hash = await services.users.hash_of(company_id, "u-1")
    erasure = await services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    await services.users.erase(company_id, user_hash, 0)
    removal = await workshop.removal(erasure)
    again, second = await workshop.enrolment("u-1", person(1, variation=1))
    await workshop.registrar.handle(company_id, [second, removal, removal])
    ended = await workshop.ended(again)
    assert ended.http_status == 201
    assert await services.jobs.result_text(company_id, ended) is not None, "its answer is still to be had"
    assert await workshop.points() == {str(face_id_of(again))}


async def test_a_deleted_face_leaves_index_and_search(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(company_id, [delivery])
    (near,) = await workshop.gallery.nearest(company_id, [person(1)], users=3)
    assert len(near) == 1

    face_id = face_id_of(job)
    deletion = await services.submission.accept_face_deletion(workshop.submitter, face_id)
    assert await services.faces.delete(company_id, face_id) is not None
    (denied,) = await workshop.gallery.nearest(company_id, [person(1)], users=3)
    assert denied == [], "from the change of its record on, a face counts no more, index or not"
    await workshop.registrar.handle(company_id, [await workshop.removal(deletion)])
    assert await workshop.points() == set()
    assert (await workshop.ended(deletion)).http_status == 204


async def test_a_job_closed_meanwhile_takes_its_face_back(workshop: Workshop) -> None:
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.finisher.finish(workshop.company_id, job, failed(job))
    await workshop.registrar.handle(workshop.company_id, [delivery])
    assert (await workshop.ended(job)).state is JobState.FAILED
    assert await workshop.points() == set()


async def test_a_change_of_groups_reaches_all_of_the_users_points(workshop: Workshop) -> None:
    company_id = workshop.company_id
    first, one = await workshop.enrolment("u-1", person(1), groups=("hq",))
    await workshop.registrar.handle(company_id, [one])
    second, two = await workshop.enrolment("u-1", person(1, variation=1), groups=("lab",))
    await workshop.registrar.handle(company_id, [two])
    found = await workshop.vectors.retrieve(company_id, [face_id_of(first), face_id_of(second)])
    assert [point.groups for point in found.values()] == [("lab",), ("lab",)]
    for groups, users in (("hq", 0), ("lab", 1)):
        (near,) = await workshop.gallery.nearest(company_id, [person(1)], users=3, groups=frozenset({groups}))
        assert len(near) == users
        size = await workshop.gallery.size(company_id, frozenset({groups}))
        assert (size.users, size.faces) == (users, 2 * users)


async def test_the_index_is_brought_up_to_date_from_the_records(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    jobs: list[JobRecord] = []
    for number in range(4):
        job, delivery = await workshop.enrolment(f"u-{number}", person(number))
        await workshop.registrar.handle(company_id, [delivery])
        jobs.append(job)
    await workshop.indexer.flush()
    await services.faces.delete(company_id, face_id_of(jobs[0]))
    expected = {str(face_id_of(job)) for job in jobs[1:]}
    # As after a power failure: what came after the mark is lost, and a deleted face is back.
    await workshop.vectors.delete(company_id, [UUID(face) for face in expected])
    for job in jobs[1:]:
        await services.faces.touch(company_id, face_id_of(job))
    fresh = workshop.another_registrar()
    _, delivery = await workshop.enrolment("u-0", person(0), photo=b"another photo")
    await fresh.handle(company_id, [delivery])
    assert expected <= await workshop.points()
    assert str(face_id_of(jobs[0])) not in await workshop.points()


async def test_an_erasure_of_somebody_unknown_voids_the_first_enrolment(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    first, delivery = await workshop.enrolment("u-1", person(1))
    user_hash = await services.users.hash_of(company_id, "u-1")
    erasure = await services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    assert await services.users.erase(company_id, user_hash, 0)
    assert not await services.users.erase(company_id, user_hash, 0), "once is enough"
    await workshop.registrar.handle(company_id, [delivery, await workshop.removal(erasure)])
    assert (await workshop.ended(first)).state is JobState.SUPERSEDED
    assert (await workshop.ended(erasure)).http_status == 204
    assert await workshop.points() == set()
    again, delivery = await workshop.enrolment("u-1", person(1, variation=1))
    await workshop.registrar.handle(company_id, [delivery])
    assert (await workshop.ended(again)).http_status == 201


async def test_an_erasure_between_the_face_and_its_user_takes_the_face_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, company_id = workshop.services, workshop.company_id
    _, first = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(company_id, [first])
    late, second = await workshop.enrolment("u-1", person(1, variation=1))
    user_hash = await services.users.hash_of(company_id, "u-1")
    erasure = await services.submission.accept_erasure(workshop.submitter, user_hash, 0)
    save = Users.save_enrolment

    async def erased_before(users: Users, *arguments: Any) -> tuple[User, bool]:
        assert await services.faces.get(company_id, face_id_of(late)) is not None
        await users.erase(company_id, user_hash, 0)
        return await save(users, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Users, "save_enrolment", erased_before)
        await workshop.registrar.handle(company_id, [second])
    assert (await workshop.ended(late)).state is JobState.SUPERSEDED
    (near,) = await workshop.gallery.nearest(company_id, [person(1)], users=3)
    assert near == [], "denied from the erasure on, before it is carried out"
    await workshop.registrar.handle(company_id, [await workshop.removal(erasure)])
    assert await workshop.points() == set()


async def test_a_deletion_that_broke_off_after_its_record_is_carried_out_from_it(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(company_id, [delivery])
    # As if the ingress had died before it changed the face's record.
    deletion = await services.submission.accept_face_deletion(workshop.submitter, face_id_of(job))
    removal = await workshop.removal(deletion)
    await workshop.registrar.handle(company_id, [removal])
    assert (await workshop.ended(deletion)).http_status == 204
    face = await services.faces.get(company_id, face_id_of(job))
    assert face is not None
    assert face.state is FaceState.DELETED
    assert await workshop.points() == set()
