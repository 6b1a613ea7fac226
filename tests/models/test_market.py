"""The market's return comes from the stored table, so no prediction depends on the batch it is made in."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from models.config import DataConfig, StorageConfig
from models.locations import Locations
from models.market import market_of
from models.store import BarsStore

AS_OF = datetime(2016, 1, 1, tzinfo=UTC)
LATER = datetime(2016, 1, 2, tzinfo=UTC)
DATA = DataConfig()


@pytest.fixture
def store(tmp_path) -> BarsStore:
    return BarsStore(Locations(StorageConfig(home=str(tmp_path))))


@pytest.fixture
def bars(make_market) -> pd.DataFrame:
    return make_market(n_symbols=25, n_sessions=12)


def test_the_markets_return_is_the_median_log_return_of_each_session(store, bars):
    closes = bars.pivot_table(index="session", columns="symbol", values="close")
    expected = np.log(closes).diff().median(axis=1).fillna(0)
    np.testing.assert_allclose(market_of(store, bars, DATA, AS_OF), expected, atol=1e-6)


def test_a_shorter_look_keeps_the_return_of_its_first_session(store, bars):
    whole = market_of(store, bars, DATA, AS_OF)
    recent = bars[bars["session"] >= whole.index[6]].reset_index(drop=True)
    pd.testing.assert_series_equal(market_of(store, recent, DATA, LATER), whole.iloc[6:])


def test_the_first_session_of_the_first_look_has_no_return(store, bars):
    assert market_of(store, bars, DATA, AS_OF).iloc[0] == 0


def test_a_universe_that_has_become_too_small_has_no_market(store, bars):
    market_of(store, bars, DATA, AS_OF)
    few = bars[bars["symbol"].isin(bars["symbol"].unique()[:15]) & (bars["session"] > bars["session"].min())]
    assert not market_of(store, few.reset_index(drop=True), DATA, LATER).any()


def test_restated_bars_change_the_market_from_then_on_only(store, bars):
    before = market_of(store, bars, DATA, AS_OF)
    restated = bars.assign(close=bars["close"].where(bars["session"] != before.index[5], bars["close"] * 1.01))
    after = market_of(store, restated, DATA, LATER)
    assert np.flatnonzero((before != after).to_numpy()).tolist() == [5, 6]
    pd.testing.assert_series_equal(store.market_as_known(AS_OF), before.iloc[1:], check_names=False)
