"""The face stage on real stores: what was submitted is opened, and what the model says of it is answered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgpack
import numpy as np
import pytest

from infra.broker.port import Delivery, Topic
from infra.broker.topics import ENROLL, SEARCH, TEMPLATES
from infra.child import ChildProcess
from infra.repositories.collections import AUDIT_EVENTS, COMPANIES, JOBS
from infra.submission import Subject
from infra.vectors.port import Template
from schemas.jobs import JobRecord, JobState, Outcome
from schemas.messages import EnrolmentFields, PhotoBody, SearchFields, VerifyFields, decode_message
from schemas.policies import CompanyPolicies, RetentionPolicy
from schemas.problems import Problem
from schemas.recognition import MAX_FACES_SEARCHED, QualityPolicy
from schemas.results import DetectResult, EnrolResult, Location, SearchResult, VerifyResult
from schemas.scoring import DuplicatePolicy
from tests.workers.conftest import CALIBRATION, ENGINE, FACE, Workshop, person
from workers.ending import failed
from workers.enrolling import Enroller
from workers.face import FaceStage
from workers.recognition.analysis import (
    AnalysedFace,
    Analysis,
    Answer,
    Detection,
    JudgedFace,
    Refusal,
    UnusableFace,
)
from workers.recognition.compute import Compute
from workers.recognition.judging import judged_each, searchable
from workers.registrar import face_id_of
from workers.removal import photo_key_of, reference_key_of
from workers.searching import Searcher
from workers.verifying import Verifier

pytestmark = pytest.mark.system

TIMINGS = {"open": 1.0, "detect": 2.0, "embed": 3.0}
BLURRED = UnusableFace(FACE, "low_sharpness", "The face is blurred.")


def seen(*people: tuple[int, int], unusable: Sequence[UnusableFace] = ()) -> Analysis:
    """What the model says of a photo of these people, each a number and a variation."""
    faces = tuple(AnalysedFace(FACE, person(*one)) for one in people)
    return Analysis(640, 480, faces, TIMINGS, tuple(unusable), engine=ENGINE)


def resembling(number: int, similarity: float) -> Template:
    """A template that is as similar as this to a person's."""
    known, other = person(number), person(number + 100)
    apart = other - float(other @ known) * known
    mixed = similarity * known + math.sqrt(1 - similarity**2) * apart / np.linalg.norm(apart)
    return mixed.astype(np.float32)


