"""The pipeline in its child process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from infra.child import ChildStartFailed
from schemas.recognition import PhotoLimits
from scripts.photos import Photos
from tests.workers.recognition.test_opener_process import many_scans
from workers.recognition.analysis import Analysis, PhotoRequest, Refusal
from workers.recognition.compute import Compute, _next_call, compute_child
from workers.recognition.model import calibrated_model
from workers.recognition.opener_process import OpenerBudget
from workers.recognition.weights import ModelFiles

TIMEOUT_S = 60
BUDGET = OpenerBudget(timeout_s=30, cpu_s=20, memory_bytes=2 * 2**30)


@pytest.fixture
async def running(model_files: ModelFiles) -> AsyncIterator[Compute]:
    child = compute_child(model_files, device="cpu", threads=1, limits=PhotoLimits(), opener=BUDGET)
    await child.start()
    yield Compute(child, open_timeout_s=BUDGET.timeout_s)
    await child.close()


def test_calls_hold_what_fits_into_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.recognition.compute._CALL_BYTES", 10)
    sizes = [4, 4, 4, 20, 1, 10, 5, 5]
    left = [PhotoRequest(bytes(size), "probe") for size in sizes]
    calls: list[list[int]] = []
    while photos := _next_call(left):
        calls.append([len(request.photo) for request in photos])
        left = left[len(photos) :]
    assert calls == [[4, 4], [4], [20], [1], [10], [5, 5]]


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
    child = compute_child(damaged, device="cpu", threads=1, limits=PhotoLimits(), opener=BUDGET)
    with pytest.raises(ChildStartFailed, match=r"damaged or cut off.*faceid setup"):
        await child.start()
    await child.close()


@pytest.mark.system
async def test_photos_that_bring_the_opener_down_leave_the_model_and_the_others_alone(
    model_files: ModelFiles, photos: Photos
) -> None:
    good = photos.people["Barack Obama"][0].read_bytes()
    budget = BUDGET.model_copy(update={"cpu_s": 2})
    child = compute_child(model_files, device="cpu", threads=1, limits=PhotoLimits(), opener=budget)
    await child.start()
    try:
        compute = Compute(child, open_timeout_s=budget.timeout_s)
        compute_pid = child.pid
        (opener,) = psutil.Process(compute_pid).children()
        batch = [PhotoRequest(photo, "probe") for photo in (good, many_scans(7_000, 10_000), good)]
        one, hostile, other = await compute.analyse(batch, timeout_s=TIMEOUT_S)
        assert isinstance(one, Analysis)
        assert isinstance(hostile, Refusal)
        assert hostile.code == "image_too_costly"
        assert isinstance(other, Analysis)
        (next_opener,) = psutil.Process(compute_pid).children()
        assert (child.pid, child.restarts) == (compute_pid, 0)
        assert next_opener.pid != opener.pid
        # Killed, the compute process takes its opener with it.
        psutil.Process(compute_pid).kill()
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [next_opener], timeout=TIMEOUT_S)
        assert gone
    finally:
        await child.close()


@pytest.mark.system
async def test_photos_that_are_slow_to_open_are_answered_in_several_calls(
    model_files: ModelFiles, photos: Photos
) -> None:
    child = compute_child(model_files, device="cpu", threads=1, limits=PhotoLimits(), opener=BUDGET)
    await child.start()
    try:
        requests = [PhotoRequest(path.read_bytes(), "probe") for path in photos.people["Barack Obama"]]
        answers = await Compute(child, open_timeout_s=0).analyse(requests, timeout_s=TIMEOUT_S)
        assert len(answers) == len(requests) > 1
        assert all(isinstance(answer, Analysis) for answer in answers)
    finally:
        await child.close()
