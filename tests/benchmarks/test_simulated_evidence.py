"""The simulator's closed forms against large samples, and frames in which the gate finds all that it reads."""

import math

import numpy as np
import pytest

from benchmarks.simulated_evidence import (
    HAR_ERROR,
    OWN_ERROR,
    MarketSettings,
    SimulatedMarket,
    correlation_of,
    gaussian_auc,
    persistent,
    qlike_of,
    true_auc,
)
from models.config import GateConfig
from models.gate.evidence import Evidence
from models.gate.skill import skill_report
from models.scores import direction_auc, qlike

LARGE = MarketSettings(sessions=2000, symbols=30, memory=0.5, signal=0.4)
SMALL = MarketSettings(sessions=60, symbols=10)


@pytest.fixture(scope="module", params=[True, False], ids=["relative", "absolute"])
def large(request):
    settings = MarketSettings(**{**vars(LARGE), "relative": request.param})
    return SimulatedMarket.draw(settings, seed=3)


def measured(market, auc):
    session = None if market.settings.relative else market.rows["session"].to_numpy()
    return direction_auc(market.rows["direction"], market.forecasts(auc, 5)["p_up"].ravel(), session)


def test_scores_have_the_auc_that_was_asked_for(large):
    assert measured(large, 0.6) == pytest.approx(0.6, abs=0.008)


def test_an_edge_is_as_large_as_was_asked_once_the_markets_luck_is_taken_out(large):
    assert measured(large, 0.6) - measured(large, 0.4) == pytest.approx(0.2, abs=0.008)


@pytest.mark.parametrize("correlation", [0.0, 0.05, 0.3, -0.6])
def test_the_area_at_the_median_is_the_closed_form(correlation):
    assert gaussian_auc(correlation) == pytest.approx(
        0.5 + 2 / math.pi * math.asin(correlation / math.sqrt(2)), abs=1e-4
    )


@pytest.mark.parametrize("threshold", [-1.0, 0.4, 2.0])
def test_the_area_beside_the_median_is_that_of_a_large_sample(threshold):
    random = np.random.default_rng(1)
    y, noise = random.normal(size=(2, 300_000))
    assert gaussian_auc(0.5, threshold) == pytest.approx(
        direction_auc(y > threshold, y / 2 + noise * 0.75**0.5), abs=5e-3
    )


@pytest.mark.parametrize("relative", [True, False])
def test_the_correlation_of_an_area_leads_back_to_it(relative):
    settings = MarketSettings(relative=relative)
    assert true_auc(correlation_of(0.53, settings), settings) == pytest.approx(0.53, abs=1e-7)


def test_an_area_beyond_the_signals_is_refused_with_what_would_allow_it():
    with pytest.raises(ValueError, match=r"AUC of 0\.7 .* raise MarketSettings\.signal"):
        correlation_of(0.7, SMALL)


def test_volatility_costs_what_its_error_costs(large):
    rows, own = large.rows, large.forecasts(0.5, 5)["volatility"].ravel()
    assert qlike(rows["volatility_target"], own) == pytest.approx(qlike_of(OWN_ERROR, 5), rel=0.02)
    assert qlike(rows["volatility_target"], rows["volatility_har"]) == pytest.approx(qlike_of(HAR_ERROR, 5), rel=0.02)


def test_what_persists_remembers_as_told_and_has_variance_one():
    series = persistent(np.random.default_rng(0), (400, 500), 0.9)
    assert series[0].var() == pytest.approx(1.0, abs=0.2)
    assert series.var() == pytest.approx(1.0, abs=0.05)
    assert np.mean(series[1:] * series[:-1]) == pytest.approx(0.9, abs=0.05)


def test_neighbouring_labels_overlap_and_symbols_move_together():
    market = SimulatedMarket.draw(MarketSettings(sessions=600, relative=False), seed=0)
    direction = market.rows["direction"].to_numpy().reshape(600, -1) - 0.5
    assert np.mean(direction[1:] * direction[:-1]) > 4 * abs(np.mean(direction[5:] * direction[:-5]))
    assert direction.mean(axis=1).std() > 3 * 0.5 / math.sqrt(60)


def test_models_that_share_all_errors_say_the_same_of_the_direction():
    market = SimulatedMarket.draw(SMALL, seed=0)
    one, other = (market.forecasts(0.53, seed, shared=1.0)["p_up"] for seed in (1, 2))
    assert np.array_equal(one, other)


def test_one_seed_draws_one_market():
    one, other = (SimulatedMarket.draw(SMALL, seed=4) for _ in range(2))
    assert one.frame(one.forecasts(0.53, 1)).equals(other.frame(other.forecasts(0.53, 1)))


def test_the_gate_finds_every_column_of_the_skill_that_it_measures():
    market = SimulatedMarket.draw(SMALL, seed=0)
    config = GateConfig(bootstrap_replicates=100)
    evidence = Evidence.of(market.frame(market.forecasts(0.53, 1)), config, reach=5, relative=True)
    metrics = skill_report(evidence, config, ("direction", "volatility", "magnitude")).metrics
    unmeasured = {name for name, value in metrics.items() if not math.isfinite(value)}
    assert unmeasured <= {"direction_next_close_edge"}  # there is none where no edge is shown
