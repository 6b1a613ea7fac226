"""Splits and distributions: stated, inferred, confirmed, contradicted."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.actions import SIMPLE_RATIOS, SMALLEST
from models.bar_columns import judged_bars
from models.cleaning import Judged
from models.config import DataConfig, RetrainConfig
from models.panel import PRICES, build_panel
from models.synthetic import MarketSettings, synthetic_market
from models.targets import compute_targets

AT = 100
"""Bar of the first symbol at which a split is planted."""
PLAIN = synthetic_market(MarketSettings(symbols=25, sessions=160, seed=4)).bars


def split_at(ratio: float, at: int = AT, symbol: str = "S00000") -> pd.DataFrame:
    """A quiet market of 25 symbols in which one has split; nobody says so."""
    bars = PLAIN.copy()
    own = np.flatnonzero(bars["symbol"] == symbol)[:at]
    bars.loc[own, list(PRICES)] *= ratio
    bars.loc[own, "volume"] /= ratio
    return bars


def judged(bars: pd.DataFrame) -> Judged:
    return judged_bars(bars, DataConfig())


def suspect_sessions(bars: pd.DataFrame) -> list[str]:
    found = judged(bars)
    rows = np.flatnonzero(found.kept)[found.suspects.rows]
    return [f"{bar.symbol} {bar.session:%Y-%m-%d}" for bar in bars.iloc[rows].itertuples()]


def session_of(at: int) -> pd.Timestamp:
    return PLAIN["session"].iloc[at]


@pytest.mark.parametrize("ratio", [r for r in SIMPLE_RATIOS if abs(np.log(r)) > 0.28])
def test_an_unstated_split_is_suspect_whatever_its_ratio(ratio):
    found = judged(split_at(ratio)).suspects
    assert found.rows.tolist() == [AT]
    assert found.ratio.tolist() == pytest.approx([ratio])


def test_an_unstated_split_starts_a_new_segment_also_on_the_night_on_which_it_comes():
    bars = split_at(2)
    tonight = bars[bars["session"] <= session_of(AT)].reset_index(drop=True)
    for known in (bars, tonight):
        panel = build_panel(known, DataConfig())
        starts = panel.session_of(panel.offsets[:-1][panel.segments > 0]).astype("datetime64[s]")
        assert starts.tolist() == [session_of(AT).to_pydatetime()]


def test_no_target_reaches_across_an_unstated_split():
    volatility = compute_targets(build_panel(split_at(2), DataConfig()), RetrainConfig().targets).volatility
    assert np.nanmax(volatility) < 0.2  # a fall by half within five sessions would make it 0.3


def stated(bars: pd.DataFrame, ratio: float, at: int = AT) -> pd.DataFrame:
    return bars.assign(split_ratio=np.where(bars.index == at, ratio, np.nan))


def confirmed(how: str, ratio: float) -> tuple[pd.DataFrame, DataConfig]:
    bars, data = split_at(ratio), DataConfig()
    if how == "a later delivery states it":
        bars = stated(bars, ratio)
    elif how == "an adjusted close of a later delivery":
        bars = bars.assign(adj_close=PLAIN["close"])
    elif how == "an adjusted close that steps a session early":
        early = PLAIN["close"].where(PLAIN.index != AT - 1, PLAIN["close"] * ratio)
        bars = bars.assign(adj_close=early)
    elif how == "a person":
        bars = bars.assign(ruling=np.where(bars.index == AT, ratio, np.nan))
    elif how == "the configuration":
        data = DataConfig(splits={"S00000": {session_of(AT).date(): ratio}})
    else:
        bars = stated(bars, ratio, AT + 2)
    return bars, data


@pytest.mark.parametrize(
    "how",
    [
        "a later delivery states it",
        "an adjusted close of a later delivery",
        "an adjusted close that steps a session early",
        "a person",
        "the configuration",
        "stated two sessions late",
    ],
)
@settings(max_examples=4, deadline=None)
@given(ratio=st.sampled_from([r for r in SIMPLE_RATIOS if 0.28 < abs(np.log(r)) < 3]))
def test_a_confirmed_split_is_joined_and_its_targets_are_those_of_the_unsplit_series(how, ratio):
    bars, data = confirmed(how, ratio)
    joined, plain = build_panel(bars, data), build_panel(PLAIN, DataConfig())
    assert (joined.segments == 0).all()
    for head in ("direction", "volatility", "magnitude"):
        targets = [getattr(compute_targets(panel, RetrainConfig().targets), head) for panel in (joined, plain)]
        np.testing.assert_allclose(*targets, rtol=0, atol=1e-9)


def test_a_person_who_dismisses_a_suspect_keeps_the_series_whole():
    bars = split_at(2).assign(ruling=np.where(PLAIN.index == AT, 1.0, np.nan))
    panel = build_panel(bars, DataConfig())
    assert (panel.segments == 0).all()
    assert panel.bars[AT - 1, 3] / panel.bars[AT, 3] > 1.8


@pytest.mark.parametrize("ratio", [2.0, 0.303582, 50.0])
def test_a_stated_split_that_prices_contradict_is_told_and_not_applied(ratio):
    bars = stated(PLAIN, ratio)
    assert np.flatnonzero(judged(bars).factors.contradicted).tolist() == [AT]
    np.testing.assert_array_equal(build_panel(bars, DataConfig()).bars, build_panel(PLAIN, DataConfig()).bars)


def test_a_stated_ratio_too_small_for_prices_to_judge_is_applied():
    bars = stated(PLAIN, 1.05)
    panel = build_panel(bars, DataConfig())
    assert abs(np.log(1.05)) < SMALLEST
    assert panel.bars[AT - 1, 3] == pytest.approx(PLAIN["close"][AT - 1] / 1.05)


def test_a_special_dividend_is_taken_out_of_prices_and_not_of_volume():
    bars = PLAIN.copy()
    own = np.arange(AT)
    bars.loc[own, list(PRICES)] *= 1.6
    paid = bars["close"][AT - 1] * (1 - 1 / 1.6)
    panel = build_panel(bars.assign(dividend=np.where(bars.index == AT, paid, 0.0)), DataConfig())
    assert (panel.segments == 0).all()
    np.testing.assert_allclose(panel.bars, build_panel(PLAIN, DataConfig()).bars, rtol=1e-6)


def test_an_ordinary_dividend_and_an_impossible_one_change_nothing():
    close = PLAIN["close"][AT - 1]
    for paid in (0.01 * close, 60 * close):
        bars = PLAIN.assign(dividend=np.where(PLAIN.index == AT, paid, 0.0))
        np.testing.assert_array_equal(build_panel(bars, DataConfig()).bars, build_panel(PLAIN, DataConfig()).bars)


def test_a_crash_that_was_traded_through_stays_in_its_series():
    bars = split_at(2)
    own = np.arange(AT, 160)
    bars.loc[own, "volume"] /= 2
    bars.loc[AT, "volume"] *= 12
    bars.loc[AT, "low"] *= 0.8
    assert judged(bars).suspects.rows.tolist() == []


def test_the_eight_large_moves_of_the_demo_panel_are_told_apart(demo_bars):
    found = suspect_sessions(demo_bars)
    assert found == [
        "CAH 2009-09-01",  # the spin-off of CareFusion, 31 %: below the jump limit
        "DHR 2010-06-14",
        "ESRX 2010-06-08",
        "ETFC 2010-06-30",
        "GIS 2010-06-09",
        "STR 2010-07-01",
        "WY 2010-07-20",
    ]  # the takeover of ARG on 2010-02-05 and of MFE on 2010-08-19 are not among them


def test_ratios_of_the_demo_panel_s_splits_are_read_from_prices(demo_bars):
    found = judged(demo_bars).suspects
    assert found.ratio[[1, 2, 4]].tolist() == [2, 2, 2]  # DHR, ESRX, GIS
    assert np.isnan(found.ratio[6])  # WY paid 26.51 of 41.83 dollars out: no simple ratio


@settings(max_examples=6, deadline=None)
@given(power=st.integers(-6, 6))
def test_prices_in_another_unit_change_no_answer(power):
    bars = split_at(3)
    scaled = bars.assign(**{name: bars[name] * 10.0**power for name in PRICES})
    assert suspect_sessions(scaled) == suspect_sessions(bars)


def test_fat_tails_raise_next_to_no_alarm():
    bars = synthetic_market(MarketSettings(symbols=60, sessions=1000, tail=3.0, seed=9)).bars
    found = judged(bars)
    alarms = len(found.suspects.rows) + int(found.ticks.absent.sum()) + int(found.ticks.busted_print.sum())
    assert alarms == 0  # as in docs/data.md, of 60,000 bars


def test_another_company_under_the_same_symbol_starts_a_series_for_good():
    begins = (session_of(AT) + pd.Timedelta(hours=0)).date()
    panel = build_panel(PLAIN, DataConfig(renames={"S00000": (begins, date(2030, 1, 1)), "NOBODY": (begins,)}))
    assert panel.symbols[panel.segments > 0].tolist() == ["S00000"]
    assert panel.session_of(panel.offsets[1:2]).astype("datetime64[D]").tolist() == [begins]