@dataclass
class Desk:
    """A company with a face stage, whose model says what the test wants."""

    workshop: Workshop
    stage: FaceStage

    @property
    def company_id(self) -> UUID:
        return self.workshop.company_id

    async def enrolled(self, user_id: str, *variations: int, number: int, groups: Any = None) -> list[UUID]:
        """A user with a face of each variation."""
        face_ids: list[UUID] = []
        for variation in variations:
            job, delivery = await self.workshop.enrolment(user_id, person(number, variation), groups=groups)
            await self.workshop.registrar.handle(self.company_id, [delivery])
            assert (await self.workshop.ended(job)).http_status == 201
            face_ids.append(face_id_of(job))
        return face_ids

    async def subject(self, user_id: str) -> Subject:
        users = self.workshop.services.users
        user_hash = await users.hash_of(self.company_id, user_id)
        return Subject(user_hash, await users.epoch(self.company_id, user_hash))

    async def verify(self, against: Subject | bytes, *answers: Answer, **fields: Any) -> JobRecord:
        job = await self.workshop.services.submission.verify(
            self.workshop.submitter,
            b"photo",
            VerifyFields(**fields),
            against=against,
            deadline_at=self._deadline(),
            synced=False,
        )
        return await self.worked(job, SEARCH, answers)

    async def search(self, analysis: Answer, **fields: Any) -> JobRecord:
        job = await self.workshop.services.submission.search(
            self.workshop.submitter,
            b"photo",
            SearchFields(**fields),
            deadline_at=self._deadline(),
            synced=False,
        )
        return await self.worked(job, SEARCH, [analysis])

    async def detect(self, answer: Answer) -> JobRecord:
        job = await self.workshop.services.submission.detect(
            self.workshop.submitter, b"photo", deadline_at=self._deadline(), synced=False
        )
        return await self.worked(job, SEARCH, [answer])

    async def enrol(
        self, user_id: str, *answers: Answer, photo: bytes = b"photo", reference: bytes | None = None
    ) -> JobRecord:
        """An enrolment through the face stage, up to its message to the registrar."""
        subject = await self.subject(user_id)
        job = await self.workshop.services.submission.enroll(
            self.workshop.submitter,
            photo,
            EnrolmentFields(user_id=user_id),
            user_hash=subject.user_hash,
            user_epoch=subject.epoch,
            reference=reference,
            synced=False,
        )
        return await self.worked(job, ENROLL, answers)

    async def worked(self, job: JobRecord, topic: Topic, answers: Sequence[Answer]) -> JobRecord:
        opened = await self.stage.open(await self.delivery(job, topic))
        assert opened is not None
        assert len(opened.requests) == len(answers)
        await self.stage.conclude(opened, tuple(answers))
        return await self.workshop.ended(job)

    async def decided(self, job: JobRecord) -> JobRecord:
        """What the registrar makes of an enrolment that the face stage sent on."""
        await self.workshop.registrar.handle(self.company_id, [await self.delivery(job, TEMPLATES)])
        return await self.workshop.ended(job)

    async def delivery(self, job: JobRecord, topic: Topic) -> Delivery:
        """The job's message, as the topic has it."""
        subscription = await self.workshop.services.broker.subscribe(topic, f"reader-{job.id}")
        try:
            while True:
                for delivery in await subscription.fetch(max_messages=100, max_bytes=2**26, wait_s=5):
                    if str(decode_message(delivery.value)[0].job_id) == job.id:
                        return delivery
        finally:
            await subscription.close()

    async def answer(self, job: JobRecord) -> str:
        text = await self.workshop.services.jobs.result_text(self.company_id, job)
        assert text is not None
        return text

    async def policies(self, **changed: Any) -> None:
        """The company decides otherwise."""
        documents = self.workshop.services.documents
        company = await documents.get(COMPANIES, self.company_id, str(self.company_id))
        assert company is not None
        policies = CompanyPolicies(**{**dict(company.policies), **changed})
        updated = company.model_copy(update={"policies": policies, "version": company.version + 1})
        assert await documents.compare_and_set(
            COMPANIES, self.company_id, updated, expected={"version": company.version}
        )

    async def photos_kept(self) -> set[str]:
        return {kept.key async for kept in self.workshop.services.objects.list(self.company_id, "photos/")}

    def _deadline(self) -> Any:
        return self.workshop.services.clock.now() + timedelta(seconds=60)


@pytest.fixture
def desk(workshop: Workshop) -> Desk:
    services = workshop.services
    stage = FaceStage(
        services,
        Compute(
            ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30),
            open_timeout_s=1,
        ),
        workshop.finisher,
        Searcher(services, workshop.gallery, CALIBRATION),
        Verifier(services, CALIBRATION),
        Enroller(services, CALIBRATION),
    )
    return Desk(workshop, stage)


class TestTheWire:
    def test_a_message_without_the_new_fields_still_opens(self) -> None:
        old: dict[str, Any] = {"photo": b"p", "enrolment": None, "search": {"limit": 3}}
        body = PhotoBody.unpack(msgpack.packb(old, use_bin_type=True))
        assert body.search == SearchFields(limit=3)
        assert (body.second, body.verify) == (None, None)

    async def test_two_photos_travel_inline_together_or_not_at_all(self, desk: Desk) -> None:
        submission = replace(desk.workshop.services.submission, max_inline_bytes=10)
        for first, second, inline in ((b"12345", b"67890", True), (b"123456", b"67890", False)):
            job = await submission.verify(
                desk.workshop.submitter,
                first,
                VerifyFields(),
                against=second,
                deadline_at=desk._deadline(),
                synced=False,
            )
            assert (job.blob_key is None) == inline
            opened = await desk.stage.open(await desk.delivery(job, SEARCH))
            assert opened is not None
            assert (opened.photos.photo, opened.photos.second) == (first, second)
            assert [request.photo for request in opened.requests] == [first, second]
            if job.blob_key is not None:
                assert opened.body.photo is None
                assert opened.body.second is None
                assert first not in await desk.workshop.services.objects.get(desk.company_id, job.blob_key)

    async def test_a_job_past_its_time_is_dropped(self, desk: Desk) -> None:
        services = desk.workshop.services
        submitter, now = desk.workshop.submitter, services.clock.now()
        for job in (
            await services.submission.detect(submitter, b"photo", deadline_at=now, synced=False),
            await services.submission.verify(
                submitter, b"photo", VerifyFields(), against=b"other", deadline_at=now, synced=False
            ),
        ):
            assert await desk.stage.open(await desk.delivery(job, SEARCH)) is None
            assert (await desk.workshop.ended(job)).state is JobState.EXPIRED


