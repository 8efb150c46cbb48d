"""From scores to a calibration, on scores whose truth is known."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.calibration import Calibration
from schemas.scoring import MatchPolicy, decide
from scripts.bench.accuracy import best_threshold, scores_of
from scripts.bench.figures import wilson_interval
from scripts.calibrate import (
    Scores,
    false_match_table,
    false_non_match_table,
    likelihood_ratio_table,
    pair_scores,
)
from scripts.lfw import Pair, Photo, pairs_of, photos_of
from tests.calibration import made_up_calibration

CENTRES = np.linspace(-0.995, 0.995, 200)


def normal_bins(mean: float, deviation: float, total: float) -> NDArray[np.float64]:
    edges = np.linspace(-1, 1, 201)
    below = np.array([0.5 * (1 + math.erf((edge - mean) / deviation / math.sqrt(2))) for edge in edges])
    return total * (below[1:] - below[:-1])


SCORES = Scores(np.round(normal_bins(0.05, 0.12, 5e7)), normal_bins(0.65, 0.12, 1_000), 3_000)
"""Two normal distributions of the same width: the logarithm of their likelihood ratio is a straight line."""


@pytest.fixture
def made() -> Calibration:
    minus_ln_fmr, tail_slope = false_match_table(SCORES.impostor)
    return made_up_calibration(
        minus_ln_fmr,
        likelihood_ratio_table(SCORES, minus_ln_fmr, tail_slope),
        tail_slope,
        false_non_match_table(SCORES.genuine),
    )


@pytest.mark.parametrize("score", [-0.2, 0.0, 0.3, 0.5, 0.6])
def test_the_false_match_rate_is_the_one_that_was_put_in(made: Calibration, score: float) -> None:
    truth = 0.5 * math.erfc((score - 0.05) / 0.12 / math.sqrt(2))
    assert made.fmr(score).value == pytest.approx(truth, rel=0.03)
    assert not made.fmr(score).extrapolated


def test_beyond_the_data_the_rate_is_not_understated(made: Calibration) -> None:
    end = made.minus_ln_fmr.end
    assert 100 / 5e7 <= made.fmr(end).value < 300 / 5e7
    for score in np.arange(end + 0.01, 1, 0.01):
        rate = made.fmr(float(score))
        truth = 0.5 * math.erfc((score - 0.05) / 0.12 / math.sqrt(2))
        assert rate.extrapolated
        assert rate.value >= truth * (1 - 1e-3)


def test_a_few_wrong_labels_decide_nothing() -> None:
    wrong = SCORES.impostor.copy()
    wrong[185:200] += 1  # photos of one person under two names
    table, slope = false_match_table(wrong)
    clean_table, clean_slope = false_match_table(SCORES.impostor)
    assert slope == pytest.approx(clean_slope, rel=0.1)
    assert table.end == pytest.approx(clean_table.end, abs=0.011)


@pytest.mark.parametrize("users", [1, 1_000, 100_000, 1_000_000, 10_000_000])
def test_however_many_are_enrolled_some_score_is_enough(made: Calibration, users: int) -> None:
    """These two distributions tell people apart well enough for that."""
    point = MatchPolicy().operating_point(made, users)
    assert point.score is not None
    assert point.score < 0.99
    (mate,) = decide(made, [0.99], users, point)
    assert mate.accepted
    assert mate.fpir.value <= 0.003


@pytest.mark.parametrize("score", [0.2, 0.3, 0.35, 0.4, 0.5, 0.6])
def test_the_likelihood_ratio_is_the_one_that_was_put_in(made: Calibration, score: float) -> None:
    truth = ((score - 0.05) ** 2 - (score - 0.65) ** 2) / (2 * 0.12**2)
    assert math.log(made.likelihood_ratio(score)) == pytest.approx(truth, abs=0.9)


@pytest.mark.parametrize("score", [0.3, 0.4, 0.5, 0.65, 0.8, 0.9])
def test_the_miss_rate_is_the_one_that_was_put_in(made: Calibration, score: float) -> None:
    truth = 0.5 * math.erfc((0.65 - score) / 0.12 / math.sqrt(2))
    assert made.fnmr(score).value == pytest.approx(truth, rel=0.03, abs=1e-3)
    assert not made.fnmr(score).extrapolated


def test_a_miss_rate_below_one_person_in_all_is_a_bound(made: Calibration) -> None:
    rate = made.fnmr(0.1)
    assert rate.extrapolated
    assert rate.value == pytest.approx(1 / 1_000, rel=0.5)
    assert made.fnmr(1).value == 1


def test_each_person_counts_the_same_in_the_miss_rate() -> None:
    # One person's twenty photos are all alike, another's two are at a cosine of 0.6.
    templates = np.array([[1, 0]] * 20 + [[0, 1], [0.8, 0.6]], np.float32)
    people = np.array([0] * 20 + [1] * 2)
    table = false_non_match_table(pair_scores(templates, people).genuine)
    assert table.at(0.7) == pytest.approx(0.5)


def test_even_odds_lie_in_the_middle(made: Calibration) -> None:
    assert made.score_at_confidence(50, 1) == pytest.approx(0.35, abs=0.01)


def test_a_person_with_many_photos_weighs_as_one() -> None:
    generator = np.random.default_rng(0)
    templates = generator.normal(size=(700, 8)).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    people = np.array([0] * 600 + [1] * 2 + [2] * 3 + list(range(3, 98)))
    scores = pair_scores(templates, people)
    assert scores.people == pytest.approx(3)
    assert scores.genuine_pairs == 600 * 599 // 2 + 1 + 3
    assert scores.impostor.sum() == 700 * 699 // 2 - scores.genuine_pairs
    cosines = templates @ templates.T
    upper = np.triu_indices(700, 1)
    different = cosines[upper][people[upper[0]] != people[upper[1]]]
    assert scores.impostor @ CENTRES / scores.impostor.sum() == pytest.approx(different.mean(), abs=1e-3)


def test_tables_are_the_same_each_time(made: Calibration) -> None:
    table, slope = false_match_table(SCORES.impostor)
    assert (table, slope) == (made.minus_ln_fmr, made.tail_slope)


def test_lists_are_read_as_lfw_writes_them(tmp_path: Path) -> None:
    (tmp_path / "peopleDevTrain.csv").write_text("name,images\nAda,2\nBo,1\n\n")
    (tmp_path / "matchpairsDevTest.csv").write_text("name,imagenum1,imagenum2\nAda,1,2\n")
    (tmp_path / "mismatchpairsDevTest.csv").write_text("name,imagenum1,name,imagenum2\nAda,2,Bo,1\n")
    assert photos_of(tmp_path, "Train") == [Photo("Ada", 1), Photo("Ada", 2), Photo("Bo", 1)]
    assert pairs_of(tmp_path, "Test") == [
        Pair(Photo("Ada", 1), Photo("Ada", 2), same=True),
        Pair(Photo("Ada", 2), Photo("Bo", 1), same=False),
    ]
    assert Photo("Ada", 2).path(tmp_path) == tmp_path / "images" / "Ada" / "Ada_0002.jpg"


def test_a_pair_without_a_template_has_no_score() -> None:
    one, other, missing = Photo("Ada", 1), Photo("Ada", 2), Photo("Bo", 1)
    templates = {one: np.array([1, 0], np.float32), other: np.array([0.6, 0.8], np.float32)}
    pairs = [Pair(one, other, same=True), Pair(one, missing, same=False)]
    scores = scores_of(pairs, templates)
    assert scores[0] == pytest.approx(0.6)
    assert math.isnan(scores[1])


def test_the_best_threshold_tells_most_pairs_rightly() -> None:
    photo = Photo("Ada", 1)
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.8, math.nan])
    pairs = [Pair(photo, photo, same=same) for same in (False, False, True, False, True, True)]
    threshold = best_threshold(pairs, scores)
    right = [(score >= threshold) == pair.same for pair, score in zip(pairs, scores, strict=True)]
    assert sum(right[:5]) == 4


def test_intervals_hold_the_share_and_stay_inside() -> None:
    low, high = wilson_interval(985, 1000)
    assert low == pytest.approx(0.9754, abs=5e-4)
    assert high == pytest.approx(0.9909, abs=5e-4)
    assert wilson_interval(10, 10)[1] == pytest.approx(1)
    assert wilson_interval(0, 10)[0] == pytest.approx(0)
