"""The benchmarks as a person runs them, with few faces: that they end, print what they say, and leave nothing
behind."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.settings import PROJECT_ROOT

pytestmark = pytest.mark.system


async def started(*words: str) -> asyncio.subprocess.Process:
    path = os.pathsep.join([str(PROJECT_ROOT), str(PROJECT_ROOT / "scripts" / "client")])
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.cli", "bench", *words),
        env={**os.environ, "PYTHONPATH": path},
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def report_of(*words: str) -> dict[str, Any]:
    process = await started(*words, "--json")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_scale_measures_the_index_and_clears_its_folder(tmp_path: Path) -> None:
    report = await report_of("scale", "--faces", "2000", "--probes", "40", "--folder", str(tmp_path))
    assert report["big"]["faces"] == 1400
    assert report["big"]["recall"]["right"] == 40
    assert report["small"]["recall"]["share"] == 1
    assert report["while_adding"]["calls"] > 0
    assert report["memory_reopened"]["a_face"] > 0
    assert [one["faces"] for one in report["on_paper"]] == [10_000_000, 100_000_000]
    assert left_in(tmp_path) == []


async def test_scale_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await started("scale", "--faces", "200000", "--no-json", "--folder", str(tmp_path))
    assert process.stderr is not None
    await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode not in (0, None)
    assert left_in(tmp_path) == []


async def test_load_finds_who_is_enrolled_among_the_synthetic_and_nobody_else(tmp_path: Path) -> None:
    report = await report_of("load", "--faces", "300", "--seconds", "3", "--folder", str(tmp_path))
    assert report["gallery_size"] == 151
    for kind in ("alone", "under_load", "enrolments"):
        found = report[kind]
        assert (found["wrong"], found["missed"], found["faults"]) == (0, 0, {}), kind
    assert report["capacity_a_second"] == max(level["a_second"] for level in report["ramp"])
    assert report["offered_a_second"] == pytest.approx(0.8 * report["capacity_a_second"], abs=0.02)
    assert 0 < report["model_share"] < 1
    assert {"open", "detect", "embed", "index", "everything else"} <= set(report["steps_ms"])
    assert report["filling"]["reindexed_a_second"] > 0
    assert left_in(tmp_path) == []
