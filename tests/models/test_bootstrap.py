"""The block bootstrap: weights, statistics on weights, and how often the interval holds the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.bootstrap import (
    Resamples,
    block_length,
    difference,
    mean_over_rows,
    mean_session_auc,
    pooled_auc,
    ratio,
)

N_SESSIONS = 30


@pytest.fixture
def rows():
    """Label with NaN, score with ties and number of the session, of 20 symbols on each session."""
    random = np.random.default_rng(5)
    session = np.repeat(np.arange(N_SESSIONS), 20)
    label = random.integers(2, size=len(session)).astype(float)
    score = np.round(random.normal(size=len(session)) + 0.3 * label, 1)
    label[random.random(len(session)) < 0.05] = np.nan
    return label, score, session


def draw(n_sessions=N_SESSIONS, block=5, n_replicates=200, seed=0):
    return Resamples.draw(n_sessions, block=block, n_replicates=n_replicates, seed=seed)


def test_blocks_are_twice_the_overlap_and_at_least_ten_sessions():
    assert [block_length(horizon) for horizon in (1, 5, 10)] == [10, 10, 20]


@given(n_sessions=st.integers(1, 60), block=st.integers(1, 25), seed=st.integers(0, 99))
def test_every_replicate_has_as_many_sessions_as_the_sample(n_sessions, block, seed):
    weights = draw(n_sessions, block, 20, seed).weights
    assert (weights.sum(axis=1) == n_sessions).all()


def test_the_first_and_last_sessions_are_drawn_as_often_as_the_middle():
    often = draw(n_replicates=20_000).weights.mean(axis=0)
    assert often == pytest.approx(np.ones(N_SESSIONS), abs=0.05)


def test_sessions_are_drawn_with_their_neighbours():
    weights = draw(block=10, n_replicates=2000).weights
    assert np.corrcoef(weights[:, 0], weights[:, 1])[0, 1] > 0.7


def test_the_same_seed_draws_the_same_weights():
    assert np.array_equal(draw(seed=4).weights, draw(seed=4).weights)


def test_pooled_auc_of_a_replicate_equals_the_librarys_weighted_auc(rows):
    label, score, session = rows
    weights = draw(n_replicates=3).weights
    known = ~np.isnan(label)
    expected = [roc_auc_score(label[known], score[known], sample_weight=of[session][known]) for of in weights]
    assert pooled_auc(*rows, N_SESSIONS)(weights) == pytest.approx(expected, abs=1e-12)


def test_mean_session_auc_of_a_replicate_weighs_the_sessions_own_areas(rows):
    label, score, session = rows
    weights = draw(n_replicates=2).weights
    known = ~np.isnan(label)
    areas = [
        roc_auc_score(label[known & (session == one)], score[known & (session == one)]) for one in range(N_SESSIONS)
    ]
    expected = weights @ areas / weights.sum(axis=1)
    assert mean_session_auc(*rows, N_SESSIONS)(weights) == pytest.approx(expected)


def test_mean_over_rows_counts_a_session_as_often_as_it_was_drawn():
    mean = mean_over_rows(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]), 2)
    assert mean(np.array([[1.0, 1.0], [2.0, 0.0]])) == pytest.approx([14 / 3, 2.0])


@pytest.mark.parametrize("area", [pooled_auc, mean_session_auc])
def test_one_missing_score_makes_the_whole_interval_missing(rows, area):
    label, score, session = rows
    score[np.flatnonzero(~np.isnan(label))[7]] = np.nan
    assert np.isnan(draw().interval(area(label, score, session, N_SESSIONS), 0.9)).all()


def test_one_missing_loss_makes_the_whole_interval_missing():
    losses = np.ones(N_SESSIONS)
    losses[3] = np.nan
    interval = draw().interval(mean_over_rows(losses, np.arange(N_SESSIONS), N_SESSIONS), 0.9)
    assert np.isnan(interval).all()


def test_less_than_two_blocks_give_an_estimate_without_an_interval():
    interval = draw(19, block=10).interval(mean_over_rows(np.arange(19.0), np.arange(19), 19), 0.9)
    assert interval.value == 9.0
    assert np.isnan([interval.low, interval.high]).all()


def test_a_statistic_minus_itself_is_exactly_nothing(rows):
    area = pooled_auc(*rows, N_SESSIONS)
    assert draw().interval(difference(area, area), 0.9) == (0.0, 0.0, 0.0)


def test_a_paired_ratio_is_far_narrower_than_its_parts():
    random = np.random.default_rng(2)
    losses, session = random.gamma(2.0, size=N_SESSIONS), np.arange(N_SESSIONS)
    one = mean_over_rows(losses, session, N_SESSIONS)
    other = mean_over_rows(losses * random.uniform(0.99, 1.01, N_SESSIONS), session, N_SESSIONS)
    alone, paired = draw().interval(one, 0.9), draw().interval(ratio(one, other), 0.9)
    assert (paired.high - paired.low) < 0.1 * (alone.high - alone.low)


@given(lift=st.floats(0.0, 3.0))
@settings(max_examples=25)
def test_raising_the_scores_of_up_rows_raises_both_ends(lift):
    random = np.random.default_rng(8)
    session = np.repeat(np.arange(N_SESSIONS), 5)
    label, score = random.integers(2, size=len(session)).astype(float), random.normal(size=len(session))
    before = draw().interval(pooled_auc(label, score, session, N_SESSIONS), 0.9)
    after = draw().interval(pooled_auc(label, score + lift * label, session, N_SESSIONS), 0.9)
    assert after.low >= before.low
    assert after.high >= before.high


def coverage(n_markets, n_sessions=120, n_symbols=12, horizon=5, persistence=0.9):
    """Share of skill-less markets whose interval holds 0.5: a common factor in returns and scores, targets overlap."""
    held = 0
    for seed in range(n_markets):
        random = np.random.default_rng(seed)
        market = random.normal(size=(n_sessions + horizon, 1))
        returns = 0.55 * market + 0.84 * random.normal(size=(n_sessions + horizon, n_symbols))
        forward = np.stack([returns[day + 1 : day + 1 + horizon].sum(axis=0) for day in range(n_sessions)])
        scores = np.empty((n_sessions, n_symbols))
        own, common = random.normal(size=n_symbols), random.normal()
        for day in range(n_sessions):
            own = persistence * own + np.sqrt(1 - persistence**2) * random.normal(size=n_symbols)
            common = persistence * common + np.sqrt(1 - persistence**2) * random.normal()
            scores[day] = 0.84 * own + 0.55 * common
        session = np.repeat(np.arange(n_sessions), n_symbols)
        labels = (forward > np.median(forward, axis=1, keepdims=True)).astype(float)
        resamples = Resamples.draw(n_sessions, block=block_length(horizon), n_replicates=300)
        interval = resamples.interval(pooled_auc(labels.ravel(), scores.ravel(), session, n_sessions), 0.9)
        held += interval.low <= 0.5 <= interval.high
    return held / n_markets


def test_the_90_percent_interval_covers_the_truth_despite_a_common_factor_and_overlapping_targets():
    assert coverage(100) >= 0.8
