"""Photos to templates, all the way, with the real weights."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from infra.clock import ManualClock
from schemas.recognition import Box, Engine, Landmarks, PhotoLimits, Point, Purpose, QualityPolicy
from scripts.photos import Photos
from workers.recognition.analysis import Analysis, PhotoRequest, Refusal
from workers.recognition.detector import SEARCH, DetectedFace, Detector, Look
from workers.recognition.devices import encoder_on
from workers.recognition.encoder import Encoder, Templates
from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.opened_photo import OpenedPhoto
from workers.recognition.opener import open_photo
from workers.recognition.pipeline import FacePipeline, SelfTestFailed
from workers.recognition.weights import ModelFiles

LIMITS = PhotoLimits()
OPEN = partial(open_photo, limits=LIMITS)
ENGINE = Engine(name="made up", device="cpu", precision="f32")


class Flawed(Encoder):
    """An encoder whose templates are what a test wants them to be."""

    engine = ENGINE

    def __init__(self, templates: NDArray[np.float32], *qualities: float) -> None:
        self._templates = templates
        self._qualities = np.array(qualities or [1.0] * len(templates), np.float32)

    def _embed(self, crops: NDArray[np.uint8]) -> Templates:
        return Templates(self._templates[: len(crops)], self._qualities[: len(crops)])


class Seeing(Detector):
    """A detector that sees a face in each photo at these places."""

    def __init__(self, *left_px: float) -> None:
        self._left_px = left_px

    def detect(self, photo: OpenedPhoto, look: Look = SEARCH, min_face_px: float = 40) -> list[DetectedFace]:
        del photo, look, min_face_px
        return [_face_at(left) for left in self._left_px]


def _face_at(left: float) -> DetectedFace:
    places = {
        "left_eye": (30, 40),
        "right_eye": (70, 40),
        "nose": (50, 60),
        "mouth_left": (35, 80),
        "mouth_right": (65, 80),
    }
    points = {name: Point(x=left + x, y=50 + y) for name, (x, y) in places.items()}
    return DetectedFace(Box(x=left, y=50, width=100, height=110), Landmarks(**points), 0.99)


def unit(*places: int) -> NDArray[np.float32]:
    return np.eye(128, dtype=np.float32)[list(places)]


@pytest.mark.parametrize(
    "templates", [unit(0, 0), 2 * unit(0, 1), unit(0, 1) * np.float32(np.nan), unit(0, 1)[:, :64]]
)
def test_the_self_test_finds_a_model_that_is_none(templates: NDArray[np.float32]) -> None:
    pipeline = FacePipeline(Detector(2), Flawed(templates), OPEN)
    with pytest.raises((SelfTestFailed, ValueError)):
        pipeline.self_test()


def test_the_self_test_passes_what_can_be_a_model() -> None:
    FacePipeline(Detector(2), Flawed(unit(0, 1)), OPEN).self_test()


def test_photos_that_cannot_be_used_are_refused_one_by_one() -> None:
    pipeline = FacePipeline(Detector(2), Flawed(unit(0)), OPEN)
    blank, tiny = png(Image.new("RGB", (200, 200))), png(Image.new("RGB", (19, 200)))
    photos = [b"GIF89a", blank, tiny, blank[:60], b"\0" * (LIMITS.max_bytes + 1)]
    answers = pipeline.analyse([PhotoRequest(photo, "probe") for photo in photos])
    codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert codes == [
        "unsupported_media_type",
        "no_face",
        "image_dimensions",
        "corrupt_image",
        "image_too_large",
    ]
    assert pipeline.analyse([]) == []


@pytest.mark.parametrize("purpose", ["enrolment", "probe"])
def test_a_face_whose_template_says_nothing_is_refused(purpose: Purpose) -> None:
    photo, policy = png(noise(300, 200)), QualityPolicy(min_response_strength=0.8)
    pipeline = FacePipeline(Seeing(100), Flawed(unit(0, 1), 0.79, 0.8), OPEN)
    lenient = PhotoRequest(photo, purpose)
    bad, _ = pipeline.analyse([PhotoRequest(photo, purpose, quality=policy), lenient])
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.faces[0].quality.response_strength) == ("low_template_quality", 0.79)
    bad, good = pipeline.analyse([lenient, PhotoRequest(photo, purpose, quality=policy)])
    assert isinstance(bad, Analysis)
    assert isinstance(good, Analysis)
    assert good.faces[0].face.quality.response_strength == 0.8
    assert np.array_equal(good.faces[0].template, unit(1)[0])


def test_of_all_faces_those_with_good_templates_are_answered() -> None:
    pipeline = FacePipeline(Seeing(20, 160), Flawed(unit(0, 1), 0.3, 1.1), OPEN)
    (answer,) = pipeline.analyse([PhotoRequest(png(noise(300, 200)), "probe", all_faces=True)])
    assert isinstance(answer, Analysis)
    assert [found.face.box.x for found in answer.faces] == [160]
    assert np.array_equal(answer.faces[0].template, unit(1)[0])
    assert [(face.face.box.x, face.code) for face in answer.unusable] == [(20, "low_template_quality")]


@pytest.fixture(scope="module")
def pipeline(model_files: ModelFiles) -> FacePipeline:
    return FacePipeline.load(model_files, device="cpu", threads=2, open_photo=OPEN)


def noise(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def template_of(pipeline: FacePipeline, photo: bytes) -> NDArray[np.float32]:
    (answer,) = pipeline.analyse([PhotoRequest(photo, "probe")])
    assert isinstance(answer, Analysis)
    return answer.faces[0].template


def code_of(pipeline: FacePipeline, request: PhotoRequest) -> str | None:
    (answer,) = pipeline.analyse([request])
    return answer.code if isinstance(answer, Refusal) else None


@pytest.mark.system
def test_photos_of_one_person_are_alike_and_of_two_are_not(pipeline: FacePipeline, photos: Photos) -> None:
    pipeline.self_test()
    mine = [template_of(pipeline, path.read_bytes()) for path in photos.people["Barack Obama"]]
    others = [
        template_of(pipeline, paths[0].read_bytes())
        for name, paths in photos.people.items()
        if "Obama" not in name
    ]
    others.append(template_of(pipeline, photos.stranger.read_bytes()))
    same = [float(a @ b) for i, a in enumerate(mine) for b in mine[:i]]
    different = [float(a @ b) for a in mine for b in others]
    assert min(same) > 0.6
    assert max(different) < 0.4


@pytest.mark.system
def test_a_refusal_in_a_batch_touches_no_other(pipeline: FacePipeline, photos: Photos) -> None:
    paths = photos.people["Barack Obama"]
    batch = [
        PhotoRequest(photos.no_face.read_bytes(), "enrolment"),
        PhotoRequest(paths[0].read_bytes(), "enrolment"),
        PhotoRequest(b"", "probe"),
        PhotoRequest(paths[1].read_bytes(), "probe"),
    ]
    first, one, third, other = pipeline.analyse(batch)
    assert isinstance(first, Refusal)
    assert isinstance(third, Refusal)
    for answer, path in ((one, paths[0]), (other, paths[1])):
        assert isinstance(answer, Analysis)
        assert len(answer.faces) == 1
        assert float(answer.faces[0].template @ template_of(pipeline, path.read_bytes())) > 0.9999
        assert set(answer.timings_ms) == {"open", "detect", "embed"}


class Ticking(ManualClock):
    """A clock on which a millisecond passes with each look at it."""

    def monotonic_s(self) -> float:
        self.advance(0.001)
        return super().monotonic_s()


@pytest.mark.system
def test_each_stage_tells_its_time(model_files: ModelFiles, photos: Photos) -> None:
    encoder = encoder_on("cpu", FaceNetWeights.read(model_files), threads=2)
    pipeline = FacePipeline(Detector(2), encoder, OPEN, Ticking())
    (answer,) = pipeline.analyse([PhotoRequest(photos.stranger.read_bytes(), "probe")])
    assert isinstance(answer, Analysis)
    assert answer.timings_ms == pytest.approx({"open": 1, "detect": 2, "embed": 1})


@pytest.mark.system
def test_the_same_photo_in_another_file_is_the_same_face(pipeline: FacePipeline, photos: Photos) -> None:
    original = Image.open(photos.people["Barack Obama"][1])
    template = template_of(pipeline, png(original))
    assert float(template @ template_of(pipeline, photos.with_alpha.read_bytes())) > 0.99
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    original.transpose(Image.Transpose.ROTATE_90).save(turned, "JPEG", quality=95, exif=exif)
    assert float(template @ template_of(pipeline, turned.getvalue())) > 0.98
    assert float(template @ template_of(pipeline, png(original.convert("L")))) > 0.8
    original.close()


@pytest.mark.system
def test_bad_photos_of_a_person_are_refused(pipeline: FacePipeline, photos: Photos) -> None:
    with Image.open(photos.people["Barack Obama"][0]) as photo:
        good = photo.convert("RGB")
    small = good.resize((good.width // 6, good.height // 6))
    dark = good.point(lambda level: level // 12)  # type: ignore[no-any-return]
    blurred = good.filter(ImageFilter.GaussianBlur(14))
    assert code_of(pipeline, PhotoRequest(png(good), "enrolment")) is None
    strict = QualityPolicy(min_face_width_px=100)
    assert code_of(pipeline, PhotoRequest(png(small), "probe", quality=strict)) in {
        "face_too_small",
        "no_face",
    }
    assert code_of(pipeline, PhotoRequest(png(dark), "probe")) in {"low_brightness", "no_face"}
    assert code_of(pipeline, PhotoRequest(png(blurred), "probe")) in {"low_sharpness", "no_face"}


@pytest.mark.system
def test_two_people_in_a_photo(pipeline: FacePipeline, photos: Photos) -> None:
    scene = Image.new("RGB", (1000, 640))
    for index, x in ((0, 0), (1, 500)):
        with Image.open(photos.people["Barack Obama"][index]) as photo:
            scene.paste(photo.convert("RGB").resize((500, 640)), (x, 0))
    both = png(scene)
    assert code_of(pipeline, PhotoRequest(both, "enrolment")) == "multiple_faces"
    (one,) = pipeline.analyse([PhotoRequest(both, "probe")])
    (every,) = pipeline.analyse([PhotoRequest(both, "probe", all_faces=True)])
    assert isinstance(one, Analysis)
    assert isinstance(every, Analysis)
    assert len(one.faces) == 1
    assert len(every.faces) == 2
    assert every.faces[0].face == one.faces[0].face
    assert (every.width_px, every.height_px) == (1000, 640)


@pytest.mark.system
def test_a_large_photo_takes_its_crop_at_full_size(
    pipeline: FacePipeline, photos: Photos, tmp_path: Path
) -> None:
    with Image.open(photos.people["Barack Obama"][0]) as photo:
        small = photo.convert("RGB")
    large = small.resize((small.width * 4, small.height * 4), Image.Resampling.BICUBIC)
    (answer,) = pipeline.analyse([PhotoRequest(png(large), "probe")])
    assert isinstance(answer, Analysis)
    assert answer.faces[0].face.box.width > 3 * 200
    assert float(answer.faces[0].template @ template_of(pipeline, png(small))) > 0.97
