"""The weights on disk: where they lie, what is known about them, and whether they are whole.

Nothing here needs torch, so that a process may know its model without loading it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.recognition.parameters import PROJECTION_RECIPE

ModelName = Literal["casia-webface", "vggface2"]

STAMP_FILE: Final = "model.json"
TENSORS_FILE: Final = "model.safetensors"


class WeightsError(Exception):
    """The weights are missing or not what they should be; the message says what to do."""


class ProjectionStamp(BaseModel):
    """How templates are made from embeddings, and by how much that changes a cosine at worst."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    dimensions: int
    max_cosine_error: float


class WeightsStamp(BaseModel):
    """What `model.json` says about the weights beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ModelName
    version: str
    """The beginning of `tensors_sha256`."""
    tensors_sha256: str
    """Over the network's tensors, however they are stored."""
    file_sha256: str
    projection: ProjectionStamp
    source: str
    source_sha256: str
    licence: str


@dataclass(frozen=True)
class ModelFiles:
    """A folder of prepared weights."""

    folder: Path
    stamp: WeightsStamp

    @property
    def tensors_path(self) -> Path:
        return self.folder / TENSORS_FILE

    def read_tensors(self) -> bytes:
        """The safetensors file, whole and unchanged, or `WeightsError`."""
        try:
            data = self.tensors_path.read_bytes()
        except OSError as error:
            raise WeightsError(f"The weights of {self.stamp.id} cannot be read. {REMEDY}") from error
        if hashlib.sha256(data).hexdigest() != self.stamp.file_sha256:
            raise WeightsError(
                f"The weights of {self.stamp.id} are damaged or cut off (their hash is wrong). {REMEDY}"
            )
        return data


REMEDY: Final = "Run `faceid setup`, which makes them anew."


def weights_folder(cache_dir: Path, model: ModelName, tensors_sha256: str) -> Path:
    """Where the weights with that hash belong."""
    return cache_dir / "weights" / f"{model}-{weights_version(tensors_sha256)}"


def find_weights(model: ModelName, cache_dir: Path) -> ModelFiles:
    """The prepared weights of a model. Raises `WeightsError` when there are none, or more than one."""
    folders = sorted(path.parent for path in (cache_dir / "weights").glob(f"{model}-*/{STAMP_FILE}"))
    if not folders:
        raise WeightsError(f"The weights of {model} are not there. Run `faceid setup`.")
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise WeightsError(
            f"There are several weights of {model}: {names}. Delete the folders that are not wanted."
        )
    return read_stamp(folders[0])


def read_stamp(folder: Path) -> ModelFiles:
    """What is known about the weights in a folder; `WeightsError` when the stamp is not a stamp."""
    try:
        stamp = WeightsStamp.model_validate_json((folder / STAMP_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise WeightsError(f"{STAMP_FILE} in {folder.name} cannot be read. {REMEDY}") from error
    if stamp.version != weights_version(stamp.tensors_sha256):
        raise WeightsError(f"{STAMP_FILE} in {folder.name} contradicts itself. {REMEDY}")
    if stamp.projection.recipe != PROJECTION_RECIPE:
        raise WeightsError(f"The weights in {folder.name} were prepared for another release. {REMEDY}")
    return ModelFiles(folder, stamp)


def weights_version(tensors_sha256: str) -> str:
    """A short name for the weights with that hash."""
    return tensors_sha256[:12]
