"""What a company decides about keeping takes effect: on photos, on the access log, on answers."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.clock import ManualClock
from infra.repositories.access_log import LogFilter
from infra.repositories.collections import COMPANIES
from schemas.jobs import JobRecord
from schemas.policies import CompanySettings, RetentionPolicy
from schemas.records import Company
from tests.workers.conftest import Workshop, person
from workers.registrar import face_id_of
from workers.removal import photo_key_of, reference_key_of
from workers.sweeping import Sweeper
from workers.unkept_photos import PhotoSweeper


async def decide(workshop: Workshop, **retention: Any) -> None:
    """Change the retention policy, as an admin does."""

    def changed(settings: CompanySettings) -> CompanySettings:
        policies = settings.policies.model_copy(update={"retention": RetentionPolicy(**retention)})
        return settings.model_copy(update={"policies": policies})

    await workshop.services.companies.configure(workshop.company_id, changed)


async def photographed(workshop: Workshop, number: int) -> JobRecord:
    """Enrol a person of whom the face worker has kept both photos."""
    job, delivery = await workshop.enrolment(f"u-{number}", person(number), photo_is_kept=True)
    for key in (photo_key_of(face_id_of(job)), reference_key_of(face_id_of(job))):
        await workshop.services.objects.put(workshop.company_id, key, b"sealed")
    await workshop.registrar.handle(workshop.company_id, [delivery])
    return job


async def kept(workshop: Workshop) -> set[str]:
    return {blob.key async for blob in workshop.services.objects.list(workshop.company_id, "photos/")}


async def company(workshop: Workshop) -> Company:
    found = await workshop.services.documents.get(COMPANIES, workshop.company_id, str(workshop.company_id))
    assert found is not None
    return found


async def test_when_photos_are_kept_no_more_those_kept_before_go_and_their_faces_stay(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decide(workshop, keep_photos=True)
    job = await photographed(workshop, 1)
    face = await workshop.services.faces.get(workshop.company_id, face_id_of(job))
    assert face is not None
    assert face.photo_key in await kept(workshop)
    sweeper = PhotoSweeper(workshop.services)
    assert await sweeper.drop_unkept() == 0, "while the policy is to keep them"

    await decide(workshop, keep_photos=False)
    # A photo that was put down just now may be of an enrolment that is about to be decided.
    monkeypatch.setattr("workers.unkept_photos.SKEW", timedelta(days=10_000))
    assert (await sweeper.drop_unkept(), (await company(workshop)).drops_photos) == (0, True)
    monkeypatch.setattr("workers.unkept_photos.SKEW", -timedelta(days=10_000))
    assert (await sweeper.drop_unkept(), (await company(workshop)).drops_photos) == (2, False)
    assert await kept(workshop) == set()
    bare = await workshop.services.faces.get(workshop.company_id, face_id_of(job))
    assert bare is not None
    assert (bare.photo_key, bare.reference_photo_key, bare.template_sealed) == (
        None,
        None,
        face.template_sealed,
    )
    assert await workshop.points() == {str(face_id_of(job))}
    assert await sweeper.drop_unkept() == 0


async def test_a_photo_on_its_way_when_the_policy_changes_is_not_kept(workshop: Workshop) -> None:
    await decide(workshop, keep_photos=True)
    await decide(workshop, keep_photos=False)
    job = await photographed(workshop, 1)
    assert (await workshop.ended(job)).http_status == 201
    face = await workshop.services.faces.get(workshop.company_id, face_id_of(job))
    assert face is not None
    assert (face.photo_key, await kept(workshop)) == (None, set())


async def test_a_change_back_leaves_what_is_not_deleted_yet(workshop: Workshop) -> None:
    for keep in (True, False, True):
        await decide(workshop, keep_photos=keep)
    assert (await company(workshop)).drops_photos is False


async def test_a_company_that_closes_meanwhile_stops_no_sweep(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decide(workshop, keep_photos=True)
    await photographed(workshop, 1)
    await decide(workshop, keep_photos=False)
    monkeypatch.setattr("workers.unkept_photos.SKEW", -timedelta(days=10_000))
    forget = type(workshop.services.faces).forget_photos

    async def closing(self: Any, company_id: UUID, face_id: UUID) -> None:
        await forget(self, company_id, face_id)
        if (await company(workshop)).closed_at is None:
            await workshop.services.companies.close(company_id)

    monkeypatch.setattr(type(workshop.services.faces), "forget_photos", closing)
    await PhotoSweeper(workshop.services).drop_unkept()
    assert await PhotoSweeper(workshop.services).drop_unkept() == 0


async def test_log_and_answers_are_kept_for_as_long_as_the_company_says(workshop: Workshop) -> None:
    clock = workshop.services.clock
    assert isinstance(clock, ManualClock)
    await decide(workshop, access_log_days=3, job_result_days=1)
    job, delivery = await workshop.enrolment("u-1", person(1))
    await workshop.registrar.handle(workshop.company_id, [delivery])
    sweeper = Sweeper(workshop.services, workshop.finisher)

    async def left() -> tuple[bool, int]:
        await sweeper.drop_expired()
        record = await workshop.services.jobs.get(workshop.company_id, UUID(job.id))
        answered = record is not None and record.result_sealed is not None
        page = await workshop.services.access_log.find(workshop.company_id, LogFilter(), after=None, limit=9)
        return answered, len(page.items)

    days = 86_400
    assert await left() == (True, 1)
    clock.advance(days + 1)
    assert await left() == (False, 1)
    clock.advance(2 * days)
    assert await left() == (False, 0)