class TestVerification:
    async def test_the_right_person_is_matched_by_the_most_similar_of_their_faces(self, desk: Desk) -> None:
        face_ids = await desk.enrolled("ada", 1, 2, 3, number=1)
        subject = await desk.subject("ada")
        job = await desk.verify(subject, seen((1, 2)), location=Location(device_id="door"))
        result = VerifyResult.model_validate_json(await desk.answer(job))
        assert (result.matched, result.user_id, result.face_id) == (True, "ada", face_ids[1])
        assert result.comparisons == 3
        assert result.similarity == pytest.approx(1, abs=1e-4)
        assert (job.outcome, job.log_user_hashes) == (Outcome.MATCHED, (subject.user_hash,))
        details = await desk.workshop.services.jobs.log_details(desk.company_id, job)
        assert (details.user_id, details.location) == ("ada", {"device_id": "door"})

    async def test_somebody_else_is_not_and_the_user_is_in_no_list(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1)
        subject = await desk.subject("ada")
        job = await desk.verify(subject, seen((2, 0)))
        result = VerifyResult.model_validate_json(await desk.answer(job))
        assert (result.matched, result.user_id) == (False, "ada")
        assert (job.outcome, job.log_user_hashes) == (Outcome.NOT_MATCHED, ())
        assert job.mentions == (subject.user_hash,), "erasure must find it"
        details = await desk.workshop.services.jobs.log_details(desk.company_id, job)
        assert (details.user_id, details.nearest_user_id) == (None, "ada")

    async def test_each_face_more_is_a_chance_more_of_a_false_match(self, desk: Desk) -> None:
        await desk.enrolled("one", 1, number=1)
        await desk.enrolled("three", 1, 2, 3, number=2)
        results = [
            VerifyResult.model_validate_json(await desk.answer(await desk.verify(subject, seen(probe))))
            for subject, probe in (
                (await desk.subject("one"), (1, 1)),
                (await desk.subject("three"), (2, 1)),
            )
        ]
        alone, several = results
        assert alone.fpir == pytest.approx(alone.fmr)
        assert several.fpir == pytest.approx(3 * several.fmr, rel=0.01)
        lr = CALIBRATION.likelihood_ratio(1)
        assert alone.confidence == pytest.approx(100 * lr / (1 + lr), abs=0.01)
        assert several.confidence == pytest.approx(100 * lr / (3 + lr), abs=0.01)

    async def test_two_photos_are_compared_and_nobody_is_named(self, desk: Desk) -> None:
        for other, matched in (((1, 1), True), ((2, 0), False)):
            job = await desk.verify(b"other", seen((1, 0)), seen(other))
            result = VerifyResult.model_validate_json(await desk.answer(job))
            assert (result.matched, result.user_id, result.face_id, result.comparisons) == (
                matched,
                None,
                None,
                1,
            )
            assert result.other_face == FACE
            assert (job.log_user_hashes, job.mentions) == ((), ())
            assert job.outcome is (Outcome.MATCHED if matched else Outcome.NOT_MATCHED)

    async def test_which_photo_is_refused_is_told(self, desk: Desk) -> None:
        refusal = Refusal("low_sharpness", "The face is blurred.")
        for answers, field in (
            ((seen((1, 0)), refusal), "other_image"),
            ((refusal, seen((1, 0))), "image"),
        ):
            job = await desk.verify(b"other", *answers)
            problem = Problem.model_validate_json(await desk.answer(job))
            assert (problem.code, problem.detail) == ("low_sharpness", f"{field}: The face is blurred.")
            assert [error.field for error in problem.errors or ()] == [field]
            assert job.outcome is Outcome.REFUSED

    async def test_a_user_without_faces_has_a_code_of_its_own(self, desk: Desk) -> None:
        (face_id,) = await desk.enrolled("ada", 0, number=1)
        await desk.workshop.services.faces.delete(desk.company_id, face_id)
        job = await desk.verify(await desk.subject("ada"), seen((1, 0)))
        assert (job.code, job.http_status, job.outcome) == ("user_without_faces", 409, Outcome.REFUSED)

    async def test_who_was_erased_or_taken_out_of_the_group_meanwhile_is_not_compared(
        self, desk: Desk
    ) -> None:
        await desk.enrolled("ada", 0, number=1, groups=("hq",))
        subject = await desk.subject("ada")
        outside = await desk.verify(subject, seen((1, 0)), groups=("lab",))
        assert (outside.code, outside.outcome) == ("not_found", Outcome.REFUSED)
        inside = await desk.verify(subject, seen((1, 0)), groups=("lab", "hq"))
        assert inside.outcome is Outcome.MATCHED
        await desk.workshop.services.users.erase(desk.company_id, subject.user_hash, subject.epoch)
        erased = await desk.verify(subject, seen((1, 0)))
        assert (erased.state, erased.code) == (JobState.SUPERSEDED, "job_superseded")

    async def test_a_looser_threshold_counts_for_who_may_ask_for_it(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1)
        subject = await desk.subject("ada")
        found = Analysis(1, 1, (AnalysedFace(FACE, resembling(1, 0.27)),), TIMINGS, engine=ENGINE)
        outcomes = [
            (await desk.verify(subject, found, threshold_percent=30, may_loosen=may)).outcome
            for may in (False, True)
        ]
        assert outcomes == [Outcome.NOT_MATCHED, Outcome.MATCHED]


