"""Figures as answers give them: none says more than is so."""

import pytest

from schemas.policies import CompanyPolicies
from tests.calibration import CALIBRATION
from workers.comparing import ceiled, compared, figures


@pytest.mark.parametrize(
    ("rate", "told"),
    [(0.0, 0.0), (1.0, 1.0), (0.003, 0.003), (5.8223e-07, 5.83e-07), (0.0123000001, 0.0124), (0.99901, 1.0)],
)
def test_a_rate_is_told_in_three_digits_and_never_too_low(rate: float, told: float) -> None:
    assert ceiled(rate) == told


def test_two_indexes_that_reckon_a_cosine_a_little_differently_give_one_answer() -> None:
    """Single-precision cosines of the same two templates, as they came from two engines."""

    def told(similarity: float) -> object:
        verdict, _ = compared(CALIBRATION, CompanyPolicies(), similarity)
        return figures(similarity, verdict), ceiled(verdict.fpir.value)

    assert told(0.7834967) == told(0.7834968)
