"""What a user's record says decides who is enrolled and who is matched: validity, consent, groups."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.clock import ManualClock
from infra.repositories.collections import AUDIT_EVENTS, COMPANIES, FACES, USERS
from infra.repositories.users import Users
from schemas.jobs import JobRecord, JobState
from schemas.messages import PhotoBody, Photos, SearchFields, VerifyFields
from schemas.policies import CompanyPolicies
from schemas.records import Consent, User
from schemas.results import SearchResult, VerifyResult
from tests.workers.conftest import CALIBRATION, ENGINE, FACE, Workshop, person
from workers.opened import Opened
from workers.recognition.analysis import AnalysedFace, Analysis
from workers.registrar import face_id_of
from workers.removal import photo_key_of
from workers.searching import Searcher
from workers.sweeping import SKEW, Sweeper
from workers.verifying import Verifier

pytestmark = pytest.mark.system

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONSENT = Consent(given_at=NOW, text_version="1", recorded_by="member:test")
REQUIRED = CompanyPolicies(consent_required=True)


async def require_consent(workshop: Workshop) -> None:
    """From now on the company asks for consent."""
    company = await workshop.services.accounts.company(workshop.company_id)
    assert company is not None
    changed = company.model_copy(update={"policies": REQUIRED, "version": company.version + 1})
    expected = {"version": company.version}
    assert await workshop.services.documents.compare_and_set(
        COMPANIES, workshop.company_id, changed, expected=expected
    )


async def enrolled(workshop: Workshop, user_id: str, number: int, **given: Any) -> JobRecord:
    """Enrol a made-up person; the job as it ended."""
    job, delivery = await workshop.enrolment(user_id, person(number), **given)
    await workshop.registrar.handle(workshop.company_id, [delivery])
    return await workshop.ended(job)


async def changed(workshop: Workshop, user_id: str, **given: Any) -> User:
    """Change a user's record, as a PATCH does."""
    users, company_id = workshop.services.users, workshop.company_id
    user = await users.get(company_id, await users.hash_of(company_id, user_id))
    assert user is not None
    done = await users.change(company_id, user, given)
    assert done is not None
    return done


async def probe(
    workshop: Workshop, number: int, policies: CompanyPolicies, *, against: str | None = None
) -> tuple[Opened, Analysis]:
    """A photo of this person that was opened and embedded: to be searched for, or verified against a user."""
    services, company_id = workshop.services, workshop.company_id
    # Of the job only the record is looked at, whatever it was accepted as.
    job, _ = await workshop.enrolment(against or "nobody", person(number))
    company = await services.accounts.company(company_id)
    assert company is not None
    opened = Opened(
        company=company.model_copy(update={"policies": policies}),
        company_id=company_id,
        key=await services.keys.get(company_id),
        job=job,
        job_key=b"",
        body=PhotoBody(photo=b"", search=SearchFields()),
        photos=Photos(photo=b""),
        queue_ms=0,
    )
    analysis = Analysis(1, 1, (AnalysedFace(FACE, person(number, variation=9)),), {}, engine=ENGINE)
    return opened, analysis


async def matched(workshop: Workshop, number: int, policies: CompanyPolicies | None = None) -> str | None:
    """Whom a search for this person matches."""
    opened, analysis = await probe(workshop, number, policies or CompanyPolicies())
    searcher = Searcher(workshop.services, workshop.gallery, CALIBRATION)
    ending = await searcher.search(opened, SearchFields(), analysis)
    assert isinstance(ending.answer, SearchResult)
    return ending.answer.best.user_id if ending.answer.best else None


async def verified(
    workshop: Workshop, user_id: str, number: int, policies: CompanyPolicies | None = None
) -> str | bool:
    """Whether a verification matches this person with the user; its code, if it is refused."""
    opened, analysis = await probe(workshop, number, policies or CompanyPolicies(), against=user_id)
    ending = await Verifier(workshop.services, CALIBRATION).verify(opened, VerifyFields(), analysis, None)
    return ending.answer.matched if isinstance(ending.answer, VerifyResult) else ending.code or ""


async def test_nobody_is_matched_from_the_end_of_their_validity_on(workshop: Workshop) -> None:
    clock = workshop.services.clock
    assert isinstance(clock, ManualClock)
    await enrolled(workshop, "u-1", 1, valid_until=NOW + timedelta(seconds=60))
    clock.advance(59)
    assert await matched(workshop, 1) == "u-1"
    assert await verified(workshop, "u-1", 1) is True
    clock.advance(1)
    assert await matched(workshop, 1) is None
    assert await verified(workshop, "u-1", 1) == "user_not_valid"
    await changed(workshop, "u-1", valid_until=None)
    assert await matched(workshop, 1) == "u-1"


async def test_who_is_expired_is_not_enrolled_as_somebody_else(workshop: Workshop) -> None:
    await enrolled(workshop, "u-1", 1)
    await changed(workshop, "u-1", valid_until=NOW - timedelta(days=1))
    assert (await enrolled(workshop, "u-2", 1, photo=b"another photo")).code == "duplicate_face"


