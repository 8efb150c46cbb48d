"""What is said about a photo and the faces in it, and what a photo must be like to be used."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Purpose = Literal["enrolment", "probe", "detection"]
"""What a photo is for: to be kept as somebody's template, to be compared, or only to be looked at."""

FaceChoice = Literal["largest", "all"]
"""Which faces of a photo are searched for: the most prominent one (large and central), or each."""

MAX_FACES_SEARCHED = 32
"""Of one photo, the most prominent first."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Point(_Model):
    """A place in the upright photo, in pixels from its top left corner."""

    x: float
    y: float


class Box(_Model):
    """A rectangle in the upright photo (EXIF orientation applied), in pixels. It may reach beyond the photo's
    edge."""

    x: float
    y: float
    width: float = Field(ge=0)
    height: float = Field(ge=0)


class Landmarks(_Model):
    """The five points of a face; left and right are those of the picture, not of the person."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Quality(_Model):
    """How well a face can be seen. Measured inside its box; angles are estimates from five points, good to
    about 10°."""

    sharpness: float = Field(ge=0)
    """A thousand times the variance of the Laplacian over that of the luma, of the face at 160 px; the
    contrast and the brightness of the photo do not change it. Good photos have 10 to 100, blurred ones below
    1."""
    brightness: float = Field(ge=0, le=255)
    """Mean luma, 0 (black) to 255 (white)."""
    overexposed_share: float = Field(ge=0, le=1)
    """Share of the face's pixels whose luma is at least 250."""
    yaw_degrees: float
    """Head turned to the picture's right (positive) or left (negative)."""
    roll_degrees: float
    """Head tilted clockwise (positive) or anticlockwise (negative)."""
    face_width_px: float = Field(ge=0)
    """Width of the box in pixels of the photo as it was sent."""
    response_strength: float | None = Field(default=None, ge=0)
    """How strongly the network responded to the face: the length of its embedding before it is normalised, as
    a share of the usual one. Faces have 0.8 to 1.2; below 0.7 it is hardly a face, and its template is like
    nobody's. None where no template was made."""


class Face(_Model):
    """One detected face."""

    box: Box
    landmarks: Landmarks
    quality: Quality
    detection_confidence: float = Field(ge=0, le=1)
    """The detector's probability that this is a face."""


class ModelStamp(_Model):
    """Which model made a template. Templates of different stamps are never compared."""

    id: str
    """Which weights."""
    version: str
    """Of weights, crop, projection and calibration together."""


class Engine(_Model):
    """What computes templates. The model's version is the same on all of them: their templates agree to a
    cosine of 0.999."""

    name: str
    """Which program, and its version."""
    device: str
    """`cpu`, or a GPU: `cuda:0`."""
    precision: str
    """What it computes in: `f32`, or `bf16` or `f16`, which are half as long."""


class PhotoLimits(_Model):
    """How large a photo may be. Everything here is known from the first bytes, before anything is decoded."""

    max_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1)
    min_side_px: int = Field(default=20, ge=20)
    """Below 20 px a side the detector has nothing to look at: its first network sees 12 x 12 px."""


class QualityPolicy(_Model):
    """What a face must be like to be used. The defaults refuse only what cannot work: of LFW's photos, more
    than 99.9 % pass as probes; at enrolment 1 % are refused for a second person in them."""

    min_face_width_px: float = Field(default=40, ge=20)
    """Of the face's box, in pixels of the photo as it was sent; less is `face_too_small`."""
    min_detection_confidence: float = Field(default=0.9, ge=0.7, le=1)
    """The detector's probability that it is a face; less is `low_detection_confidence`."""
    max_yaw_degrees: float = Field(default=60, gt=0, le=90)
    """How far the head may be turned, either way; more is `extreme_pose`."""
    max_roll_degrees: float = Field(default=45, gt=0, le=180)
    """How far the head may be tilted, either way; more is `extreme_pose`."""
    min_sharpness: float = Field(default=1, ge=0)
    """As in `quality.sharpness`; less is `low_sharpness`."""
    min_brightness: float = Field(default=20, ge=0, le=255)
    """As in `quality.brightness`; less is `low_brightness`."""
    max_overexposed_share: float = Field(default=0.5, ge=0, le=1)
    """As in `quality.overexposed_share`; more is `overexposed`."""
    min_response_strength: float = Field(default=0.7, ge=0, le=1)
    """As in `quality.response_strength`; less is `low_template_quality`."""
    max_second_face_ratio: float = Field(default=0.4, gt=0, le=1)
    """Enrolment only: the photo is of several people when another face is more than this share as prominent
    (large and central) as the first."""
