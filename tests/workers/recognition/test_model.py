"""Which model a process has: weights and the calibration that belongs to them."""

import json
from pathlib import Path

import pytest

from schemas.calibration import Calibration
from schemas.scoring import MatchPolicy, decide
from workers.recognition.model import calibrated_model, calibration_path, known_model
from workers.recognition.parameters import PIPELINE, PROJECTION_RECIPE
from workers.recognition.preparation import CASIA_TENSORS_SHA256
from workers.recognition.weights import ModelFiles, ModelName, ProjectionStamp, WeightsError, WeightsStamp


def files(model_name: ModelName = "casia-webface", tensors_sha256: str = CASIA_TENSORS_SHA256) -> ModelFiles:
    stamp = WeightsStamp(
        id=model_name,
        version=tensors_sha256[:12],
        tensors_sha256=tensors_sha256,
        file_sha256="",
        projection=ProjectionStamp(recipe=PROJECTION_RECIPE, dimensions=128, max_cosine_error=0),
        source="",
        source_sha256="",
        licence="",
    )
    return ModelFiles(Path("unread"), stamp)


@pytest.fixture
def calibrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of calibrations of the test's own, with a copy of the one that is shipped."""
    copy = tmp_path / "casia-webface.json"
    copy.write_bytes(calibration_path("casia-webface").read_bytes())
    monkeypatch.setattr("workers.recognition.model._CALIBRATIONS", tmp_path)
    return copy


def test_the_shipped_calibration_belongs_to_the_pinned_weights() -> None:
    found = calibrated_model(files())
    assert found.stamp.id == "casia-webface"
    assert len(found.stamp.version) == 12
    assert found.calibration.pipeline == PIPELINE
    assert found.calibration.impostor_pairs > 40_000_000


def test_the_shipped_calibration_says_what_was_measured() -> None:
    """Figures of the weights and crop, measured beforehand: FMR 1e-2 at cosine 0.40, 1e-3 at 0.51, 1e-4 at
    0.60."""
    made = calibrated_model(files()).calibration
    for rate, score in ((1e-2, 0.398), (1e-3, 0.511), (1e-4, 0.599)):
        assert made.score_at_fmr(rate) == pytest.approx(score, abs=0.01)
    assert made.confidence_verification(0.448) == pytest.approx(85, abs=2)
    assert made.fmr(0.95).extrapolated
    assert not made.fmr(0.6).extrapolated


def test_the_version_changes_with_the_calibration(calibrations: Path) -> None:
    before = calibrated_model(files()).stamp
    assert calibrated_model(files()).stamp == before
    changed = json.loads(calibrations.read_text())
    changed["tail_slope"] += 1
    calibrations.write_text(json.dumps(changed))
    assert calibrated_model(files()).stamp.version != before.version


def test_the_model_is_known_without_its_weights() -> None:
    """An ingress, which has none, must name the same model as the workers, which do."""
    known, loaded = known_model("casia-webface"), calibrated_model(files())
    assert (known.stamp, known.calibration) == (loaded.stamp, loaded.calibration)


def test_a_model_without_its_calibration_is_not_used(calibrations: Path) -> None:
    with pytest.raises(WeightsError, match=r"no calibration.*faceid calibrate"):
        calibrated_model(files("vggface2"))
    with pytest.raises(WeightsError, match="other weights"):
        calibrated_model(files(tensors_sha256="ab" * 32))
    made = Calibration.model_validate_json(calibrations.read_bytes())
    calibrations.write_text(made.model_copy(update={"pipeline": "another crop"}).model_dump_json())
    with pytest.raises(WeightsError, match="another crop"):
        calibrated_model(files())
    calibrations.write_text("{}")
    with pytest.raises(WeightsError, match="cannot be read"):
        calibrated_model(files())


def test_among_a_million_people_some_score_is_enough() -> None:
    calibration = known_model("casia-webface").calibration
    point = MatchPolicy().operating_point(calibration, 1_000_000)
    assert point.score is not None
    assert point.score < 0.9
    (mate,) = decide(calibration, [point.score + 0.01], 1_000_000, point)
    assert mate.accepted
