"""What happens when a face is already enrolled, question by question."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.policies import CompanyPolicies
from schemas.recognition import ModelStamp
from schemas.records import FaceRecord, FaceState
from schemas.scoring import DuplicatePolicy
from tests.calibration import made_up_calibration
from workers.duplicates import OtherUser, OwnFace, Verdict, judge

# FMR falls from 1 at 0.0 to exp(-10) at 1.0: 0.01 is reached at 0.46, and 0.05 (the same user's) at 0.30.
CALIBRATION = made_up_calibration((0, 10), tail_slope=10)


def _own(similarity: float, photo_hash: str = "other photo") -> OwnFace:
    record = FaceRecord(
        id="f",
        change=1,
        state=FaceState.ACTIVE,
        job_id="j",
        user_hash="me",
        epoch=0,
        model=ModelStamp(id="test", version="1"),
        template_sealed=b"",
        photo_hash=photo_hash,
        box=None,
        landmarks=None,
        quality=None,
        detection_confidence=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        enrolled_by="member:1",
    )
    return OwnFace(record, similarity)


def _judged(
    own: list[OwnFace], others: list[OtherUser], *, users: int = 1, policies: CompanyPolicies | None = None
) -> Verdict:
    return judge(
        "this photo",
        own,
        others,
        comparisons=users,
        policies=policies or CompanyPolicies(),
        calibration=CALIBRATION,
    )


def _code(verdict: Verdict) -> str | None:
    return verdict.problem.code if verdict.problem else None


def test_a_new_face_is_enrolled() -> None:
    assert _judged([], []) == Verdict()


def test_the_same_photo_again_changes_nothing() -> None:
    face = _own(1.0, "this photo")
    assert _judged([face], [OtherUser("somebody", 0.99)]).same_photo is face.record


def test_a_face_of_somebody_else_is_refused_and_names_them() -> None:
    verdict = _judged([], [OtherUser("near", 0.9), OtherUser("far", 0.2)])
    assert _code(verdict) == "duplicate_face"
    assert verdict.other == OtherUser("near", 0.9)


def test_a_resemblance_below_the_duplicate_threshold_is_let_in() -> None:
    assert _judged([], [OtherUser("somebody", 0.4)]) == Verdict()


def test_the_more_people_are_enrolled_the_more_it_takes() -> None:
    somebody = [OtherUser("somebody", 0.6)]
    assert _code(_judged([], somebody, users=1)) == "duplicate_face"
    assert _judged([], somebody, users=1000) == Verdict()


def test_who_resembles_their_own_faces_more_is_nobody_elses_duplicate() -> None:
    assert _judged([_own(0.8)], [OtherUser("sibling", 0.7)]) == Verdict()


def test_a_photo_unlike_the_users_other_faces_is_a_mismatch() -> None:
    assert _code(_judged([_own(0.1)], [])) == "face_mismatch"
    assert _judged([_own(0.1), _own(0.35)], []) == Verdict()


@pytest.mark.parametrize(("action", "flagged"), [("flag", True), ("allow", False)])
def test_a_company_may_let_duplicates_in(action: Any, flagged: bool) -> None:
    policies = CompanyPolicies(duplicate=DuplicatePolicy(on_duplicate=action))
    twin = OtherUser("twin", 0.9)
    assert _judged([], [twin], policies=policies) == Verdict(flagged=flagged, other=twin)


def test_a_user_has_so_many_faces_and_no_more() -> None:
    policies = CompanyPolicies(max_faces_per_user=2)
    assert _code(_judged([_own(0.9), _own(0.9)], [], policies=policies)) == "too_many_faces_for_user"
