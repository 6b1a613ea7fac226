import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import DataConfig
from models.panel import build_panel, eligible, last_rows, log_returns, windows


def test_what_looks_like_an_unstated_action_starts_a_new_segment_and_a_genuine_move_does_not(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    broken = set(panel.symbols[panel.segments > 0])
    assert broken == {"CAH", "DHR", "ESRX", "ETFC", "GIS", "STR", "WY"}


def test_every_bar_of_the_demo_panel_is_in_exactly_one_row(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    assert panel.present.sum() == len(demo_bars)
    assert panel.n_symbols == 524


def test_a_session_absent_for_every_symbol_does_not_count_as_one(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    assert len(panel.sessions) == 245
    assert np.datetime64("2009-10-29") not in panel.sessions


def test_a_long_absence_starts_a_new_segment(make_market):
    bars = make_market(n_symbols=3, n_sessions=80)
    bars = bars.drop(bars.index[20:41]).reset_index(drop=True)
    panel = build_panel(bars, DataConfig(min_universe=1))
    assert panel.symbols.tolist() == ["S000", "S000", "S001", "S002"]
    assert panel.segments.tolist() == [0, 1, 0, 0]


def test_a_short_absence_stays_in_the_series_as_absent_rows(make_market):
    bars = make_market(n_symbols=2, n_sessions=40)
    bars = bars.drop(bars.index[10:13]).reset_index(drop=True)
    panel = build_panel(bars, DataConfig(min_universe=1))
    assert np.flatnonzero(~panel.present).tolist() == [10, 11, 12]
    assert np.isnan(log_returns(panel)[10:14]).all()


def test_a_stated_split_is_adjusted_and_starts_no_segment(make_market):
    bars = make_market(n_symbols=1, n_sessions=30)
    whole = build_panel(bars, DataConfig(min_universe=1))
    before = bars.index < 15
    bars.loc[before, ["open", "high", "low", "close"]] *= 2
    bars.loc[before, "volume"] /= 2
    bars["split_ratio"] = np.where(bars.index == 15, 2.0, np.nan)
    adjusted = build_panel(bars, DataConfig(min_universe=1))
    assert len(adjusted.symbols) == 1
    np.testing.assert_allclose(adjusted.bars, whole.bars, rtol=1e-6)


def test_what_is_known_of_a_symbol_does_not_depend_on_how_many_others_there_are(make_market):
    bars = make_market(n_symbols=25, n_sessions=3000)  # more bars than are cleaned together
    bars.loc[2900:, ["open", "high", "low", "close"]] *= 0.25
    last = bars["symbol"] == bars["symbol"].iloc[-1]
    wrong = bars.index[last][1500]
    bars.loc[wrong, ["open", "high", "low", "close"]] *= 100.0
    panel = build_panel(bars, DataConfig())
    alone = build_panel(bars[last].reset_index(drop=True), DataConfig(), panel.market)
    rows = panel.symbol_of(np.arange(len(panel.session))) == bars["symbol"].iloc[-1]
    assert not alone.present[1500]
    np.testing.assert_array_equal(panel.bars[rows], alone.bars)
    np.testing.assert_array_equal(panel.present[rows], alone.present)


def test_the_market_return_is_the_median_over_symbols(make_market):
    bars = make_market(n_symbols=25, n_sessions=10)
    panel = build_panel(bars, DataConfig())
    closes = bars.pivot_table(index="session", columns="symbol", values="close")
    expected = np.log(closes).diff().median(axis=1).fillna(0)
    np.testing.assert_allclose(panel.market_return, expected, atol=1e-6)


def test_a_small_universe_has_no_market_return(make_market):
    panel = build_panel(make_market(n_symbols=5, n_sessions=10), DataConfig())
    assert not panel.relative
    assert not panel.market_return.any()


def test_a_row_is_eligible_when_nine_tenths_of_its_window_are_present(make_market):
    bars = make_market(n_symbols=2, n_sessions=40)
    panel = build_panel(bars.drop(bars.index[20:22]).reset_index(drop=True), DataConfig(min_universe=1))
    rows = np.flatnonzero(eligible(panel, window=10, min_present=0.9)[:40])
    assert rows.tolist() == [*range(8, 20), *range(30, 40)]


def test_windows_hold_the_series_own_bars_and_zeros_before_its_start(make_market):
    panel = build_panel(make_market(n_symbols=2, n_sessions=12), DataConfig(min_universe=1))
    first_of_second = int(panel.offsets[1])
    (block,) = windows(panel, np.array([first_of_second + 2]), window=5)
    assert block.shape == (1, 6, 7)
    np.testing.assert_array_equal(block[0, :3], 0)
    np.testing.assert_array_equal(block[0, 3:, :5], panel.bars[first_of_second : first_of_second + 3])


def test_last_rows_are_the_bars_of_the_last_session(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    rows = last_rows(panel)
    assert len(rows) == (demo_bars["session"] == demo_bars["session"].max()).sum()


@pytest.mark.parametrize("window", [4, 21])
@given(keep=st.lists(st.booleans(), min_size=30, max_size=30))
def test_eligibility_counts_what_is_there(window, keep):
    kept = np.flatnonzero(keep)
    if len(kept) < 2:
        return
    sessions = pd.bdate_range("2020-01-01", periods=30)[kept].to_numpy("datetime64[s]")
    anchor = pd.bdate_range("2020-01-01", periods=30).to_numpy("datetime64[s]")
    bars = pd.DataFrame(
        {
            "symbol": pd.Series(["A"] * len(sessions) + ["B"] * 30, dtype="str"),
            "session": np.concatenate([sessions, anchor]),
            "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0,
        }
    )  # fmt: skip
    panel = build_panel(bars, DataConfig(min_universe=1))
    marked = eligible(panel, window, 0.9)
    for row in np.flatnonzero(panel.series == 0):
        seen = panel.present[max(0, row - window + 1) : row + 1].sum()
        assert marked[row] == (panel.present[row] and seen >= 0.9 * window)