async def test_who_is_expired_is_enrolled_again_only_with_a_later_end(workshop: Workshop) -> None:
    clock = workshop.services.clock
    assert isinstance(clock, ManualClock)
    end = NOW + timedelta(seconds=60)
    await enrolled(workshop, "u-1", 1, valid_until=end)
    on_its_way, delivery = await workshop.enrolment("u-2", person(2), valid_until=end)
    clock.advance(60)
    for photo in (b"another photo", None):
        refused = await enrolled(workshop, "u-1", 1, photo=photo)
        assert (refused.code, refused.http_status) == ("user_not_valid", 409), "no search would find the face"
    await workshop.registrar.handle(workshop.company_id, [delivery])
    assert (await workshop.ended(on_its_way)).code == "user_not_valid"
    assert await workshop.services.documents.count(FACES, workshop.company_id) == 1

    renewed = await enrolled(workshop, "u-1", 1, photo=b"another photo", valid_until=end + timedelta(days=1))
    assert renewed.http_status == 201
    assert await matched(workshop, 1) == "u-1"


async def test_consent_given_with_a_photo_is_answered_and_an_audit_event_of_its_own(
    workshop: Workshop,
) -> None:
    services, company_id = workshop.services, workshop.company_id
    job = await enrolled(workshop, "u-1", 1, consent=CONSENT, valid_until=NOW + timedelta(days=1))
    text = await services.jobs.result_text(company_id, job)
    assert text is not None
    answer = json.loads(text)
    assert (answer["valid_until"], answer["consent"]) == (
        "2026-01-02T00:00:00.000Z",
        {"text_version": "1", "given_at": "2026-01-01T00:00:00.000Z", "recorded_by": "member:test"},
    )
    await enrolled(workshop, "u-1", 1, photo=b"another photo")
    events = (await services.documents.find(AUDIT_EVENTS, company_id)).items
    consents = [event for event in events if event.type == "user.consent_recorded"]
    assert [(event.job_id, event.actor) for event in consents] == [(job.id, "member:test")]
    assert consents[0].data == {"user_hash": await services.users.hash_of(company_id, "u-1")}
    assert {event.type for event in events if event.job_id == job.id} == {
        "user.consent_recorded",
        "face.enrolled",
    }


async def test_without_consent_nothing_is_kept_where_it_is_required(workshop: Workshop) -> None:
    await require_consent(workshop)
    refused = await enrolled(workshop, "u-1", 1)
    assert (refused.code, refused.http_status) == ("consent_required", 422)
    documents = workshop.services.documents
    assert await documents.count(FACES, workshop.company_id) == 0
    assert await documents.count(USERS, workshop.company_id) == 0
    assert await workshop.points() == set()

    agreed = await enrolled(workshop, "u-1", 1, consent=CONSENT)
    assert agreed.http_status == 201
    again = await enrolled(workshop, "u-1", 1, photo=b"another photo")
    assert again.http_status == 201, "consent is the person's, not the photo's"


async def test_a_photo_that_was_kept_for_a_refused_enrolment_goes(workshop: Workshop) -> None:
    await require_consent(workshop)
    objects, company_id = workshop.services.objects, workshop.company_id
    job, delivery = await workshop.enrolment("u-1", person(1), photo_is_kept=True)
    await objects.put(company_id, photo_key_of(face_id_of(job)), b"sealed")
    await workshop.registrar.handle(company_id, [delivery])
    assert (await workshop.ended(job)).code == "consent_required"
    assert [info.key async for info in objects.list(company_id, "photos/")] == []


async def test_whoever_takes_consent_back_is_not_matched_until_it_is_renewed(workshop: Workshop) -> None:
    await enrolled(workshop, "u-1", 1, consent=CONSENT)
    assert await matched(workshop, 1, REQUIRED) == "u-1"
    await changed(workshop, "u-1", consent=None)
    assert await matched(workshop, 1, REQUIRED) is None
    assert await verified(workshop, "u-1", 1, REQUIRED) == "user_not_valid"
    assert await matched(workshop, 1) == "u-1", "not where the company relies on something else"
    await changed(workshop, "u-1", consent=CONSENT)
    assert await matched(workshop, 1, REQUIRED) == "u-1"


async def test_a_search_limited_to_a_new_group_finds_the_user_once_the_job_has_ended(
    workshop: Workshop,
) -> None:
    services, company_id = workshop.services, workshop.company_id
    await enrolled(workshop, "u-1", 1, groups=("hq",))
    await enrolled(workshop, "u-1", 1, photo=b"another photo")
    user = await changed(workshop, "u-1", groups=("lab",))
    job = await services.submission.accept_regrouping(workshop.submitter, user.id, user.epoch)
    await services.submission.publish_regrouping(company_id, job, synced=False)

    async def found(group: str) -> int:
        (near,) = await workshop.gallery.nearest(company_id, [person(1)], users=3, groups=frozenset({group}))
        return len(near)

    assert (await found("hq"), await found("lab")) == (0, 0), "denied at once, found when the index follows"
    delivery = await workshop.published(job)
    for _ in range(2):  # A message may come twice.
        await workshop.registrar.handle(company_id, [delivery])
    ended = await workshop.ended(job)
    assert (ended.state, ended.http_status, ended.subject_user_hash) == (JobState.SUCCEEDED, 200, None)
    assert (await found("hq"), await found("lab")) == (0, 1)


