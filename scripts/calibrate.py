"""`faceid calibrate`: measures what scores mean, from the View-1 training list of LFW.

Impostors are all pairs of photos of different people in `peopleDevTrain.csv`, genuine pairs all pairs of one
person. Only aggregate numbers are kept, each over the score: the false match rate, the likelihood ratio and
the false non-match rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
from schemas.score_tables import ScoreTable
from schemas.scoring import MatchPolicy
from scripts.lfw import photos_of, templates_of
from workers.recognition.model import calibration_path
from workers.recognition.opener import open_photo
from workers.recognition.parameters import PIPELINE
from workers.recognition.pipeline import FacePipeline
from workers.recognition.weights import find_weights

Floats = NDArray[np.float64]

_STEP: Final = 0.01
"""From knot to knot of the tables, and the width of the histograms' bins."""
_EDGES: Final[Floats] = np.round(np.arange(-1, 1 + _STEP / 2, _STEP), 2)
_LEAST_PAIRS: Final = 100
"""The table of FMR ends where fewer pairs than this score higher; beyond, a few wrong labels decide."""
_TAIL: Final = 10.0
"""The tail goes on as steeply as FMR fell over this factor at the end of the table: over its last decade."""
_GENUINE_BANDWIDTH: Final = 0.025
"""Of the kernel that smooths the genuine scores. The impostors are so many that they need none."""
_DECIMALS: Final = 4
_ROWS: Final = 512


@dataclass(frozen=True)
class Scores:
    """Histograms over -1 to 1 of what pairs score; the genuine ones with each person's pairs weighing 1 in
    all."""

    impostor: Floats
    genuine: Floats
    genuine_pairs: int

    @property
    def people(self) -> float:
        """How many people have genuine pairs."""
        return float(self.genuine.sum())


def calibrate(lfw_dir: Path, pipeline: FacePipeline, *, model: str, tensors_sha256: str) -> Calibration:
    """Embed every photo of the list once and measure. Some 10 minutes on two processor cores."""
    photos = photos_of(lfw_dir, "Train")
    templates = templates_of(photos, lfw_dir, pipeline)
    used = sorted(templates)
    names, people = np.unique([photo.name for photo in used], return_inverse=True)
    scores = pair_scores(np.stack([templates[photo] for photo in used]), people)
    minus_ln_fmr, tail_slope = false_match_table(scores.impostor)
    return Calibration(
        model=model,
        tensors_sha256=tensors_sha256,
        pipeline=PIPELINE,
        source="LFW deep-funneled, View 1, peopleDevTrain",
        people=len(names),
        photos=len(used),
        refused=len(photos) - len(used),
        impostor_pairs=int(scores.impostor.sum()),
        genuine_pairs=scores.genuine_pairs,
        minus_ln_fmr=minus_ln_fmr,
        tail_slope=tail_slope,
        ln_lr=likelihood_ratio_table(scores, minus_ln_fmr, tail_slope),
        fnmr_table=false_non_match_table(scores.genuine),
    )


def pair_scores(templates: NDArray[np.float32], people: NDArray[np.intp]) -> Scores:
    """Histograms of all pairs of templates [n, d], L2-normalised; `people` says whose each is.

    A person's pairs share the weight 1: one person of LFW has two thirds of all genuine pairs."""
    photos = np.bincount(people)
    weights = 2 / np.maximum(photos * (photos - 1), 1)
    bins = len(_EDGES) - 1
    impostor, genuine, genuine_pairs = np.zeros(bins), np.zeros(bins), 0
    for start in range(0, len(templates), _ROWS):
        rows = slice(start, start + _ROWS)
        cosines = templates[rows] @ templates.T
        places = np.clip(((cosines + 1) / _STEP).astype(np.intp), 0, bins - 1)
        whose = people[rows]
        later = np.arange(len(templates)) > np.arange(start, start + len(whose))[:, None]
        same = (whose[:, None] == people) & later
        impostor += np.bincount(places[later & ~same], minlength=bins)
        weight = np.broadcast_to(weights[whose][:, None], same.shape)[same]
        genuine += np.bincount(places[same], weights=weight, minlength=bins)
        genuine_pairs += int(same.sum())
    return Scores(impostor, genuine, genuine_pairs)


def false_match_table(impostor: Floats) -> tuple[ScoreTable, float]:
    """-ln FMR over the score, and how fast FMR falls beyond the table's end.

    That is an exponential tail with the slope of the table's last decade, as peaks over a threshold are
    modelled (a generalized Pareto distribution of shape 0). Scores of impostors fall off ever faster the
    higher they are, so it overstates FMR as long as nothing new sets in beyond what was measured. The few
    pairs beyond are not asked: of LFW's, many are one person under two spellings of a name, or twins."""
    survivors = np.append(impostor[::-1].cumsum()[::-1], 0)
    first = int(np.flatnonzero(survivors == survivors[0])[-1])
    end = int(np.flatnonzero(survivors >= _LEAST_PAIRS)[-1])
    begin = min(int(np.flatnonzero(survivors >= _TAIL * survivors[end])[-1]), end - 1)
    slope = math.log(survivors[begin] / survivors[end]) / (_EDGES[end] - _EDGES[begin])
    values = np.log(survivors[0] / survivors[first : end + 1])
    return _table(_EDGES[first], values), round(slope, _DECIMALS)


