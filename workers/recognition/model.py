"""What a process knows of its model without loading it: its stamp, and what its scores mean."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from schemas.calibration import Calibration
from schemas.recognition import ModelStamp
from workers.recognition.parameters import PIPELINE, PROJECTION_RECIPE
from workers.recognition.weights import ModelFiles, ModelName, WeightsError

_CALIBRATIONS = Path(__file__).parent / "calibration"


@dataclass(frozen=True)
class KnownModel:
    """What the program itself knows of a model: which weights it is made of, and what its scores mean."""

    calibration: Calibration
    stamp: ModelStamp


@dataclass(frozen=True)
class CalibratedModel:
    """A model that may be used: weights, and a calibration that was made with them."""

    files: ModelFiles
    calibration: Calibration
    stamp: ModelStamp


def known_model(name: ModelName) -> KnownModel:
    """A model by its calibration, which names the weights it was made with: for a process that never loads
    them. `WeightsError` when there is no calibration, or it was made with another crop.

    The stamp's version changes with everything that changes a score or its meaning: weights, pipeline,
    projection and calibration."""
    command = _command(name)
    try:
        data = calibration_path(name).read_bytes()
        calibration = Calibration.model_validate_json(data)
    except FileNotFoundError as error:
        raise WeightsError(f"{name} has no calibration. {command}") from error
    except (OSError, ValidationError) as error:
        raise WeightsError(f"The calibration of {name} cannot be read. {command}") from error
    if calibration.pipeline != PIPELINE:
        raise WeightsError(f"The calibration of {name} was made with another crop. {command}")
    version = _version(calibration.tensors_sha256, data)
    return KnownModel(calibration, ModelStamp(id=name, version=version))


def calibrated_model(files: ModelFiles) -> CalibratedModel:
    """The model of prepared weights; `WeightsError` when it has no calibration, or that of other weights or
    crops."""
    known = known_model(files.stamp.id)
    if known.calibration.tensors_sha256 != files.stamp.tensors_sha256:
        raise WeightsError(
            f"The calibration of {files.stamp.id} was made with other weights. {_command(files.stamp.id)}"
        )
    return CalibratedModel(files, known.calibration, known.stamp)


def calibration_path(model: ModelName) -> Path:
    """Where a model's calibration lies: in the program, since it is a part of it."""
    return _CALIBRATIONS / f"{model}.json"


def _version(tensors_sha256: str, calibration: bytes) -> str:
    # The projection follows from the tensors by its recipe, of which weights with another are refused.
    parts = (tensors_sha256, PROJECTION_RECIPE, PIPELINE, hashlib.sha256(calibration).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _command(name: ModelName) -> str:
    return f"Run `faceid calibrate --lfw DIR` with FACEID_MODEL={name}."
