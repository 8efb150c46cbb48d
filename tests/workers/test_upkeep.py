"""Reindexing and reconciling, with an index and blobs that were damaged in every way that is looked for."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from infra.repositories.collections import FACES, INDEX_MARKS
from infra.vectors.edge import EdgeVectors
from schemas.ids import derived_id
from schemas.records import FaceState
from tests.workers.conftest import COLLECTION, DIMENSIONS, Workshop, assembled, person
from workers.reconciling import Fault, Finding, Reconciler
from workers.reindexing import companies_of, reindex, take_back_marks
from workers.removal import photo_key_of, reference_key_of

pytestmark = pytest.mark.system

PEOPLE = ("ada", "grace", "barbara")


@pytest.fixture
async def faces(workshop: Workshop) -> list[UUID]:
    """Three people are enrolled, one face each."""
    found: list[UUID] = []
    for number, user_id in enumerate(PEOPLE):
        job, delivery = await workshop.enrolment(user_id, person(number), groups=("staff",))
        await workshop.registrar.handle(workshop.company_id, [delivery])
        found.append(derived_id(UUID(job.id), "face"))
    await workshop.indexer.flush()
    return found


def reconciler(workshop: Workshop) -> Reconciler:
    return Reconciler(workshop.services, workshop.vectors, COLLECTION)


async def findings(workshop: Workshop, *, repair: bool = False) -> set[tuple[Fault, str, bool]]:
    found: list[Finding] = []
    counts = await reconciler(workshop).check([workshop.company_id], repair=repair, report=found.append)
    assert counts == Counter((one.fault, one.repaired) for one in found)
    return {(one.fault, one.what, one.repaired) for one in found}


async def keep_photo(workshop: Workshop, face_id: UUID) -> None:
    """As for a company that keeps photos."""
    record = await workshop.services.faces.get(workshop.company_id, face_id)
    assert record is not None
    keys = {"photo_key": photo_key_of(face_id), "reference_photo_key": reference_key_of(face_id)}
    kept = record.model_copy(update={**keys, "version": record.version + 1})
    await workshop.services.documents.compare_and_set(
        FACES, workshop.company_id, kept, expected={"version": record.version}
    )
    for key in keys.values():
        await workshop.services.objects.put(workshop.company_id, key, b"a sealed photo")


async def test_what_is_in_step_is_left_alone(workshop: Workshop, faces: list[UUID]) -> None:
    await keep_photo(workshop, faces[0])
    await workshop.services.faces.delete(workshop.company_id, faces[1])
    await workshop.indexer.catch_up(workshop.company_id)
    before = await workshop.vectors.retrieve(workshop.company_id, faces)
    assert await findings(workshop, repair=True) == set()
    kept = workshop.services.objects.list(workshop.company_id, "photos/")
    assert {blob.key async for blob in kept} == {photo_key_of(faces[0]), reference_key_of(faces[0])}
    after = await workshop.vectors.retrieve(workshop.company_id, faces)
    assert {face_id: point.change for face_id, point in after.items()} == {
        face_id: point.change for face_id, point in before.items()
    }


async def test_every_kind_of_fault_is_found_and_repaired(workshop: Workshop, faces: list[UUID]) -> None:
    company_id, vectors, objects = workshop.company_id, workshop.vectors, workshop.services.objects
    lost, changed, deleted = faces
    points = await vectors.retrieve(company_id, faces)
    await vectors.delete(company_id, [lost])
    await vectors.upsert(company_id, [replace(points[changed], vector=person(9))])
    await workshop.services.faces.delete(company_id, deleted)  # and the index has not heard of it
    await objects.put(company_id, photo_key_of(deleted), b"of a face that is gone")
    await objects.put(company_id, f"inflight/{lost}", b"of a job that never was")
    right = {
        (Fault.NO_POINT, str(lost)),
        (Fault.OTHER_POINT, str(changed)),
        (Fault.STRAY_POINT, str(deleted)),
        (Fault.STRAY_BLOB, photo_key_of(deleted)),
        (Fault.STRAY_BLOB, f"inflight/{lost}"),
    }
    assert await findings(workshop) == {(*finding, False) for finding in right}
    assert await findings(workshop) == {(*finding, False) for finding in right}, "looking changes nothing"
    assert await findings(workshop, repair=True) == {(*finding, True) for finding in right}
    assert await findings(workshop) == set()
    (found,) = await workshop.gallery.nearest(company_id, [person(0)], users=1)
    assert found[0].face.id == str(lost)


async def test_a_photo_that_is_gone_is_told_and_not_called_repaired(
    workshop: Workshop, faces: list[UUID]
) -> None:
    await keep_photo(workshop, faces[0])
    await workshop.services.objects.delete(workshop.company_id, photo_key_of(faces[0]))
    assert await findings(workshop, repair=True) == {(Fault.NO_PHOTO, str(faces[0]), False)}


async def test_a_blob_of_no_known_kind_is_told_and_never_deleted(workshop: Workshop) -> None:
    await workshop.services.objects.put(workshop.company_id, "exports/1", b"of a later version")
    finding = (Fault.STRAY_BLOB, "exports/1", False)
    assert await findings(workshop, repair=True) == {finding}
    assert await workshop.services.objects.get(workshop.company_id, "exports/1") == b"of a later version"


async def test_blobs_of_jobs_that_will_go_on_are_theirs(workshop: Workshop) -> None:
    job, _ = await workshop.enrolment("ada", person(1))
    objects = workshop.services.objects
    await objects.put(workshop.company_id, f"inflight/{job.id}", b"its photo")
    await objects.put(workshop.company_id, photo_key_of(derived_id(UUID(job.id), "face")), b"kept ahead")
    assert await findings(workshop, repair=True) == set()


async def test_a_company_is_reindexed_beside_another(workshop: Workshop, faces: list[UUID]) -> None:
    company, _ = await workshop.services.accounts.register(
        company_name="Other", email="other@example.com", password_hash="", model=workshop.services.model
    )
    beside = assembled(workshop.services, workshop.vectors, UUID(company.id))
    _, delivery = await beside.enrolment("eve", person(5))
    await beside.registrar.handle(beside.company_id, [delivery])
    for one in (workshop, beside):
        points, _ = await one.vectors.scroll(one.company_id, after=None, limit=10)
        await one.vectors.delete(one.company_id, [point.face_id for point in points])
    (done,) = await reindex(workshop.services, workshop.vectors, COLLECTION, [workshop.company_id])
    assert (done.points, done.strays_removed) == (3, 0)
    assert await workshop.points() == {str(face_id) for face_id in faces}
    assert await beside.points() == set()
    await reindex(workshop.services, workshop.vectors, COLLECTION, await companies_of(workshop.services))
    assert len(await beside.points()) == 1


async def test_an_index_that_was_thrown_away_is_made_again_from_the_records(
    workshop: Workshop, faces: list[UUID], tmp_path: Path
) -> None:
    await workshop.services.faces.delete(workshop.company_id, faces[2])
    await workshop.vectors.close()
    await take_back_marks(workshop.services, COLLECTION, [workshop.company_id])
    shutil.rmtree(tmp_path / "index")
    # Killed here, the next start would do the rest by itself: it finds the mark at nothing.
    mark = await workshop.services.documents.get(INDEX_MARKS, workshop.company_id, COLLECTION)
    assert mark is not None
    assert mark.change == 0
    index = EdgeVectors(tmp_path / "index", DIMENSIONS, COLLECTION)
    await index.start()
    try:
        await reindex(workshop.services, index, COLLECTION, [workshop.company_id])
        points = await index.retrieve(workshop.company_id, faces)
        assert set(points) == set(faces[:2])
        marked = await workshop.services.documents.get(INDEX_MARKS, workshop.company_id, COLLECTION)
        assert marked is not None
        assert marked.change == await workshop.services.faces.last_change(workshop.company_id)
        records = await workshop.services.faces.get_many(workshop.company_id, faces)
        assert {record.state for record in records.values()} == {FaceState.ACTIVE, FaceState.DELETED}
    finally:
        await index.close()