def false_non_match_table(genuine: Floats) -> ScoreTable:
    """The share of genuine pairs below the score, from where they come to one person's.

    Lower still, where the value stays what it is there, wrong labels decide."""
    below = np.insert(genuine.cumsum(), 0, 0)
    first = int(np.flatnonzero(below >= 1)[0])
    end = int(np.flatnonzero(genuine)[-1]) + 1
    return _table(_EDGES[first], below[first : end + 1] / below[end])


def likelihood_ratio_table(scores: Scores, minus_ln_fmr: ScoreTable, tail_slope: float) -> ScoreTable:
    """ln LR over the score: the ratio of the two densities, made never to fall.

    Genuine scores are smoothed and mixed with one person whose scores are spread evenly, so that no ratio is
    zero; beyond the table of FMR the impostors' density is that of its bound. Neighbouring bins whose ratios
    fall are pooled (pool adjacent violators), which is the monotone fit of the greatest likelihood."""
    centres = _EDGES[:-1] + _STEP / 2
    kernel = np.exp(-(((centres[:, None] - centres) / _GENUINE_BANDWIDTH) ** 2) / 2)
    smooth = (kernel / kernel.sum(axis=0)) @ scores.genuine
    genuine = (smooth + 1 / len(smooth)) / (scores.people + 1)
    beyond = np.exp(-minus_ln_fmr.values[-1] - tail_slope * (_EDGES - minus_ln_fmr.end))
    impostor = np.where(
        centres > minus_ln_fmr.end, beyond[:-1] - beyond[1:], scores.impostor / scores.impostor.sum()
    )
    met = centres > minus_ln_fmr.start
    return _table(centres[met][0], np.log(_never_falling(genuine[met], impostor[met])))


def _never_falling(numerators: Floats, denominators: Floats) -> Floats:
    """Ratios of the two, pooled where they would fall."""
    pools: list[tuple[float, float, int]] = []
    for above, below in zip(numerators.tolist(), denominators.tolist(), strict=True):
        pool = (above, below, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (pool[0] + last[0], pool[1] + last[1], pool[2] + last[2])
        pools.append(pool)
    return np.concatenate([np.full(bins, above / below) for above, below, bins in pools])


def _table(start: float, values: Floats | Sequence[float]) -> ScoreTable:
    rounded = tuple(round(float(value), _DECIMALS) for value in values)
    return ScoreTable(start=round(float(start), _DECIMALS), step=_STEP, values=rounded)


def calibrate_command(lfw: Path, settings: Settings) -> None:
    """Measure, print what the policies' defaults come to, and store the calibration in the program's
    folder."""
    files = find_weights(settings.model, settings.cache_dir)
    pipeline = FacePipeline.load(
        files,
        device=settings.device,
        threads=settings.compute_threads,
        open_photo=partial(open_photo, limits=PhotoLimits()),
    )
    made = calibrate(lfw, pipeline, model=files.stamp.id, tensors_sha256=files.stamp.tensors_sha256)
    path = calibration_path(files.stamp.id)
    path.parent.mkdir(exist_ok=True)
    path.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    console = Console()
    console.print(
        f"{made.people} people, {made.photos} photos ({made.refused} refused), "
        f"{made.impostor_pairs} impostor pairs, {made.genuine_pairs} genuine pairs"
    )
    console.print(_operating_points(made))
    console.print(
        f"Stored as {path.name}. The model has a new version: galleries of the old one must be embedded anew."
    )


def _operating_points(made: Calibration) -> Table:
    table = Table(title="Default match policy", title_justify="left")
    for heading in ("users", "score", "decided by", "confidence", "FMR", "FPIR", "extrapolated", "FNMR"):
        table.add_column(heading, justify="right")
    for users in (1, 10, 100, 1_000, 10_000, 100_000):
        point = MatchPolicy().operating_point(made, users)
        if point.score is None:
            table.add_row(f"{users}", "none is enough", *[""] * 6)
            continue
        fmr, fpir = made.fmr(point.score), made.fpir(point.score, users)
        table.add_row(
            f"{users}",
            f"{point.score:.3f}",
            point.source,
            f"{point.percent:.1f} %",
            f"{fmr.value:.1e}",
            f"{fpir.value:.1e}",
            "yes" if fmr.extrapolated else "no",
            f"{made.fnmr(point.score).value:.3f}",
        )
    return table
