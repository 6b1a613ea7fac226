import numpy as np
import pandas as pd
import pytest

from models.config import DataConfig, TargetsConfig
from models.panel import build_panel
from models.target_checks import constant_price_error, second_computation_error
from models.targets import Targets, compute_targets

CONFIG = TargetsConfig()


def old_fault(panel, config) -> Targets:
    """The origin's mistake: rows of all symbols sorted by date, and returns taken by position across them."""
    order = np.lexsort([panel.series, panel.session])
    closes = pd.Series(panel.bars[order, 3].astype(float)).where(panel.present[order])
    h = config.horizon_sessions
    daily = np.log(closes / closes.shift(1))
    volatility, magnitude = np.full(len(order), np.nan), np.full(len(order), np.nan)
    volatility[order] = daily.rolling(h).std().shift(-h)
    magnitude[order] = np.abs(np.log(closes.shift(-h) / closes))
    return Targets((magnitude > 0).astype(float), volatility, magnitude, h)


def test_targets_follow_their_formulas(make_market):
    bars = make_market(n_symbols=25, n_sessions=30)
    targets = compute_targets(build_panel(bars, DataConfig()), CONFIG)
    closes = bars.loc[bars["symbol"] == "S000", "close"].to_numpy(np.float32).astype(float)
    returns = np.diff(np.log(closes))[10:15]
    assert targets.volatility[10] == pytest.approx(returns.std(ddof=1), rel=1e-9)
    assert targets.magnitude[10] == pytest.approx(abs(returns.sum()), rel=1e-9)


def test_direction_is_against_the_median_of_the_session(make_market):
    bars = make_market(n_symbols=24, n_sessions=30)
    panel = build_panel(bars, DataConfig())
    direction = compute_targets(panel, CONFIG).direction
    closes = np.log(bars.pivot_table(index="session", columns="symbol", values="close"))
    forward = (closes.shift(-5) - closes).iloc[10]
    np.testing.assert_array_equal(direction[panel.session == 10], (forward > forward.median()).astype(float))


def test_the_last_sessions_have_no_target(make_market):
    panel = build_panel(make_market(n_symbols=2, n_sessions=30), DataConfig())
    targets = compute_targets(panel, CONFIG)
    last = panel.session >= 25
    assert np.isnan(targets.volatility[last]).all()
    assert np.isfinite(targets.volatility[~last]).all()


def test_a_series_shorter_than_the_horizon_has_no_target_wherever_it_lies(make_market):
    long = make_market(n_symbols=10, n_sessions=2000)  # more rows than are looked at together
    newcomer = long.tail(3).assign(symbol="S999")
    panel = build_panel(pd.concat([long, newcomer], ignore_index=True), DataConfig())
    targets = compute_targets(panel, CONFIG)
    alone = compute_targets(build_panel(long, DataConfig()), CONFIG)
    assert np.isnan(targets.volatility[-3:]).all()
    np.testing.assert_array_equal(targets.volatility[:-3], alone.volatility)


def test_no_target_looks_across_an_absent_bar(make_market):
    bars = make_market(n_symbols=2, n_sessions=30)
    panel = build_panel(bars.drop(index=12).reset_index(drop=True), DataConfig())
    targets = compute_targets(panel, CONFIG)
    assert np.isnan(targets.volatility[7:13]).all()
    assert np.isfinite(targets.volatility[[6, 13]]).all()


def test_no_target_looks_across_a_split(demo_bars):
    joined = DataConfig(jump_limit=0.94)
    with_split, without = (
        compute_targets(build_panel(demo_bars, data), CONFIG).volatility for data in (joined, DataConfig())
    )
    assert np.nanmax(with_split) > 0.44
    assert np.nanmax(without) < 0.21


def test_targets_do_not_change_when_prices_after_their_horizon_change(make_market):
    bars = make_market(n_symbols=25, n_sessions=40)
    changed = bars.copy()
    changed.loc[changed["session"] > changed["session"].unique()[20], ["open", "high", "low", "close"]] *= 1.2
    before, after = (compute_targets(build_panel(b, DataConfig()), CONFIG) for b in (bars, changed))
    early = build_panel(bars, DataConfig()).session <= 15
    for head in ("direction", "volatility", "magnitude"):
        np.testing.assert_array_equal(getattr(before, head)[early], getattr(after, head)[early])


@pytest.mark.parametrize(("entry", "reach"), [("close", 5), ("next_open", 5), ("next_close", 6)])
def test_a_later_entry_starts_the_return_later(make_market, entry, reach):
    bars = make_market(n_symbols=1, n_sessions=30)
    targets = compute_targets(build_panel(bars, DataConfig(min_universe=1)), TargetsConfig(entry=entry))
    closes, opens = (np.log(bars[c].to_numpy(np.float32).astype(float)) for c in ("close", "open"))
    start = {"close": closes[10], "next_open": opens[11], "next_close": closes[11]}[entry]
    assert targets.magnitude[10] == pytest.approx(abs(closes[10 + reach] - start), rel=1e-9)
    assert targets.reach == reach


def test_constant_prices_have_exactly_zero_targets():
    assert constant_price_error(CONFIG) == {"volatility": 0.0, "magnitude": 0.0}


def test_the_old_fault_fails_the_constant_price_test():
    errors = constant_price_error(CONFIG, old_fault)
    assert errors["volatility"] > 1
    assert errors["magnitude"] > 1


@pytest.mark.parametrize("entry", ["close", "next_open", "next_close"])
def test_the_second_computation_agrees(demo_bars, entry):
    config = TargetsConfig(entry=entry)
    panel = build_panel(demo_bars, DataConfig())
    targets = compute_targets(panel, config)
    errors = second_computation_error(panel, targets, np.flatnonzero(targets.known), config)
    assert max(errors.values()) < 1e-12


def test_the_second_computation_finds_the_old_fault(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    rows = np.flatnonzero(compute_targets(panel, CONFIG).known)
    errors = second_computation_error(panel, old_fault(panel, CONFIG), rows, CONFIG)
    assert errors["volatility"] > 0.1


def test_a_small_universe_gets_the_absolute_direction(make_market):
    panel = build_panel(make_market(n_symbols=4, n_sessions=30), DataConfig())
    assert not panel.relative
    returns = np.log(panel.bars[5:, 3] / panel.bars[:-5, 3])
    same_series = panel.series[5:] == panel.series[:-5]
    np.testing.assert_array_equal(
        compute_targets(panel, CONFIG).direction[:-5][same_series], (returns > 0).astype(float)[same_series]
    )
