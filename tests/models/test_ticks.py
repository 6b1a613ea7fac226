"""Bad ticks: what is suspect, what is not, and what the panel makes of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import DataConfig
from models.panel import PRICES, build_panel
from models.ticks import LONGEST_RUN, Ticks
from tests.models.test_actions import PLAIN, judged

AT = 160 * 3 + 90
KINDS = ("unit_error", "spike", "zero_volume_move", "stale", "busted_print")


def found(bars: pd.DataFrame) -> dict[str, list[int]]:
    ticks: Ticks = judged(bars).ticks
    rows = {kind: np.flatnonzero(getattr(ticks, kind)).tolist() for kind in KINDS}
    return {kind: at for kind, at in rows.items() if at}


def spoilt(first: int, last: int, **values: float) -> pd.DataFrame:
    """The quiet market with columns of some bars × a factor."""
    bars = PLAIN.copy()
    for name, factor in values.items():
        bars.loc[first:last, name] *= factor
    return bars


def all_prices(factor: float) -> dict[str, float]:
    return dict.fromkeys(PRICES, factor)


def test_a_quiet_market_has_no_suspect_bar():
    assert found(PLAIN) == {}


@settings(max_examples=8, deadline=None)
@given(length=st.integers(1, LONGEST_RUN), up=st.booleans())
def test_prices_in_pence_are_found_for_as_long_as_they_last(length, up):
    bars = spoilt(AT, AT + length - 1, **all_prices(100.0 if up else 0.01))
    assert found(bars) == {"unit_error": list(range(AT, AT + length))}


def test_a_unit_that_stays_is_the_new_one_in_a_segment_of_its_own():
    bars = spoilt(AT, 160 * 4 - 1, **all_prices(100.0))
    panel = build_panel(bars, DataConfig())
    assert len(found(bars)["unit_error"]) == LONGEST_RUN
    assert panel.symbols[panel.segments > 0].tolist() == ["S00003"]


@pytest.mark.parametrize("ratio", [100.0, 0.01])
def test_a_split_of_a_hundred_moves_the_volume_too_and_is_no_other_unit(ratio):
    bars = spoilt(AT, 160 * 4 - 1, **all_prices(1 / ratio), volume=ratio)
    assert found(bars) == {}
    assert judged(bars).suspects.rows.tolist() == [AT]


@pytest.mark.parametrize("factor", [1.5, 0.5, 0.1])
@pytest.mark.parametrize("length", [1, 2])
def test_a_price_far_out_and_back_is_a_spike(factor, length):
    assert found(spoilt(AT, AT + length - 1, **all_prices(factor))) == {"spike": list(range(AT, AT + length))}


def test_a_last_print_far_off_is_a_spike():
    assert found(spoilt(AT, AT, close=0.04, low=0.04)) == {"spike": [AT]}


def test_a_move_that_stays_is_no_spike():
    assert "spike" not in found(spoilt(AT, 160 * 4 - 1, **all_prices(0.5)))


def test_a_wild_day_that_was_traded_through_and_comes_back_is_no_spike():
    bars = spoilt(AT, AT, close=0.6, low=0.6)
    bars.loc[AT + 1, "open"] = bars["close"][AT]
    bars.loc[AT + 1, "low"] = min(bars["low"][AT + 1], bars["close"][AT])
    assert "spike" not in found(bars)


@pytest.mark.parametrize("bad", [{"low": 0.04}, {"high": 3.0}])
def test_a_busted_print_is_taken_out_of_the_range_and_its_close_stays(bad):
    bars = spoilt(AT, AT, **bad)
    panel = build_panel(bars, DataConfig())
    bar = panel.bars[(panel.session == 90) & (panel.symbols[panel.series] == "S00003")][0]
    assert found(bars) == {"busted_print": [AT]}
    assert bar[3] == np.float32(bars["close"][AT])
    assert bar[1] / bar[2] < 1.2


def test_a_busted_open_is_brought_back_beside_the_prices_around_it():
    bars = spoilt(AT, AT, open=0.5)
    bars.loc[AT, "low"] = bars["open"][AT]
    panel = build_panel(bars, DataConfig())
    bar = panel.bars[(panel.session == 90) & (panel.symbols[panel.series] == "S00003")][0]
    around = sorted(bars["close"][[AT - 1, AT]])
    assert found(bars) == {"busted_print": [AT]}
    assert around[0] * 0.999 <= bar[0] <= around[1] * 1.001


def test_a_low_that_the_market_shared_is_believed():
    bars, day = PLAIN.copy(), PLAIN["session"][AT]
    shared = bars["session"] == day
    bars.loc[bars["session"] >= day, list(PRICES)] *= 0.93
    bars.loc[shared, "low"] *= 0.7
    assert found(bars) == {}


def test_a_move_without_a_trade_is_no_price():
    bars = spoilt(AT, AT, **all_prices(1.05), volume=0.0)
    assert found(bars) == {"zero_volume_move": [AT]}


def test_a_symbol_without_volumes_may_move():
    bars = PLAIN.assign(volume=0.0)
    assert found(bars) == {}


def test_a_price_that_stands_still_is_believed_for_a_while():
    bars = PLAIN.copy()
    bars.loc[AT : AT + 7, list(PRICES)] = bars["close"][AT]
    assert found(bars) == {"stale": [AT + 5, AT + 6, AT + 7]}


def test_suspect_bars_are_absent_and_no_return_runs_over_them():
    bars = spoilt(AT, AT, **all_prices(1.5))
    panel = build_panel(bars, DataConfig())
    assert (len(bars) - panel.present.sum(), (panel.segments > 0).sum()) == (1, 0)
    kept = build_panel(bars, DataConfig(suspect_bars="keep"))
    assert kept.present.sum() == len(bars)


@settings(max_examples=4, deadline=None)
@given(power=st.integers(-6, 6))
def test_prices_in_another_unit_change_no_answer(power):
    bars = spoilt(AT, AT, low=0.2)
    assert found(bars.assign(**{name: bars[name] * 10.0**power for name in PRICES})) == found(bars)


def test_the_busted_prints_of_the_demo_panel_are_told_from_genuine_lows_of_the_same_day(demo_bars):
    rows = demo_bars.iloc[found(demo_bars)["busted_print"]]
    crash = rows.loc[rows["session"] == "2010-05-06", "symbol"].tolist()
    assert crash == ["CNP", "CTL", "IPG", "PM"]  # PG 39.37, ADP 26.46, OKE 29.56 and WIN 6.02 were traded
    assert len(rows) == 9
