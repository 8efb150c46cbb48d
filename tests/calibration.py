"""Calibrations that were never measured, for tests that need to know what scores mean."""

from collections.abc import Sequence

from schemas.calibration import Calibration
from schemas.score_tables import ScoreTable


def made_up_calibration(
    minus_ln_fmr: ScoreTable | Sequence[float],
    ln_lr: ScoreTable | Sequence[float] = (-5, 15),
    tail_slope: float = 30,
    fnmr_table: ScoreTable | Sequence[float] = (0, 1),
) -> Calibration:
    """A calibration of these tables; a sequence is one whose values are spread evenly over scores of 0 to
    1."""
    return Calibration(
        model="test",
        tensors_sha256="",
        pipeline="",
        source="made up",
        people=2,
        photos=2,
        refused=0,
        impostor_pairs=1,
        genuine_pairs=1,
        minus_ln_fmr=_table(minus_ln_fmr),
        tail_slope=tail_slope,
        ln_lr=_table(ln_lr),
        fnmr_table=_table(fnmr_table),
    )


def _table(values: ScoreTable | Sequence[float]) -> ScoreTable:
    if isinstance(values, ScoreTable):
        return values
    return ScoreTable(start=0, step=1 / (len(values) - 1), values=tuple(values))


CALIBRATION = made_up_calibration((0, 20), tail_slope=20)
"""FMR falls from 1 at 0.0 to exp(-20) at 1.0; genuine and impostor scores are equally likely at 0.25."""
