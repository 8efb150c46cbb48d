"""What happens when a face is already enrolled: as this user's, as somebody else's, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.calibration import Calibration
from schemas.policies import CompanyPolicies
from schemas.problems import ProblemError
from schemas.records import FaceRecord


@dataclass(frozen=True)
class OwnFace:
    """A face that the user has already, and how similar the new one is to it."""

    record: FaceRecord
    similarity: float


@dataclass(frozen=True)
class OtherUser:
    """Another user of the company, and how similar the new face is to the most similar of theirs."""

    user_hash: str
    similarity: float


@dataclass(frozen=True)
class Verdict:
    """What is to become of a new face. Without `problem` and `same_photo` it is enrolled."""

    problem: ProblemError | None = None
    same_photo: FaceRecord | None = None
    flagged: bool = False
    """It is let in by policy although it resembles `other`."""
    other: OtherUser | None = None
    """The user for whom the face was taken, when it was."""


def judge(
    photo_hash: str,
    own: Sequence[OwnFace],
    others: Sequence[OtherUser],
    *,
    comparisons: int,
    policies: CompanyPolicies,
    calibration: Calibration,
) -> Verdict:
    """Decide about a new face of a user.

    Three questions, each with an operating point of its own. Is it the very same photo again? Then it is
    enrolled already, and nothing changes. Is it somebody else's face: above the score that lets at most the
    policy's share of new people be taken for one of `comparisons` enrolled faces, and nearer to them than to
    this user's own faces? Is it not this user's face: below the lenient score that almost all photos of one
    person reach?
    """
    same_photo = next((face.record for face in own if face.record.photo_hash == photo_hash), None)
    if same_photo is not None:
        return Verdict(same_photo=same_photo)
    if len(own) >= policies.max_faces_per_user:
        return Verdict(problem=ProblemError("too_many_faces_for_user"))
    best_own = max((face.similarity for face in own), default=None)
    other = max(others, key=lambda user: user.similarity, default=None)
    taken_for_other = other is not None and _is_duplicate(
        other.similarity, best_own, comparisons, policies, calibration
    )
    action = policies.duplicate.on_duplicate
    if taken_for_other and action == "reject":
        return Verdict(problem=ProblemError("duplicate_face"), other=other)
    if best_own is not None and best_own < policies.same_user.score_threshold(calibration):
        return Verdict(problem=ProblemError("face_mismatch"), other=other if taken_for_other else None)
    return Verdict(flagged=taken_for_other and action == "flag", other=other if taken_for_other else None)


def _is_duplicate(
    similarity: float,
    best_own: float | None,
    comparisons: int,
    policies: CompanyPolicies,
    calibration: Calibration,
) -> bool:
    if best_own is not None and best_own >= similarity:
        return False
    return similarity >= policies.duplicate.score_threshold(calibration, max(1, comparisons))
