"""Scores, rates, confidence, thresholds and decisions."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.calibration import Calibration
from schemas.problems import ProblemError
from schemas.score_tables import Rate, ScoreTable
from schemas.scoring import DuplicatePolicy, MatchPolicy, SameUserPolicy, decide, parse_threshold
from tests.calibration import made_up_calibration


def calibration(minus_ln_fmr: list[float], ln_lr: list[float], tail_slope: float = 30.0) -> Calibration:
    return made_up_calibration(
        ScoreTable(start=-0.2, step=0.9 / (len(minus_ln_fmr) - 1), values=tuple(minus_ln_fmr)),
        ScoreTable(start=0.0, step=0.9 / (len(ln_lr) - 1), values=tuple(ln_lr)),
        tail_slope,
        ScoreTable(start=0.1, step=0.2, values=(0.01, 0.05, 0.3, 1.0)),
    )


PLAIN = calibration([0.0, 0.1, 1.0, 3.0, 7.0, 13.0], [-6.0, -3.0, 1.0, 6.0, 12.0])
"""Like a real one, with round numbers: FMR 1 at -0.2 and e^-13 at 0.7; LR e^-6 at 0 and e^12 at 0.9."""


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    steps = st.lists(st.floats(0, 5), min_size=2, max_size=12)
    fmr = [0.0]
    for step in draw(steps):
        fmr.append(fmr[-1] + step)
    lr = [draw(st.floats(-15, 0))]
    for step in draw(steps):
        lr.append(lr[-1] + step)
    return calibration(fmr, lr, draw(st.floats(0.1, 100)))


scores = st.floats(-1, 1)
users = st.integers(1, 10_000_000)
percents = st.floats(0.001, 99.999)


@given(calibrations(), scores, scores, users)
def test_a_higher_score_is_never_worse(made: Calibration, one: float, other: float, gallery: int) -> None:
    low, high = sorted((one, other))
    assert made.fmr(high).value <= made.fmr(low).value
    assert made.fpir(high, gallery).value <= made.fpir(low, gallery).value
    assert made.likelihood_ratio(high) >= made.likelihood_ratio(low)
    assert 0 <= made.fnmr(low).value <= made.fnmr(high).value <= 1
    assert made.confidence_verification(high) >= made.confidence_verification(low)
    (low_confidence,) = made.confidence_identification([low], gallery)
    (high_confidence,) = made.confidence_identification([high], gallery)
    assert high_confidence >= low_confidence


@given(calibrations(), scores, users, users)
def test_more_users_make_a_false_match_likelier(
    made: Calibration, score: float, one: int, other: int
) -> None:
    few, many = sorted((one, other))
    fmr, fpir = made.fmr(score), made.fpir(score, many)
    assert made.fpir(score, few).value <= fpir.value
    assert 0 <= fmr.value <= 1
    assert fpir.value <= min(1.0, many * fmr.value * (1 + 1e-9))
    assert made.fpir(score, 1).value == pytest.approx(fmr.value, rel=1e-9)
    assert made.fpir(score, 0).value == 0
    assert made.confidence_identification([score], few)[0] >= made.confidence_identification([score], many)[0]


def test_the_miss_rate_is_read_from_its_table() -> None:
    assert PLAIN.fnmr(0.3).value == pytest.approx(0.05)
    assert PLAIN.fnmr(0.4).value == pytest.approx(0.175)
    assert not PLAIN.fnmr(0.4).extrapolated
    assert PLAIN.fnmr(0.9) == Rate(1.0, extrapolated=False)
    assert PLAIN.fnmr(0.0) == Rate(0.01, extrapolated=True)


@pytest.mark.parametrize("values", [(0.0, 0.5), (-0.1, 1.0), (0.5, 0.4, 1.0)])
def test_a_share_of_genuine_pairs_rises_to_all_of_them(values: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        made_up_calibration((0, 20), fnmr_table=values)


@given(calibrations(), st.lists(scores, max_size=8), users)
def test_confidences_are_shares_of_one_whole(made: Calibration, found: list[float], gallery: int) -> None:
    confidences = made.confidence_identification(found, gallery)
    assert len(confidences) == len(found)
    assert all(0 <= confidence <= 100 for confidence in confidences)
    assert math.fsum(confidences) <= 100 * (1 + 1e-9)
    by_score = sorted(zip(found, confidences, strict=True))
    assert [confidence for _, confidence in by_score] == sorted(confidences)


@given(calibrations(), scores, users)
def test_confidence_is_the_posterior_of_the_definition(made: Calibration, score: float, gallery: int) -> None:
    ratio = made.likelihood_ratio(score)
    assert made.confidence_identification([score], gallery)[0] == pytest.approx(
        100 * ratio / (gallery + ratio)
    )
    assert made.confidence_verification(score) == pytest.approx(100 * ratio / (1 + ratio))


@given(calibrations(), st.floats(1e-30, 1, exclude_max=True), users)
def test_scores_at_rates_have_those_rates(made: Calibration, rate: float, gallery: int) -> None:
    assert made.fmr(made.score_at_fmr(rate)).value <= rate * (1 + 1e-9)
    assert made.fpir(made.score_at_fpir(rate, gallery), gallery).value <= rate * (1 + 1e-9)


@given(calibrations(), percents, users)
def test_the_score_at_a_confidence_has_it(made: Calibration, percent: float, gallery: int) -> None:
    score = made.score_at_confidence(percent, gallery)
    if score is None:
        assert made.confidence_identification([1.0], gallery)[0] < percent
    else:
        assert made.confidence_identification([score], gallery)[0] >= percent * (1 - 1e-9)


@given(percents, st.integers(2, 100_000))
def test_the_score_at_a_confidence_is_the_lowest(percent: float, gallery: int) -> None:
    score = PLAIN.score_at_confidence(percent, gallery)
    assume(score is not None and score > PLAIN.ln_lr.start + 1e-6)
    assert score is not None
    assert PLAIN.confidence_identification([score - 1e-6], gallery)[0] < percent


def test_numbers_by_hand() -> None:
    assert PLAIN.fmr(0.7).value == pytest.approx(math.exp(-13))
    assert not PLAIN.fmr(0.7).extrapolated
    assert PLAIN.fmr(0.8).value == pytest.approx(math.exp(-13 - 3))
    assert PLAIN.fmr(0.8).extrapolated
    assert PLAIN.fpir(0.8, 10).extrapolated
    assert PLAIN.fmr(-0.5).value == 1
    assert PLAIN.fpir(-0.5, 5).value == 1
    assert PLAIN.fpir(0.8, 1_000_000).value == pytest.approx(1e6 * math.exp(-16), rel=0.1)
    assert PLAIN.confidence_identification([0.45], 1)[0] == pytest.approx(100 / (1 + math.exp(-1)))
    assert PLAIN.confidence_identification([0.9, 0.9], 2) == pytest.approx([50, 50], abs=0.01)


def test_tiny_rates_are_not_lost_to_rounding() -> None:
    steep = calibration([0.0, 80.0], [-1.0, 1.0])
    assert steep.fpir(0.7, 1_000).value == pytest.approx(1_000 * math.exp(-80), rel=1e-6)
    assert steep.score_at_fpir(1e-20, 1_000) < 0.7


def test_a_score_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="number"):
        PLAIN.fmr(math.nan)
    with pytest.raises(ValueError, match="number"):
        PLAIN.confidence_identification([0.3, math.nan], 10)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_rates_out_of_range_are_errors(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        PLAIN.score_at_fmr(rate)
    with pytest.raises(ValueError, match="rate"):
        PLAIN.score_at_fpir(rate, 10)
    with pytest.raises(ValueError, match="confidence"):
        PLAIN.score_at_confidence(rate * 100, 10)


@pytest.mark.parametrize(
    ("fmr", "lr"),
    [
        ([0.0, 2.0, 1.0], [0.0, 1.0]),
        ([0.0, 1.0], [1.0, 0.0]),
        ([0.5, 1.0], [0.0, 1.0]),
        ([0.0, math.nan], [0.0, 1.0]),
    ],
)
def test_a_calibration_that_falls_is_refused(fmr: list[float], lr: list[float]) -> None:
    with pytest.raises(ValidationError):
        calibration(fmr, lr)


@pytest.mark.parametrize(
    ("value", "percent"),
    [
        ("85", 85),
        ("85%", 85),
        ("85 %", 85),
        (" 85 ", 85),
        ("0.85", 85),
        (".85", 85),
        ("85.5", 85.5),
        ("1%", 1),
        ("0.5%", 0.5),
        ("1.5", 1.5),
        ("100", 100),
        (100, 100),
        (85, 85),
        (85.0, 85),
        (0.85, 85),
        (0.1 + 0.2, 30),
        (99.9, 99.9),
    ],
)
def test_thresholds_are_percent(value: object, percent: float) -> None:
    assert parse_threshold(value) == pytest.approx(percent)


@pytest.mark.parametrize(
    "value",
    [
        1, 1.0, "1", "1.0", 0, "0", "0%", -5, "-5", 101, "100.1", "high", "", "%", "85%%", "1e1", "٨٥", "nan",
        "inf", math.nan, math.inf, True, None, [85], "0.85.1", "8_5", "85\n86",
    ],
)  # fmt: skip
def test_what_is_no_threshold_is_refused(value: object) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_threshold(value)
    assert raised.value.code == "invalid_threshold"


def test_the_stricter_of_confidence_and_fpir_decides() -> None:
    confident = MatchPolicy(threshold_percent=99.9, max_fpir=0.9).operating_point(PLAIN, 100)
    assert (confident.source, confident.percent) == ("company", 99.9)
    bounded = MatchPolicy(threshold_percent=2, max_fpir=0.001).operating_point(PLAIN, 100)
    assert bounded.source == "max_fpir"
    assert bounded.score is not None
    assert PLAIN.fpir(bounded.score, 100).value == pytest.approx(0.001)
    assert bounded.percent == 2


def test_who_keeps_the_bound_on_fpir_matches_although_others_are_a_little_alike() -> None:
    """High up the likelihood ratio hardly rises: the confidence at the bound is all that there is to have."""
    flat = calibration([0.0, 0.1, 1.0, 3.0, 7.0, 13.0], [-6.0, 1.0, 9.0, 13.1, 13.1251], 15)
    users = 10_000
    point = MatchPolicy().operating_point(flat, users)
    assert (point.source, point.percent) == ("max_fpir", 85)
    assert flat.score_at_fpir(0.003, users) < 0.99
    mate, *others = decide(flat, [0.99, 0.44, 0.4, 0.3], users, point)
    assert mate.accepted
    assert not any(other.accepted for other in others)


def test_a_request_may_only_tighten_unless_it_may_loosen() -> None:
    policy = MatchPolicy(threshold_percent=85, max_fpir=0.5)
    assert policy.operating_point(PLAIN, 100, 95).source == "request"
    assert policy.operating_point(PLAIN, 100, 95).percent == 95
    assert policy.operating_point(PLAIN, 100, 50) == policy.operating_point(PLAIN, 100)
    assert policy.operating_point(PLAIN, 100, 85).source == "company"
    loose = MatchPolicy(max_fpir=1e-9).operating_point(PLAIN, 100, 50, may_loosen=True)
    assert (loose.percent, loose.source) == (50, "request")


@given(calibrations(), scores, st.integers(1, 1_000_000), st.floats(1.001, 99.999), st.floats(1e-6, 0.5))
def test_an_accepted_candidate_meets_both_bounds(
    made: Calibration, score: float, gallery: int, percent: float, max_fpir: float
) -> None:
    point = MatchPolicy(threshold_percent=percent, max_fpir=max_fpir).operating_point(made, gallery)
    (verdict,) = decide(made, [score], gallery, point)
    if verdict.accepted:
        assert verdict.confidence_percent >= percent
        assert verdict.fpir.value <= max_fpir * (1 + 1e-9)
    elif point.score is not None:
        assert score <= point.score + 1e-6


def test_what_no_score_can_reach_accepts_nobody() -> None:
    point = MatchPolicy(threshold_percent=100).operating_point(PLAIN, 10)
    assert point.score is None
    assert not decide(PLAIN, [1.0], 10, point)[0].accepted
    huge = MatchPolicy().operating_point(PLAIN, 1_000_000_000)
    assert not decide(PLAIN, [1.0], 1_000_000_000, huge)[0].accepted


def test_two_users_who_are_equally_similar_are_no_match() -> None:
    point = MatchPolicy(max_fpir=0.5).operating_point(PLAIN, 10)
    alone = decide(PLAIN, [0.89], 10, point)
    twins = decide(PLAIN, [0.89, 0.889], 10, point)
    assert alone[0].accepted
    assert not any(verdict.accepted for verdict in twins)


def test_an_empty_gallery_matches_nobody() -> None:
    assert decide(PLAIN, [], 0, MatchPolicy().operating_point(PLAIN, 0)) == ()


def test_the_other_operating_points() -> None:
    few, many = (DuplicatePolicy().score_threshold(PLAIN, gallery) for gallery in (10, 10_000))
    assert PLAIN.fpir(few, 10).value == pytest.approx(0.01)
    assert PLAIN.fpir(many, 10_000).value == pytest.approx(0.01)
    same = SameUserPolicy().score_threshold(PLAIN)
    assert PLAIN.fmr(same).value == pytest.approx(0.05)
    assert same < few < many
