"""The pipeline in its child process."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from infra.child import ChildStartFailed
from schemas.recognition import PhotoLimits
from scripts.photos import Photos
from workers.recognition.analysis import Analysis, PhotoRequest, Refusal
from workers.recognition.compute import Compute, _calls, compute_child
from workers.recognition.model import calibrated_model
from workers.recognition.weights import ModelFiles

TIMEOUT_S = 60


@pytest.fixture
async def running(model_files: ModelFiles) -> AsyncIterator[Compute]:
    child = compute_child(model_files, device="cpu", threads=1, limits=PhotoLimits())
    await child.start()
    yield Compute(child)
    await child.close()


def test_calls_hold_what_fits_into_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.recognition.compute._CALL_BYTES", 10)
    sizes = [4, 4, 4, 20, 1, 10, 5, 5]
    calls = list(_calls([PhotoRequest(bytes(size), "probe") for size in sizes]))
    assert [[len(request.photo) for request in call] for call in calls] == [
        [4, 4],
        [4],
        [20],
        [1],
        [10],
        [5, 5],
    ]
    assert list(_calls([])) == []


@pytest.mark.system
async def test_photos_are_analysed_in_the_child(
    running: Compute, model_files: ModelFiles, photos: Photos
) -> None:
    one, other = (path.read_bytes() for path in photos.people["Barack Obama"][:2])
    requests = [
        PhotoRequest(one, "enrolment"),
        PhotoRequest(b"nothing", "probe"),
        PhotoRequest(other, "probe"),
    ]
    first, second, third = await running.analyse(requests, timeout_s=TIMEOUT_S)
    assert isinstance(first, Analysis)
    assert second == Refusal("unsupported_media_type", "The photo is neither a JPEG nor a PNG.")
    assert isinstance(third, Analysis)
    assert np.linalg.norm(first.faces[0].template) == pytest.approx(1, abs=1e-5)
    assert float(first.faces[0].template @ third.faces[0].template) > 0.6
    assert await running.analyse([], timeout_s=TIMEOUT_S) == []
    assert await running.self_test(timeout_s=TIMEOUT_S) == calibrated_model(model_files).stamp


@pytest.mark.system
async def test_damaged_weights_are_told_at_the_start(model_files: ModelFiles, tmp_path: Path) -> None:
    folder = tmp_path / model_files.folder.name
    folder.mkdir()
    (folder / "model.json").write_bytes((model_files.folder / "model.json").read_bytes())
    (folder / "model.safetensors").write_bytes(b"damaged")
    damaged = ModelFiles(folder, model_files.stamp)
    child = compute_child(damaged, device="cpu", threads=1, limits=PhotoLimits())
    with pytest.raises(ChildStartFailed, match=r"damaged or cut off.*faceid setup"):
        await child.start()
    await child.close()
