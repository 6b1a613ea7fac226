"""The block bootstrap: weights, statistics on weights, and how often the interval holds the truth."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from models.bootstrap import (
    Resamples,
    block_length,
    difference,
    influence,
    mean_over_rows,
    mean_session_auc,
    optimal_block,
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


def test_blocks_are_at_least_twice_the_overlap_and_ten_sessions():
    assert [block_length(horizon) for horizon in (1, 5, 10)] == [10, 10, 20]


def remembering(n_sessions, memory, seed=0):
    """AR(1): each value is `memory` times the one before, plus noise."""
    random = np.random.default_rng([seed, n_sessions])
    values = random.normal(size=n_sessions)
    for day in range(1, n_sessions):
        values[day] += memory * values[day - 1]
    return values


@pytest.mark.parametrize("n_sessions", [21, 60, 250, 1000])
@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.5, 0.9])
def test_the_optimal_block_is_the_librarys(n_sessions, memory):
    from arch.bootstrap import optimal_block_length

    series = np.column_stack([remembering(n_sessions, memory, seed) for seed in range(20)])
    expected = optimal_block_length(series)["circular"]
    assert [optimal_block(one) for one in series.T] == pytest.approx(list(expected), rel=1e-9)


def test_sessions_that_are_remembered_for_long_are_drawn_in_longer_blocks():
    assert block_length(5, [remembering(250, 0.95)]) > block_length(5, [remembering(250, 0.0)]) == 10


def test_the_slowest_of_several_series_decides():
    series = [remembering(250, memory) for memory in (0.0, 0.95, 0.3)]
    assert block_length(5, series) == block_length(5, series[1:2])


@pytest.mark.parametrize(("n_sessions", "longest"), [(60, 10), (120, 12), (250, 25)])
def test_however_long_the_memory_ten_blocks_remain(n_sessions, longest):
    assert block_length(5, [np.arange(float(n_sessions))]) == longest


@given(values=arrays(float, st.integers(0, 40), elements=st.sampled_from([0.0, 1.0, -3.0, np.nan, np.inf])))
def test_any_series_asks_for_a_block_between_nothing_and_itself(values):
    assert 0.0 <= optimal_block(values) <= len(values)


@pytest.mark.parametrize("series", [np.zeros(60), np.full(60, np.nan), np.array([])])
def test_a_series_that_tells_nothing_asks_for_no_block(series):
    assert block_length(5, [series]) == 10


def test_influence_is_what_the_mean_loses_with_a_session():
    mean = mean_over_rows(np.array([1.0, 3.0, 11.0]), np.arange(3), 3)
    assert influence(mean, 3) == pytest.approx([5 - 7, 5 - 6, 5 - 2])


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


def library_statistics(rows, losses):
    """The same statistics from whole sessions one after the other, as drawn, by the library's own functions."""
    label, score, session = rows
    known = [np.flatnonzero((session == one) & ~np.isnan(label)) for one in range(N_SESSIONS)]
    own, other = losses

    def statistics(drawn):
        drawn_rows = np.concatenate([known[one] for one in drawn])
        areas = [roc_auc_score(label[known[one]], score[known[one]]) for one in drawn]
        pooled = roc_auc_score(label[drawn_rows], score[drawn_rows])
        every_row = np.concatenate([np.flatnonzero(session == one) for one in drawn])
        return np.array([pooled, np.mean(areas), own[every_row].mean() / other[every_row].mean()])

    return statistics


def test_on_the_same_blocks_every_replicate_and_interval_is_the_librarys(rows):
    from arch.bootstrap import CircularBlockBootstrap

    session = rows[2]
    losses = np.random.default_rng(3).gamma(2.0, size=(2, len(session)))
    own, other = (mean_over_rows(of, session, N_SESSIONS) for of in losses)
    ours = (pooled_auc(*rows, N_SESSIONS), mean_session_auc(*rows, N_SESSIONS), ratio(own, other))
    library = CircularBlockBootstrap(5, np.arange(N_SESSIONS), seed=7)
    weights = np.array([np.bincount(data[0], minlength=N_SESSIONS) for data, _ in library.bootstrap(40)])
    library.reset()
    expected = library.apply(library_statistics(rows, losses), 40)
    resamples = Resamples(weights.astype(float), block=5)
    assert np.column_stack([one(resamples.weights) for one in ours]) == pytest.approx(expected, abs=1e-12)
    blocks = N_SESSIONS / 5
    wider = norm.cdf(student.ppf(0.05, blocks - 1) * np.sqrt(blocks / (blocks - 1)))
    ends = np.quantile(expected, [wider, 1 - wider], axis=0).T
    assert [resamples.interval(one, 0.9)[1:] for one in ours] == pytest.approx(ends, abs=1e-12)


def test_the_exact_interval_of_a_large_panel_takes_seconds():
    n_sessions, n_symbols = 250, 500
    random = np.random.default_rng(1)
    label = random.integers(2, size=n_sessions * n_symbols).astype(float)
    started = time.process_time()
    area = pooled_auc(label, random.normal(size=label.size), np.repeat(np.arange(n_sessions), n_symbols), n_sessions)
    interval = draw(n_sessions, 10, 1000).interval(area, 0.9)
    assert time.process_time() - started < 10.0
    assert interval.low < 0.5 < interval.high


def test_mean_over_rows_counts_a_session_as_often_as_it_was_drawn():
    mean = mean_over_rows(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]), 2)
    assert mean(np.array([[1.0, 1.0], [2.0, 0.0]])) == pytest.approx([14 / 3, 2.0])


@pytest.mark.parametrize("area", [pooled_auc, mean_session_auc])
def test_one_missing_score_makes_the_whole_interval_missing(rows, area):
    label, score, session = rows
    score[np.flatnonzero(~np.isnan(label))[7]] = np.nan
    assert np.isnan(draw().interval(area(label, score, session, N_SESSIONS), 0.9)).all()


@pytest.mark.parametrize("broken", [0.0, np.inf, np.nan])
def test_over_a_broken_baseline_there_is_no_ratio(broken):
    one, none = (mean_over_rows(np.full(N_SESSIONS, of), np.arange(N_SESSIONS), N_SESSIONS) for of in (1.0, broken))
    assert np.isnan(draw().interval(ratio(one, none), 0.9)).all()


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
