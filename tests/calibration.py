"""A calibration that is easy to reckon with."""

from schemas.scoring import Calibration, ScoreTable

# FMR falls from 1 at 0.0 to exp(-20) at 1.0; genuine and impostor scores are equally likely at 0.25.
CALIBRATION = Calibration(
    model="test",
    tensors_sha256="",
    pipeline="",
    source="made up",
    people=2,
    photos=2,
    refused=0,
    impostor_pairs=1,
    genuine_pairs=1,
    minus_ln_fmr=ScoreTable(start=0, step=1, values=(0, 20)),
    tail_slope=20,
    ln_lr=ScoreTable(start=0, step=1, values=(-5, 15)),
    fnmr_table=ScoreTable(start=0, step=1, values=(0, 1)),
)
