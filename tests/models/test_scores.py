"""Each score against the library's, its closed form, or a number worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models import scores

ORIGIN_LABELS = (12084, 7398, 3949)


def flattened_auc_of_a_constant(counts):
    """What Keras' AUC does by default: the one-hot matrix and the forecasts, unrolled into one long binary problem."""
    prior = np.array(counts) / sum(counts)
    labels = np.repeat(np.eye(len(counts)), counts, axis=0)
    return roc_auc_score(labels.ravel(), np.tile(prior, sum(counts)))


def test_a_constant_three_class_forecast_scores_067_on_the_origins_labels():
    assert flattened_auc_of_a_constant(ORIGIN_LABELS) == pytest.approx(0.6736, abs=5e-5)


def test_a_constant_scores_one_half_as_p_up():
    assert scores.direction_auc([0, 1, 0, 1, 1, 0], [0.3] * 6) == 0.5


def test_pooled_auc_leaves_out_rows_without_a_direction():
    assert scores.direction_auc([0, np.nan, 1, np.nan], [0.1, 0.9, 0.8, 0.2]) == 1.0


def test_a_forecast_of_the_markets_moves_has_no_auc_within_sessions():
    session = np.repeat([0, 1], 4)
    p_up = np.repeat([0.2, 0.8], 4)
    direction = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    assert scores.direction_auc(direction, p_up) == 0.75
    assert scores.direction_auc(direction, p_up, session) == 0.5


def test_session_aucs_equal_the_librarys_with_ties():
    random = np.random.default_rng(3)
    session = np.repeat([2, 5, 9], 40)
    score = random.integers(5, size=120).astype(float)
    label = random.integers(2, size=120).astype(float)
    expected = [roc_auc_score(label[session == one], score[session == one]) for one in (2, 5, 9)]
    assert scores.session_aucs(label, score, session).to_numpy() == pytest.approx(expected)


def test_a_session_with_one_class_is_left_out_of_the_mean():
    session = np.array([0, 0, 1, 1])
    assert scores.direction_auc([0, 1, 1, 1], [0.1, 0.9, 0.5, 0.5], session) == 1.0


@pytest.mark.parametrize("session", [None, np.array([0, 0, 1, 1])])
def test_a_missing_prediction_makes_the_auc_missing(session):
    assert np.isnan(scores.direction_auc([0, 1, 1, 0], [0.1, np.nan, 0.5, 0.6], session))


def test_qlike_is_zero_only_for_the_exact_forecast():
    assert scores.qlike([0.01, 0.02], [0.01, 0.02]) == 0.0
    assert scores.qlike([0.01, 0.02], [0.02, 0.01]) > 0.0


def test_qlike_among_constants_is_smallest_at_the_root_mean_square():
    target = np.random.default_rng(1).gamma(4.0, 0.004, size=500)
    best = np.sqrt(np.mean(target**2))
    of = [scores.qlike(target, np.full(500, best * factor)) for factor in (0.98, 1.0, 1.02)]
    assert of[1] == min(of)


def test_a_zero_target_costs_more_the_higher_it_was_forecast():
    low, high = scores.qlike_losses([0.0, 0.0], [0.01, 0.02])
    assert 0.0 < low < high < np.inf


def test_a_zero_volatility_forecast_costs_infinity():
    assert scores.qlike([0.01], [0.0]) == np.inf


@pytest.mark.parametrize("score", [scores.qlike, scores.mae, scores.correlation, scores.spread_ratio])
def test_rows_without_a_target_are_left_out(score):
    target, forecast = np.array([0.01, np.nan, 0.03, 0.02]), np.array([0.02, 0.5, 0.03, 0.01])
    assert score(target, forecast) == score(target[[0, 2, 3]], forecast[[0, 2, 3]])


@pytest.mark.parametrize("score", [scores.qlike, scores.mae, scores.brier, scores.correlation, scores.spread_ratio])
def test_no_score_hides_a_missing_prediction(score):
    assert np.isnan(score([0.0, 1.0, 0.0], [0.2, np.nan, 0.3]))


def test_saturation_counts_both_ends():
    assert scores.saturation([0.14, 0.01, 0.0001, 0.05], 0.15) == (0.25, 0.25)


def test_a_constant_has_no_spread_and_no_correlation():
    assert scores.spread_ratio([0.01, 0.03], [0.02, 0.02]) == 0.0
    assert np.isnan(scores.correlation([0.01, 0.03], [0.02, 0.02]))
