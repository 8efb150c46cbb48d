"""How well a face can be seen, and whether that is well enough."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.problem_types import PROBLEM_TYPES
from schemas.recognition import Box, Face, Landmarks, Purpose, Quality, QualityPolicy
from workers.recognition.parameters import CROP_MARGIN_PX
from workers.recognition.prominence import prominence

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""
_OVEREXPOSED_LUMA: Final = 250
_ROUNDING: Final = 20 / 12 * float((_LUMA**2).sum())
"""Variance of the Laplacian (weights 1, 1, 1, 1, -4) that comes of rounding the three channels to whole
numbers."""
_NOSE_DEPTH: Final = 0.5
"""How far the tip of the nose stands before the eyes, in distances between the eyes: about 30 of 63 mm."""


def measure(crop: NDArray[np.uint8], box: Box, landmarks: Landmarks) -> Quality:
    """The quality of a face from its crop, uint8 [160, 160, 3], its box and its landmarks in the photo."""
    edge = CROP_MARGIN_PX // 2
    luma = crop[edge:-edge, edge:-edge].astype(np.float32) @ _LUMA
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    yaw_degrees, roll_degrees = pose(landmarks)
    return Quality(
        sharpness=1000 * max(0.0, float(laplacian.var()) - _ROUNDING) / max(float(luma.var()), 1.0),
        brightness=float(np.clip(luma.mean(), 0, 255)),
        overexposed_share=float((luma >= _OVEREXPOSED_LUMA).mean()),
        yaw_degrees=yaw_degrees,
        roll_degrees=roll_degrees,
        face_width_px=box.width,
    )


def pose(landmarks: Landmarks) -> tuple[float, float]:
    """Yaw and roll in degrees, positive to the picture's right and clockwise.

    The roll is that of the line through the eyes. In the head's own upright frame, a yaw of a moves the tip
    of the nose sideways by depth x sin(a) while the eyes' distance shrinks by cos(a), so a = atan(shift /
    (depth x distance))."""
    left, right, nose = landmarks.left_eye, landmarks.right_eye, landmarks.nose
    across_x, across_y = right.x - left.x, right.y - left.y
    distance = math.hypot(across_x, across_y)
    if distance == 0:
        return 90.0, 0.0
    from_middle_x, from_middle_y = nose.x - (left.x + right.x) / 2, nose.y - (left.y + right.y) / 2
    shift = (from_middle_x * across_x + from_middle_y * across_y) / distance
    yaw = math.atan2(shift, _NOSE_DEPTH * distance)
    return math.degrees(yaw), math.degrees(math.atan2(across_y, across_x))


def refusal(
    faces: Sequence[Face], purpose: Purpose, policy: QualityPolicy, width_px: int, height_px: int
) -> tuple[str, str] | None:
    """Why the first of the faces (the most prominent) cannot be used, as code and detail; None when it can.

    Probes with several faces are fine: the question is who the most prominent one is. An enrolment is not,
    since the wrong person's template would be kept."""
    if not faces:
        return "no_face", f"No face was found in the photo. {_remedy('no_face')}"
    face, quality = faces[0], faces[0].quality
    # What the detector doubts is more often a pattern than a second person.
    others = [other for other in faces[1:] if other.detection_confidence >= policy.min_detection_confidence]
    first, *rest = (prominence(seen.box, width_px, height_px) for seen in (face, *others))
    rival = max(rest, default=0.0) / max(first, 1e-9)
    checks = (
        _below("face_too_small", "face's width", quality.face_width_px, policy.min_face_width_px, "px"),
        _below(
            "low_detection_confidence",
            "detection's probability",
            face.detection_confidence,
            policy.min_detection_confidence,
        ),
        _above(
            "multiple_faces",
            "second face's prominence beside the first's",
            rival,
            policy.max_second_face_ratio,
        )
        if purpose == "enrolment"
        else None,
        _above("extreme_pose", "head's turn", abs(quality.yaw_degrees), policy.max_yaw_degrees, "degrees"),
        _above("extreme_pose", "head's tilt", abs(quality.roll_degrees), policy.max_roll_degrees, "degrees"),
        _below("low_brightness", "face's brightness", quality.brightness, policy.min_brightness),
        _above(
            "overexposed",
            "share of overexposed pixels",
            quality.overexposed_share,
            policy.max_overexposed_share,
        ),
        _below("low_sharpness", "face's sharpness", quality.sharpness, policy.min_sharpness),
    )
    return next((failed for failed in checks if failed is not None), None)


def template_refusal(quality: Quality, policy: QualityPolicy) -> tuple[str, str] | None:
    """Why a face's template cannot be used, as code and detail; None when it can."""
    if quality.response_strength is None:
        raise ValueError("a face without a template has nothing to judge")
    return _below(
        "low_template_quality", "template's quality", quality.response_strength, policy.min_response_strength
    )


def _below(code: str, what: str, value: float, least: float, unit: str = "") -> tuple[str, str] | None:
    words = f"The {what} is {value:.2f} {unit}".rstrip()
    return (code, f"{words}; at least {least:g} is needed. {_remedy(code)}") if value < least else None


def _above(code: str, what: str, value: float, most: float, unit: str = "") -> tuple[str, str] | None:
    words = f"The {what} is {value:.2f} {unit}".rstrip()
    return (code, f"{words}; at most {most:g} is allowed. {_remedy(code)}") if value > most else None


def _remedy(code: str) -> str:
    return PROBLEM_TYPES[code].remedy