class TestAllFaces:
    async def test_everybody_on_a_photo_is_found_and_one_entry_tells_of_all(self, desk: Desk) -> None:
        for user_id, number in (("ada", 1), ("bob", 2)):
            await desk.enrolled(user_id, 0, number=number)
        job = await desk.search(seen((9, 0), (2, 1), (1, 1), unusable=[BLURRED]), face="all")
        result = SearchResult.model_validate_json(await desk.answer(job))
        assert result.results is not None
        found = [one.best.user_id if one.best else None for one in result.results]
        assert found == [None, "bob", "ada", None]
        assert [one.code for one in result.results] == [None, None, None, "low_sharpness"]
        assert (result.matched, result.best) == (True, result.results[1].best)

        hashes = [(await desk.subject(user_id)).user_hash for user_id in ("bob", "ada")]
        assert (job.outcome, list(job.log_user_hashes)) == (Outcome.MATCHED, hashes)
        assert set(hashes) <= set(job.mentions)
        details = await desk.workshop.services.jobs.log_details(desk.company_id, job)
        assert (details.user_id, details.other_user_ids) == ("bob", ("ada",))
        jobs = (await desk.workshop.services.documents.find(JOBS, desk.company_id)).items
        assert [one.id for one in jobs if one.outcome is Outcome.MATCHED] == [job.id]

    async def test_erasure_finds_whoever_was_not_the_first(self, desk: Desk) -> None:
        for user_id, number in (("ada", 1), ("bob", 2)):
            await desk.enrolled(user_id, 0, number=number)
        job = await desk.search(seen((2, 1), (1, 1)), face="all")
        ada = await desk.subject("ada")
        await desk.workshop.services.jobs.forget_user(desk.company_id, ada.user_hash, "erased-1")
        entry = await desk.workshop.ended(job)
        details = await desk.workshop.services.jobs.log_details(desk.company_id, entry)
        assert (details.user_id, details.other_user_ids) == ("bob", ("erased-1",))
        assert ada.user_hash not in (*entry.log_user_hashes, *entry.mentions)
        assert entry.result_sealed is None

    async def test_nobody_known_is_one_answer_and_one_entry(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1)
        job = await desk.search(seen((8, 0), (9, 0)), face="all")
        result = SearchResult.model_validate_json(await desk.answer(job))
        assert (result.matched, result.best, len(result.results or ())) == (False, None, 2)
        assert (job.outcome, job.log_user_hashes) == (Outcome.NOT_MATCHED, ())

    async def test_each_face_of_the_photo_is_a_chance_of_a_false_match(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1)
        one, four = [
            SearchResult.model_validate_json(
                await desk.answer(await desk.search(seen((1, 1), *strangers), face="all"))
            )
            for strangers in ((), ((7, 0), (8, 0), (9, 0)))
        ]
        assert one.best is not None
        assert four.best is not None
        assert four.best.fpir == pytest.approx(4 * one.best.fpir, rel=0.01)
        assert four.best.confidence == one.best.confidence

    async def test_with_more_faces_in_the_photo_a_match_needs_a_higher_score(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1)
        ada = AnalysedFace(FACE, resembling(1, 0.35))  # 0.34 will do for one face, 0.36 for four
        matched: list[bool] = []
        for strangers in ((), (7, 8, 9)):
            faces = (ada, *(AnalysedFace(FACE, person(number)) for number in strangers))
            job = await desk.search(Analysis(640, 480, faces, TIMINGS, engine=ENGINE), face="all")
            matched.append(SearchResult.model_validate_json(await desk.answer(job)).matched)
        assert matched == [True, False]

    def test_a_crowd_is_searched_up_to_a_bound_and_the_rest_listed(self) -> None:
        wanted, unusable = searchable([FACE] * (MAX_FACES_SEARCHED + 2), QualityPolicy(), 640, 480)
        small = QualityPolicy(min_face_width_px=400)
        assert wanted == list(range(MAX_FACES_SEARCHED))
        assert [one.code for one in unusable] == ["too_many_faces"] * 2
        assert [one.code for one in searchable([FACE], small, 640, 480)[1]] == ["face_too_small"]


