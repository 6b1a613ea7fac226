"""Drift: a session as far from the others as they are from one another is usual, another one is told."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from expectations.drift import check_drift
from models.config import RetrainConfig
from models.drift import FEWEST_ROWS, FEWEST_SESSIONS, SESSIONS, column_drift, drift, feature_drift
from models.panel import BAR_COLUMNS, build_panel

CONFIG = RetrainConfig.model_validate({"network": {"window": 21, "spans": [1, 3, 8]}})


@pytest.fixture(scope="module")
def bars(make_market) -> pd.DataFrame:
    return make_market(n_symbols=60, n_sessions=140)


def drifted(measured) -> set[str]:
    return {one.name for one in measured if one.excess > 1}


def tonight(bars: pd.DataFrame) -> pd.Series:
    return bars["session"] == bars["session"].max()


def of_features(bars: pd.DataFrame):
    return feature_drift(bars, build_panel(bars, CONFIG.data).market, CONFIG)


def test_distances_are_those_of_the_two_sample_test():
    random = np.random.default_rng(1)
    session = np.repeat(np.arange(31), 50)
    values = random.normal(size=(len(session), 1))
    (one,) = drift(["a"], values, session, 31)
    pool = values[session < 30, 0]
    assert one.tonight == pytest.approx(ks_2samp(values[session == 30, 0], pool).statistic, abs=1e-5)
    assert one.earlier[7] == pytest.approx(ks_2samp(values[session == 7, 0], pool).statistic, abs=1e-5)
    assert len(one.earlier) == 30


def test_sessions_that_move_together_are_no_drift():
    random = np.random.default_rng(2)
    session = np.repeat(np.arange(61), 50)
    factor = 3 * random.normal(size=61)
    factor[-1] = np.sort(factor)[3]  # far out, and not farther than others
    (one,) = drift(["a"], (random.normal(size=len(session)) + factor[session])[:, None], session, 61)
    assert one.tonight > 0.5
    assert one.excess < 1


@pytest.mark.parametrize(("n_sessions", "n_rows"), [(FEWEST_SESSIONS, 50), (61, FEWEST_ROWS - 1)])
def test_with_too_few_sessions_or_symbols_nothing_is_said(n_sessions, n_rows):
    session = np.repeat(np.arange(n_sessions), n_rows)
    assert drift(["a"], np.ones((len(session), 1)), session, n_sessions) == ()


def test_a_column_that_never_varied_and_now_does_has_drifted():
    session = np.repeat(np.arange(30), 50)
    values = np.where(session == 29, np.arange(len(session)) % 2, 0.0)[:, None]
    (one,) = drift(["a"], values, session, 30)
    assert one.excess > 1
    (same,) = drift(["a"], np.zeros((len(session), 1)), session, 30)
    assert same.excess == 0


def test_a_usual_session_has_not_drifted(bars):
    assert drifted(column_drift(bars)) == set()
    measured = of_features(bars)
    assert drifted(measured) == set()
    assert len(measured[0].earlier) == SESSIONS


def test_volume_in_another_unit_has_drifted(bars):
    lots = bars.assign(volume=bars["volume"].where(~tonight(bars), bars["volume"] / 100))
    assert drifted(column_drift(lots)) == {"volume"}
    assert {"volume_change_1", "volume_change_3"} <= drifted(of_features(lots))


def test_prices_without_a_range_have_drifted_where_the_columns_have_not(bars):
    flat = bars.copy()
    for name in ("open", "high", "low"):
        flat.loc[tonight(bars), name] = flat.loc[tonight(bars), "close"]
    assert drifted(column_drift(flat)) == set()
    assert {"range_variance_1", "garman_klass_1"} <= drifted(of_features(flat))


def test_the_features_are_those_that_the_network_reads_of_the_same_rows(bars):
    short = bars[bars["session"] >= np.sort(bars["session"].unique())[-SESSIONS - 1 - 2 * 21 - 5]]
    market = build_panel(bars, CONFIG.data).market
    whole = feature_drift(bars, market, CONFIG)
    part = feature_drift(short.reset_index(drop=True), market.iloc[-len(short["session"].unique()) :], CONFIG)
    assert [one.tonight for one in whole] == [one.tonight for one in part]


def test_what_has_drifted_is_told_at_level_warn_the_farthest_first(bars):
    broken = bars.copy()
    broken.loc[tonight(bars), "volume"] /= 100
    findings = {
        found.rule: found for found in check_drift(column_drift(broken), of_features(bars), name="n", docs=None)
    }
    assert findings["column_drift"].level == "warn"
    assert (findings["column_drift"].count, findings["column_drift"].held) == (1, False)
    assert findings["column_drift"].examples[0].startswith("volume: ")
    assert findings["feature_drift"].held


def test_without_a_measure_there_is_no_finding():
    assert check_drift((), (), name="n", docs=None) == ()


def test_columns_are_those_that_are_delivered(bars):
    assert [one.name for one in column_drift(bars)] == list(BAR_COLUMNS)
