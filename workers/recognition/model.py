"""What a process knows of its model without loading it: its stamp, and what its scores mean."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from schemas.calibration import Calibration
from schemas.recognition import ModelStamp
from workers.recognition.parameters import PIPELINE
from workers.recognition.weights import ModelFiles, ModelName, WeightsError, WeightsStamp

_CALIBRATIONS = Path(__file__).parent / "calibration"


@dataclass(frozen=True)
class CalibratedModel:
    """A model that may be used: weights, and a calibration that was made with them."""

    files: ModelFiles
    calibration: Calibration
    stamp: ModelStamp


def calibrated_model(files: ModelFiles) -> CalibratedModel:
    """The model of prepared weights; `WeightsError` when it has no calibration, or that of other weights or
    crops.

    The stamp's version changes with everything that changes a score or its meaning: weights, pipeline,
    projection and calibration."""
    path = calibration_path(files.stamp.id)
    command = f"Run `faceid calibrate --lfw DIR` with FACEID_MODEL={files.stamp.id}."
    try:
        data = path.read_bytes()
        calibration = Calibration.model_validate_json(data)
    except FileNotFoundError as error:
        raise WeightsError(f"{files.stamp.id} has no calibration. {command}") from error
    except (OSError, ValidationError) as error:
        raise WeightsError(f"The calibration of {files.stamp.id} cannot be read. {command}") from error
    if calibration.tensors_sha256 != files.stamp.tensors_sha256 or calibration.pipeline != PIPELINE:
        raise WeightsError(
            f"The calibration of {files.stamp.id} was made with other weights or another crop. {command}"
        )
    return CalibratedModel(
        files, calibration, ModelStamp(id=files.stamp.id, version=_version(files.stamp, data))
    )


def calibration_path(model: ModelName) -> Path:
    """Where a model's calibration lies: in the program, since it is a part of it."""
    return _CALIBRATIONS / f"{model}.json"


def _version(weights: WeightsStamp, calibration: bytes) -> str:
    parts = (
        weights.tensors_sha256,
        weights.projection.recipe,
        PIPELINE,
        hashlib.sha256(calibration).hexdigest(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