class TestCandidates:
    async def test_who_came_near_is_shown_only_to_who_investigates(self, desk: Desk) -> None:
        for user_id, number in (("ada", 1), ("bob", 2), ("cat", 3)):
            await desk.enrolled(user_id, 0, number=number)
        ordinary = SearchResult.model_validate_json(
            await desk.answer(await desk.search(seen((1, 1)), limit=3, may_loosen=True))
        )
        assert [candidate.user_id for candidate in ordinary.candidates] == ["ada"]
        job = await desk.search(seen((1, 1)), limit=2, investigate=True)
        investigated = SearchResult.model_validate_json(await desk.answer(job))
        assert [candidate.accepted for candidate in investigated.candidates] == [True, False]
        assert investigated.best == investigated.candidates[0]
        shown = {candidate.user_id for candidate in investigated.candidates}
        hashes = {(await desk.subject(user_id)).user_hash for user_id in shown}
        assert hashes == set(job.mentions), "erasure must find whoever the answer shows"
        assert len(job.log_user_hashes) == 1

        stranger = SearchResult.model_validate_json(
            await desk.answer(await desk.search(seen((9, 0)), limit=50, investigate=True))
        )
        assert (stranger.matched, stranger.best, len(stranger.candidates)) == (False, None, 3)

    async def test_a_credential_bound_to_no_group_finds_nobody(self, desk: Desk) -> None:
        await desk.enrolled("ada", 0, number=1, groups=("hq",))
        for groups, matched in (((), False), (("lab",), False), (("lab", "hq"), True)):
            job = await desk.search(seen((1, 1)), groups=groups)
            assert (groups, job.outcome is Outcome.MATCHED) == (groups, matched)


class TestDetection:
    async def test_faces_are_told_and_nothing_is_logged_or_kept(self, desk: Desk) -> None:
        faces = (
            JudgedFace(FACE, None, None),
            JudgedFace(FACE, ("multiple_faces", "Two."), ("low_sharpness", "Blurred.")),
        )
        job = await desk.detect(Detection(640, 480, faces, {"open": 1.0}))
        result = DetectResult.model_validate_json(await desk.answer(job))
        assert [(face.enrolment.code, face.probe.code) for face in result.faces] == [
            (None, None),
            ("multiple_faces", "low_sharpness"),
        ]
        assert [face.probe.usable for face in result.faces] == [True, False]
        assert (job.logged, job.outcome, job.mentions) == (False, None, ())
        assert job.expires_at == job.result_expires_at

    async def test_no_face_is_an_answer(self, desk: Desk) -> None:
        job = await desk.detect(Detection(640, 480, (), {}))
        assert (job.http_status, job.state) == (200, JobState.SUCCEEDED)

    async def test_a_photo_that_cannot_be_read_is_refused_and_not_logged(self, desk: Desk) -> None:
        job = await desk.detect(Refusal("corrupt_image", "Cut off."))
        assert (job.http_status, job.code, job.logged) == (422, "corrupt_image", False)

    def test_beside_another_a_face_cannot_be_enrolled(self) -> None:
        alone = judged_each([FACE], QualityPolicy(), 640, 480)
        both = judged_each([FACE, FACE.model_copy()], QualityPolicy(), 640, 480)
        assert [one.enrolment for one in alone] == [None]
        assert [one.enrolment and one.enrolment[0] for one in both] == ["multiple_faces"] * 2
        assert [one.probe for one in both] == [None, None]


