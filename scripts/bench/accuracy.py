"""`faceid bench accuracy`: the View-1 test pairs of LFW through the service's own pipeline.

The threshold is the one that is best on the training pairs. A photo in which no face is found, or none good
enough, makes its pair an error, whichever way it should have gone."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from infra.settings import Settings
from schemas.calibration import Calibration
from schemas.recognition import PhotoLimits
from scripts.bench.figures import wilson_interval
from scripts.lfw import Pair, Photo, pairs_of, templates_of
from workers.recognition.model import calibrated_model
from workers.recognition.opener import open_photo
from workers.recognition.pipeline import FacePipeline
from workers.recognition.weights import find_weights

_FMR: Final = 1e-3
"""Where the true accept rate is told: the score is the calibration's, since 500 pairs cannot tell so small a
rate."""


@dataclass(frozen=True)
class Accuracy:
    """What the test pairs came to."""

    model: str
    version: str
    pairs: int
    threshold: float
    """Score; chosen on the training pairs."""
    accuracy: float
    accuracy_low: float
    """End of the 95 % interval."""
    accuracy_high: float
    false_matches: int
    false_non_matches: int
    photos: int
    refused: int
    """Photos without a usable face; their pairs count as errors."""
    fmr: float
    score_at_fmr: float
    tar_at_fmr: float
    """Share of the pairs of one person at or above `score_at_fmr`."""


def measure(lfw_dir: Path, pipeline: FacePipeline, calibration: Calibration, version: str) -> Accuracy:
    """Embed the photos of both lists of pairs once, and count. Some 5 minutes on two processor cores."""
    training, test = pairs_of(lfw_dir, "Train"), pairs_of(lfw_dir, "Test")
    photos = {photo for pair in (*training, *test) for photo in (pair.first, pair.second)}
    templates = templates_of(photos, lfw_dir, pipeline)
    threshold = best_threshold(training, scores_of(training, templates))
    scores = scores_of(test, templates)
    same = np.array([pair.same for pair in test])
    matched = scores >= threshold
    errors = (matched != same) | np.isnan(scores)
    low, high = wilson_interval(len(test) - int(errors.sum()), len(test))
    tested = {photo for pair in test for photo in (pair.first, pair.second)}
    at_fmr = calibration.score_at_fmr(_FMR)
    return Accuracy(
        model=calibration.model,
        version=version,
        pairs=len(test),
        threshold=round(threshold, 4),
        accuracy=round(1 - float(errors.mean()), 4),
        accuracy_low=round(low, 4),
        accuracy_high=round(high, 4),
        false_matches=int((matched & ~same).sum()),
        false_non_matches=int((~matched & same).sum()),
        photos=len(tested),
        refused=len(tested - templates.keys()),
        fmr=_FMR,
        score_at_fmr=round(at_fmr, 4),
        tar_at_fmr=round(float((scores[same] >= at_fmr).mean()), 4),
    )


def scores_of(pairs: Sequence[Pair], templates: Mapping[Photo, NDArray[np.float32]]) -> NDArray[np.float64]:
    """The cosine of each pair, not a number where a photo has no template."""
    return np.array(
        [
            float(templates[pair.first] @ templates[pair.second])
            if pair.first in templates and pair.second in templates
            else math.nan
            for pair in pairs
        ]
    )


def best_threshold(pairs: Sequence[Pair], scores: NDArray[np.float64]) -> float:
    """The score that tells most of the pairs rightly; the middle one of those that tell equally many."""
    same = np.array([pair.same for pair in pairs])
    known = ~np.isnan(scores)
    candidates = np.unique(scores[known])
    right = [((scores[known] >= candidate) == same[known]).sum() for candidate in candidates]
    best = np.flatnonzero(right == np.max(right))
    return float(candidates[best[len(best) // 2]])


def accuracy_command(lfw: Path, settings: Settings, *, as_json: bool) -> None:
    """Measure and print, as JSON or as a table."""
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    pipeline = FacePipeline.load(
        model.files,
        device=settings.device,
        threads=settings.compute_threads,
        open_photo=partial(open_photo, limits=PhotoLimits()),
    )
    found = measure(lfw, pipeline, model.calibration, model.stamp.version)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
    else:
        Console().print(_table(found))


def _table(found: Accuracy) -> Table:
    table = Table(title=f"LFW View-1 test pairs, {found.model} {found.version}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    interval = f"{found.accuracy_low:.4f} to {found.accuracy_high:.4f}"
    rows = (
        ("accuracy, refused photos as errors", f"{found.accuracy:.4f}"),
        ("95 % interval", interval),
        ("threshold (best on the training pairs)", f"{found.threshold:.3f}"),
        ("false matches / false non-matches", f"{found.false_matches} / {found.false_non_matches}"),
        ("pairs / photos / photos refused", f"{found.pairs} / {found.photos} / {found.refused}"),
        (f"score at FMR {found.fmr:g} (calibration)", f"{found.score_at_fmr:.3f}"),
        (f"true accept rate at FMR {found.fmr:g}", f"{found.tar_at_fmr:.3f}"),
    )
    for row in rows:
        table.add_row(*row)
    return table
