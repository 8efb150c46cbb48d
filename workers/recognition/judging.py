"""What each face of a photo could be used for."""

from collections.abc import Sequence

from schemas.problem_types import PROBLEM_TYPES
from schemas.recognition import MAX_FACES_SEARCHED, Face, QualityPolicy
from workers.recognition.analysis import AnalysedFace, JudgedFace, UnusableFace
from workers.recognition.quality import refusal, template_refusal

_TOO_MANY = "too_many_faces"


def judged_each(
    faces: Sequence[Face], policy: QualityPolicy, width_px: int, height_px: int
) -> tuple[JudgedFace, ...]:
    """Each face, the most prominent first, with what stands against enrolling it from this photo (beside the
    others it may be one of several), and against searching for it alone."""
    # The nearest rival of a face is the most prominent of the others: no more need be looked at.
    rivals = [face for face in faces if face.detection_confidence >= policy.min_detection_confidence][:2]

    def judged(face: Face) -> JudgedFace:
        others = [rival for rival in rivals if rival is not face][:1]
        enrolment = refusal([face, *others], "enrolment", policy, width_px, height_px)
        return JudgedFace(face, enrolment, refusal([face], "probe", policy, width_px, height_px))

    return tuple(judged(face) for face in faces)


def searchable(
    faces: Sequence[Face], policy: QualityPolicy, width_px: int, height_px: int
) -> tuple[list[int], tuple[UnusableFace, ...]]:
    """Which of the faces (the most prominent first) are searched for, by their places, and why not the
    others: each for itself, and not more than `MAX_FACES_SEARCHED`, since a crowd must not hold up everybody
    else."""
    wanted: list[int] = []
    unusable: list[UnusableFace] = []
    for place, face in enumerate(faces):
        refused = refusal([face], "probe", policy, width_px, height_px)
        if refused is None and len(wanted) == MAX_FACES_SEARCHED:
            refused = (_TOO_MANY, f"{PROBLEM_TYPES[_TOO_MANY].title}: {MAX_FACES_SEARCHED}.")
        if refused is None:
            wanted.append(place)
        else:
            unusable.append(UnusableFace(face, *refused))
    return wanted, tuple(unusable)


def judged_templates(
    faces: Sequence[AnalysedFace], policy: QualityPolicy
) -> tuple[tuple[AnalysedFace, ...], tuple[UnusableFace, ...]]:
    """The faces whose templates say who they are, and the others."""
    refusals = [(found, template_refusal(found.face.quality, policy)) for found in faces]
    good = tuple(found for found, refused in refusals if refused is None)
    bad = tuple(UnusableFace(found.face, *refused) for found, refused in refusals if refused is not None)
    return good, bad
