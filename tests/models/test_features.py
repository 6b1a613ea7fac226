from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.config import DataConfig
from models.features import FEATURES, VARIANCES, _windowed, decays, filter_weights, summaries, summary_names
from models.panel import build_panel

SPANS = (1, 3, 8, 21)
DATA = DataConfig(min_universe=1)


def _column(name):
    return summary_names(SPANS).index(name)


def test_multiplying_a_history_by_a_constant_changes_nothing(make_market):
    bars = make_market(n_symbols=3, n_sessions=60)
    scaled = bars.copy()
    scaled[["open", "high", "low", "close"]] *= 1024.0  # a power of two: exact in float32 too
    before, after = (summaries(build_panel(b, DATA), 42, SPANS) for b in (bars, scaled))
    np.testing.assert_array_equal(before, after)


def test_summaries_do_not_change_when_later_bars_change(make_market):
    bars = make_market(n_symbols=25, n_sessions=80)
    noisy = bars.copy()
    late = noisy["session"] > noisy["session"].unique()[50]
    noisy.loc[late, ["open", "high", "low", "close"]] *= 1.3
    before, after = (build_panel(b, DataConfig()) for b in (bars, noisy))
    early = before.session <= 50
    np.testing.assert_array_equal(summaries(before, 42, SPANS)[early], summaries(after, 42, SPANS)[early])


def test_a_summary_is_the_weighted_mean_of_its_window(make_market):
    panel = build_panel(make_market(n_symbols=1, n_sessions=60), DATA)
    closes = np.log(panel.bars[:, 3].astype(float))
    squared = np.diff(closes, prepend=closes[0]) ** 2
    weights = filter_weights(42, SPANS)[:, 2]
    expected = 0.5 * np.log(squared[8:50] @ weights / weights.sum() + 1e-8)
    assert summaries(panel, 42, SPANS)[49, _column("squared_return_8")] == pytest.approx(expected, rel=1e-5)


def test_what_lies_before_the_window_leaves_no_trace(make_market):
    bars = make_market(n_symbols=1, n_sessions=100)
    wild = bars.copy()
    wild.loc[wild.index < 40, ["open", "high", "low", "close"]] *= np.random.default_rng(2).uniform(0.8, 1.2, (40, 4))
    before, after = (summaries(build_panel(b, DATA), 42, SPANS) for b in (bars, wild))
    np.testing.assert_array_equal(before[82:], after[82:])


def test_the_first_return_after_a_gap_is_zero(make_market):
    panel = build_panel(_two(make_market(n_symbols=1, n_sessions=60)), DATA)
    after_gap = summaries(panel, 42, SPANS)[35]
    for name in ("return_1", "overnight_return_1", "volume_change_1"):
        assert after_gap[_column(name)] == 0


def _two(bars):
    """The series with five absent bars, beside a whole one that keeps the sessions on the axis."""
    other = bars.assign(symbol="T000")
    return pd.concat([bars.drop(index=range(30, 35)), other], ignore_index=True)


def test_an_absent_bar_contributes_nothing(make_market):
    panel = build_panel(_two(make_market(n_symbols=1, n_sessions=60)), DATA)
    absent = np.flatnonzero(~panel.present)
    garbage = panel.bars.copy()
    garbage[absent] = 777.0
    changed = type(panel)(**{**vars(panel), "bars": garbage})
    np.testing.assert_array_equal(summaries(panel, 42, SPANS)[40:], summaries(changed, 42, SPANS)[40:])


def test_a_price_that_never_moves_has_finite_summaries(make_market):
    bars = make_market(n_symbols=1, n_sessions=60)
    bars[["open", "high", "low", "close"]] = 10.0
    bars["volume"] = 0.0
    assert np.isfinite(summaries(build_panel(bars, DATA), 42, SPANS)).all()


def test_summaries_can_be_used_by_tensorflow_without_a_copy(make_market):
    seen = summaries(build_panel(make_market(n_symbols=21, n_sessions=40), DataConfig()), 21, (1, 3))
    assert seen.ctypes.data % 64 == 0
    assert seen.flags.c_contiguous


def test_blocks_of_series_give_the_same_summaries(make_market):
    panel = build_panel(make_market(n_symbols=12, n_sessions=50), DATA)
    np.testing.assert_array_equal(summaries(panel, 42, SPANS, block=60), summaries(panel, 42, SPANS))


@pytest.mark.parametrize("window", [4, 5, 7, 8, 42, 63, 64, 100, 127, 1000])
def test_sums_joined_from_halves_are_those_of_the_weights_in_each_series(window):
    lengths = (150, 1, 3, 64, 40)
    series = [np.random.default_rng(window).normal(size=(2, n)) for n in lengths]
    position = np.concatenate([np.arange(n) for n in lengths])
    weights = filter_weights(window, SPANS)
    for column, decay in enumerate(decays(SPANS)):
        expected = [[np.convolve(row, weights[::-1, column])[: len(row)] for row in one] for one in series]
        summed = _windowed(np.concatenate(series, axis=1), decay, window, position)
        np.testing.assert_allclose(summed, np.concatenate(expected, axis=1), rtol=1e-12, atol=1e-12)


def test_a_panel_without_rows_has_no_summaries(make_market):
    panel = build_panel(make_market(n_symbols=1, n_sessions=30), DATA)
    nothing = {name: getattr(panel, name)[:0] for name in ("session", "series", "bars", "present", "member")}
    empty = replace(panel, **nothing, offsets=np.array([0]))
    assert summaries(empty, 42, SPANS).shape == (0, len(summary_names(SPANS)))


def test_variances_come_last_so_that_their_logarithm_is_taken():
    assert FEATURES[-len(VARIANCES) :] == VARIANCES


def test_the_size_of_a_block_changes_nothing(make_market):
    panel = build_panel(make_market(n_symbols=5, n_sessions=100), DATA)
    alone, at_once = (summaries(panel, 42, SPANS, block) for block in (1, 10_000))
    np.testing.assert_array_equal(alone, at_once)