async def test_a_change_of_groups_of_somebody_erased_since_is_void(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    await enrolled(workshop, "u-1", 1, groups=("hq",))
    user = await changed(workshop, "u-1", groups=("lab",))
    job = await services.submission.accept_regrouping(workshop.submitter, user.id, user.epoch)
    await services.users.erase(company_id, user.id, user.epoch)
    await services.submission.publish_regrouping(company_id, job, synced=False)
    await workshop.registrar.handle(company_id, [await workshop.published(job)])
    assert (await workshop.ended(job)).state is JobState.SUPERSEDED


async def test_a_change_of_groups_whose_message_was_lost_is_sent_again(workshop: Workshop) -> None:
    services, company_id = workshop.services, workshop.company_id
    assert isinstance(services.clock, ManualClock)
    await enrolled(workshop, "u-1", 1, groups=("hq",))
    user = await changed(workshop, "u-1", groups=("lab",))
    # As if the ingress had died before it could publish.
    job = await services.submission.accept_regrouping(workshop.submitter, user.id, user.epoch)
    services.clock.advance(2 * SKEW.total_seconds() + 1)
    await Sweeper(services, workshop.finisher).end_lost_jobs()
    await workshop.registrar.handle(company_id, [await workshop.published(job)])
    assert (await workshop.ended(job)).state is JobState.SUCCEEDED
    point = await workshop.vectors.retrieve(company_id, [UUID(face) for face in await workshop.points()])
    assert [found.groups for found in point.values()] == [("lab",)]


class TestBoundKey:
    """Enrolments by a key that has to do with some groups only, decided whatever the ingress saw before."""

    async def test_whom_it_enrols_anew_has_its_groups(self, workshop: Workshop) -> None:
        await enrolled(workshop, "u-1", 1, within_groups=("annex", "hq"))
        await enrolled(workshop, "u-2", 2, groups=("hq",), within_groups=("annex", "hq"))
        assert (await changed(workshop, "u-1")).groups == ("annex", "hq")
        assert (await changed(workshop, "u-2")).groups == ("hq",)

    async def test_whom_it_has_nothing_to_do_with_is_not_enrolled(self, workshop: Workshop) -> None:
        await enrolled(workshop, "u-1", 1, groups=("lab",))
        refused = await enrolled(workshop, "u-1", 1, photo=b"another photo", within_groups=("hq",))
        assert (refused.code, refused.http_status) == ("not_found", 404)
        assert (await changed(workshop, "u-1")).groups == ("lab",)

    async def test_who_has_left_its_groups_meanwhile_is_not_changed(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await enrolled(workshop, "u-1", 1, groups=("hq",))
        points = await workshop.points()
        save = Users.save_enrolment

        async def moved_before(users: Users, *arguments: Any) -> tuple[User, bool]:
            await changed(workshop, "u-1", groups=("lab",))
            return await save(users, *arguments)

        monkeypatch.setattr(Users, "save_enrolment", moved_before)
        given = {"metadata": {"by": "hq"}, "within_groups": ("hq",)}
        refused = await enrolled(workshop, "u-1", 1, photo=b"another photo", **given)
        assert (refused.code, refused.http_status) == ("not_found", 404)
        assert (await changed(workshop, "u-1")).metadata_sealed is None
        assert await workshop.points() == points

    async def test_other_groups_stay(self, workshop: Workshop) -> None:
        await enrolled(workshop, "u-1", 1, groups=("lab", "hq"))
        given = {"groups": ("annex",), "within_groups": ("hq", "annex")}
        job = await enrolled(workshop, "u-1", 1, photo=b"another photo", **given)
        assert job.http_status == 201
        assert (await changed(workshop, "u-1")).groups == ("lab", "annex")
        points = await workshop.vectors.retrieve(workshop.company_id, [face_id_of(job)])
        assert [point.groups for point in points.values()] == [("lab", "annex")]


@pytest.mark.parametrize("valid_until", [None, NOW + timedelta(microseconds=1)])
def test_who_may_be_matched(valid_until: datetime | None) -> None:
    user = User.model_validate(
        {"id": "u", "state": "active", "epoch": 0, "user_id_sealed": None, "valid_until": valid_until}
        | {"created_at": NOW, "updated_at": NOW}
    )
    assert user.may_be_matched(NOW, CompanyPolicies())
    assert not user.may_be_matched(NOW, REQUIRED)
    assert user.model_copy(update={"consent": CONSENT}).may_be_matched(NOW, REQUIRED)
