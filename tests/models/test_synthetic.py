"""The market with a known answer: its formulas against its own draws, and the faults that it is asked for."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from models.config import RetrainConfig
from models.errors import ConfigError
from models.panel import build_panel
from models.scores import direction_auc, qlike
from models.synthetic import MarketSettings, best_auc, best_qlike, synthetic_market, write_market
from models.targets import compute_targets

GAUSSIAN = {"tail": None, "symbols": 150, "sessions": 600}


def scored(settings: MarketSettings) -> tuple[float, float]:
    """AUC and QLIKE of the best forecasts, on targets as the product computes them."""
    market = synthetic_market(settings)
    config = RetrainConfig()
    targets = compute_targets(build_panel(market.bars, config.data), config.targets)
    known = targets.known & (np.arange(len(targets.known)) % settings.sessions > 60)
    best = market.best[known]
    auc = direction_auc(targets.direction[known], best["alpha"].to_numpy())
    return auc, qlike(targets.volatility[known], best["volatility"].to_numpy())


def test_the_formulas_are_what_the_best_forecasts_reach():
    drawn = np.array([scored(MarketSettings(seed=seed, edge=0.15, **GAUSSIAN)) for seed in range(6)])
    mean, error = drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / len(drawn) ** 0.5
    settings = MarketSettings(edge=0.15, **GAUSSIAN)
    assert abs(mean[0] - best_auc(settings, 5)) < 4 * error[0]
    assert error[0] < 0.002
    assert mean[1] == pytest.approx(best_qlike(settings, 5), rel=0.01)


def test_alpha_that_the_gap_shows_plainly_is_known_up_to_its_edge():
    """Without noise, over one session, AUC = 1/2 + (2/π) asin(ρ/√2)."""
    assert best_auc(MarketSettings(edge=0.2, noise=0.0), 1) == pytest.approx(0.5904, abs=1e-4)


def test_noise_costs_what_a_kalman_filter_cannot_get_back():
    """φ = 0.9, noise 4, ρ = 0.2: the published value is 0.5608 (0.5617 by simulation)."""
    assert best_auc(MarketSettings(edge=0.2, memory=0.9, noise=4.0), 1) == pytest.approx(0.561, abs=1e-3)


def test_a_market_without_edge_has_no_direction():
    assert best_auc(MarketSettings(edge=0.0), 5) == 0.5
    auc, _ = scored(MarketSettings(edge=0.0, **GAUSSIAN))
    assert abs(auc - 0.5) < 0.012


def test_the_same_settings_are_the_same_market_and_another_seed_is_another():
    small = MarketSettings(symbols=5, sessions=50)
    first, again = synthetic_market(small), synthetic_market(small)
    other = synthetic_market(small.model_copy(update={"seed": 2}))
    assert first.bars.equals(again.bars)
    assert not first.bars["close"].equals(other.bars["close"])


def test_bars_are_in_order_and_high_and_low_hold_the_others():
    bars = synthetic_market(MarketSettings(symbols=20, sessions=100)).bars
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert not bars.duplicated(["symbol", "session"]).any()


def test_faults_are_where_the_market_says():
    settings = MarketSettings(symbols=12, sessions=120, splits=2, stuck=2, delistings=2, gaps=0.02, seed=5)
    market = synthetic_market(settings)
    assert market.faults["kind"].tolist() == ["split", "split", "stuck", "stuck", "delisting", "delisting"]
    assert market.faults["symbol"].is_unique
    assert 0.9 * 12 * 120 < len(market.bars) < 12 * 120
    sound = synthetic_market(settings.model_copy(update={"splits": 0, "stuck": 0, "delistings": 0, "gaps": 0.0})).bars
    merged = sound.merge(market.bars, on=["symbol", "session"], suffixes=("", "_spoilt"))
    for fault in market.faults.itertuples():
        of = merged[(merged["symbol"] == fault.symbol) & (merged["session"] >= fault.session)]
        if fault.kind == "split":
            np.testing.assert_allclose(of["close"], 2 * of["close_spoilt"])
            np.testing.assert_allclose(of["volume"] * 2, of["volume_spoilt"])
        elif fault.kind == "stuck":
            run = of[of["session"] < fault.session + np.timedelta64(8, "D")]
            assert run[["open_spoilt", "high_spoilt", "low_spoilt", "close_spoilt"]].stack().nunique() == 1
        else:
            assert of["session"].max() <= fault.session


def test_more_faults_than_symbols_are_refused():
    with pytest.raises(ValidationError, match="each needs a symbol, there are 3"):
        MarketSettings(symbols=3, splits=2, stuck=2)


def test_a_calendar_that_ends_too_soon_is_refused():
    with pytest.raises(ValueError, match="Start earlier or ask for fewer"):
        synthetic_market(MarketSettings(symbols=2, sessions=8000))


def test_a_written_market_is_a_delivery_that_says_its_ceilings(tmp_path):
    path = str(tmp_path / "market.parquet")
    told = write_market(path, {"symbols": 30, "sessions": 300, "edge": 0.3, "splits": 1})
    bars = pd.read_parquet(path)
    assert bars.columns.tolist() == ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
    assert len(bars) == told.bars == 9000
    assert told.best_direction_auc == pytest.approx(best_auc(MarketSettings(edge=0.3), 5), abs=0.03)
    assert told.faults[0].startswith("split S000")


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [("m.parquet", {"symbols": 1}, "symbols: .* greater than or equal to 2"), ("none/m.parquet", {}, "non-existent")],
)
def test_what_cannot_be_written_is_told(tmp_path, path, changes, words):
    with pytest.raises(ConfigError, match=words):
        write_market(str(tmp_path / path), {"sessions": 40, "symbols": 3, **changes})
