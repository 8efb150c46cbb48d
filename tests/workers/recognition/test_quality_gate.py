"""Every code of the quality gate, with real photos made worse, as enrolments and as probes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from PIL import Image, ImageDraw, ImageFilter

from schemas.recognition import PhotoLimits
from scripts.photos import Photos
from tests.system.photos import pixelated
from workers.recognition.analysis import Detection, PhotoRequest, Refusal
from workers.recognition.opener import open_photo
from workers.recognition.pipeline import FacePipeline
from workers.recognition.weights import ModelFiles

pytestmark = pytest.mark.system

_LONGEST_SIDE_PX = 560
"""Photos are made this small first, so that each is looked at quickly."""


@dataclass(frozen=True)
class Pictures:
    """The photos that the cases are made of."""

    obama: Image.Image
    masked: Image.Image
    biden: Image.Image
    cat: Image.Image


@dataclass(frozen=True)
class Case:
    """A photo made from real ones, and the code that it is refused with (None: it is good enough)."""

    name: str
    make: Callable[[Pictures], Image.Image]
    enrolment: str | None
    probe: str | None


def _shrunk(pictures: Pictures) -> Image.Image:
    return pictures.obama.resize((pictures.obama.width // 3, pictures.obama.height // 3))


def _blurred(pictures: Pictures) -> Image.Image:
    return pictures.obama.filter(ImageFilter.GaussianBlur(8))


def _darkened(pictures: Pictures) -> Image.Image:
    return pictures.obama.point([level // 10 for level in range(256)] * 3)


def _overexposed(pictures: Pictures) -> Image.Image:
    return pictures.obama.point([min(255, level * 9 // 4) for level in range(256)] * 3)


def _tilted(pictures: Pictures) -> Image.Image:
    return pictures.obama.rotate(60, expand=True, fillcolor=(128, 128, 128))


def _half_hidden(pictures: Pictures) -> Image.Image:
    """Behind a door frame that stands just before the middle of the face."""
    picture = pictures.obama.copy()
    ImageDraw.Draw(picture).rectangle((231, 0, picture.width, picture.height), fill=(90, 90, 90))
    return picture


def _pixelated(pictures: Pictures) -> Image.Image:
    """As pictures are of whom nobody is to recognise: plainly a face, and nobody's."""
    return pixelated(pictures.masked, 18)


def _beside_each_other(pictures: Pictures) -> Image.Image:
    """Two people, as large and as near to the middle one as the other."""
    scene = Image.new("RGB", (800, 560))
    scene.paste(pictures.obama.crop((48, 0, 448, 560)), (0, 0))
    scene.paste(pictures.biden.resize((394, 896)), (400, 0))
    return scene


CASES = (
    Case("a good photo", lambda pictures: pictures.obama, None, None),
    Case("a cat", lambda pictures: pictures.cat, "no_face", "no_face"),
    Case("two people", _beside_each_other, "multiple_faces", None),
    Case("far away", _shrunk, "face_too_small", "face_too_small"),
    Case("out of focus", _blurred, "low_sharpness", "low_sharpness"),
    Case("at night", _darkened, "low_brightness", "low_brightness"),
    Case("against a lamp", _overexposed, "overexposed", "overexposed"),
    Case(
        "half behind a door",
        _half_hidden,
        "low_detection_confidence",
        "low_detection_confidence",
    ),
    Case("made unrecognisable", _pixelated, "low_template_quality", "low_template_quality"),
    Case("head on the shoulder", _tilted, "extreme_pose", "extreme_pose"),
)


def pictures_of(photos: Photos) -> Pictures:
    """The photos, small."""

    def opened(path: object) -> Image.Image:
        with Image.open(str(path)) as image:
            picture = image.convert("RGB")
        picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
        return picture

    return Pictures(
        obama=opened(photos.people["Barack Obama"][0]),
        masked=opened(photos.people["Grace Hopper"][0]),
        biden=opened(photos.people["Joe Biden"][0]),
        cat=opened(photos.no_face),
    )


@pytest.fixture(scope="module")
def pictures(photos: Photos) -> Pictures:
    return pictures_of(photos)


@pytest.fixture(scope="module")
def pipeline(model_files: ModelFiles) -> FacePipeline:
    return FacePipeline.load(
        model_files, device="cpu", threads=1, open_photo=partial(open_photo, limits=PhotoLimits())
    )


def as_png(picture: Image.Image) -> bytes:
    """The picture as it is sent."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_photo_is_refused_with_its_code(pipeline: FacePipeline, pictures: Pictures, case: Case) -> None:
    photo = as_png(case.make(pictures))
    enrolment, probe, seen = pipeline.analyse(
        [
            PhotoRequest(photo, "enrolment"),
            PhotoRequest(photo, "probe"),
            PhotoRequest(photo, "detection"),
        ]
    )
    codes = [answer.code if isinstance(answer, Refusal) else None for answer in (enrolment, probe)]
    assert codes == [case.enrolment, case.probe]
    # Detection foretells both, but for what only a template tells, and refuses nothing.
    assert isinstance(seen, Detection)
    if case.probe == "low_template_quality":
        assert seen.faces[0].probe is None
    elif seen.faces:
        foretold = [reason and reason[0] for reason in (seen.faces[0].enrolment, seen.faces[0].probe)]
        assert foretold == codes


def test_no_code_of_the_gate_is_left_out() -> None:
    met = {code for case in CASES for code in (case.enrolment, case.probe) if code is not None}
    assert met == {
        "no_face",
        "multiple_faces",
        "face_too_small",
        "low_sharpness",
        "low_brightness",
        "overexposed",
        "extreme_pose",
        "low_detection_confidence",
        "low_template_quality",
    }