class TestReference:
    async def test_a_reference_of_the_same_person_is_answered_and_kept(self, desk: Desk) -> None:
        await desk.policies(retention=RetentionPolicy(keep_photos=True))
        job = await desk.enrol("ada", seen((1, 0)), seen((1, 1)), reference=b"card")
        ended = await desk.decided(job)
        result = EnrolResult.model_validate_json(await desk.answer(ended))
        assert result.reference is not None
        assert result.reference.confidence > 85
        face_id = face_id_of(job)
        record = await desk.workshop.services.faces.get(desk.company_id, face_id)
        assert record is not None
        assert record.reference_photo_key == reference_key_of(face_id)
        assert await desk.photos_kept() == {photo_key_of(face_id), reference_key_of(face_id)}
        key = await desk.workshop.services.keys.get(desk.company_id)
        sealed = await desk.workshop.services.objects.get(desk.company_id, reference_key_of(face_id))
        assert key.open_photo(reference_key_of(face_id), sealed) == b"card"

        services = desk.workshop.services
        deletion = await services.submission.accept_face_deletion(desk.workshop.submitter, face_id)
        await services.faces.delete(desk.company_id, face_id)
        await desk.workshop.registrar.handle(desk.company_id, [await desk.workshop.removal(deletion)])
        assert await desk.photos_kept() == set()

    async def test_a_reference_of_somebody_else_is_refused_and_nothing_is_enrolled(self, desk: Desk) -> None:
        await desk.policies(retention=RetentionPolicy(keep_photos=True))
        job = await desk.enrol("ada", seen((1, 0)), seen((2, 0)), reference=b"card")
        assert (job.code, job.http_status, job.outcome) == ("reference_mismatch", 422, Outcome.REFUSED)
        assert job.similarity is not None
        assert job.similarity < 0.3
        assert await desk.photos_kept() == set()
        subject = await desk.subject("ada")
        assert await desk.workshop.services.users.get(desk.company_id, subject.user_hash) is None
        assert job.mentions == (subject.user_hash,), "an erasure must find the photo's hash"

    async def test_without_the_policy_no_photo_is_kept(self, desk: Desk) -> None:
        job = await desk.enrol("ada", seen((1, 0)), seen((1, 1)), reference=b"card")
        assert (await desk.decided(job)).http_status == 201
        assert await desk.photos_kept() == set()

    async def test_an_enrolment_that_comes_to_nothing_leaves_no_photo(self, desk: Desk) -> None:
        await desk.policies(retention=RetentionPolicy(keep_photos=True))
        first = await desk.enrol("ada", seen((1, 0)), seen((1, 1)), photo=b"one", reference=b"card")
        await desk.decided(first)
        kept = await desk.photos_kept()
        for user_id, photo in (("bob", b"two"), ("ada", b"one")):  # a duplicate, and the same photo again
            again = await desk.enrol(user_id, seen((1, 0)), seen((1, 1)), photo=photo, reference=b"card")
            assert len(await desk.photos_kept()) == 4
            await desk.decided(again)
            assert await desk.photos_kept() == kept

        closed = await desk.enrol("cat", seen((3, 0)), seen((3, 1)), photo=b"three", reference=b"card")
        await desk.workshop.finisher.finish(desk.company_id, closed, failed(closed))
        assert (await desk.decided(closed)).state is JobState.FAILED
        assert await desk.photos_kept() == kept


@pytest.mark.parametrize(("action", "word"), [("flag", "flagged"), ("allow", "allowed")])
async def test_a_duplicate_that_is_let_in_is_told_to_who_follows(desk: Desk, action: Any, word: str) -> None:
    await desk.policies(duplicate=DuplicatePolicy(on_duplicate=action))
    await desk.enrolled("ada", 0, number=1)
    job = await desk.decided(await desk.enrol("twin", seen((1, 1))))
    result = EnrolResult.model_validate_json(await desk.answer(job))
    assert result.flagged_duplicate == (action == "flag")
    ada = await desk.subject("ada")
    events = (await desk.workshop.services.documents.find(AUDIT_EVENTS, desk.company_id)).items
    (told,) = [event.data for event in events if event.job_id == job.id]
    assert (told["duplicate"], told["duplicate_of"]) == (word, ada.user_hash)
    assert ada.user_hash in job.mentions
    assert ada.user_hash not in job.log_user_hashes
    details = await desk.workshop.services.jobs.log_details(desk.company_id, job)
    assert (details.user_id, details.nearest_user_id) == ("twin", "ada")
