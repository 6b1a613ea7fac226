"""Parts of the evidence: measured as the gate measures, cut by what was known, and nothing lost between them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from models.config import DataConfig, GateConfig
from models.gate.evidence import Evidence
from models.gate.skill import skill_report
from models.panel import build_panel
from models.slices import SECTORS_SHOWN, Slice, dollar_volume, slices
from models.universe import TRADED_SESSIONS
from tests import synthetic_night

GATE = GateConfig(bootstrap_replicates=100)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return synthetic_night.evidence(60, 60)


def parts_of(frame, sectors=None) -> tuple[Slice, ...]:
    return slices(frame, GATE, reach=5, relative=True, sectors=sectors)


def named(parts, name) -> Slice:
    return next(part for part in parts if part.name == name)


def test_all_rows_come_first_with_the_numbers_that_the_gate_decides_on(frame):
    whole = parts_of(frame)[0]
    gate = skill_report(Evidence.of(frame, GATE, reach=5, relative=True), GATE, ("direction", "volatility")).metrics
    assert whole.auc == (gate["direction_auc"], gate["direction_auc_low"], gate["direction_auc_high"])
    assert (whole.to_har.value, whole.to_har.high) == (gate["volatility_to_har"], gate["volatility_to_har_high"])


def test_every_row_lies_in_one_part_of_each_cut(frame):
    sectors = {symbol: f"sector {k % 5}" for k, symbol in enumerate(sorted(set(frame["symbol"])))}
    parts = parts_of(frame, sectors)
    rows = pd.Series([part.rows for part in parts]).groupby([part.kind for part in parts]).sum()
    assert rows.to_dict() == dict.fromkeys(["all", "sector", "liquidity", "volatility", "time"], len(frame))


def test_skill_in_much_traded_symbols_alone_is_seen_there_and_nowhere_else(frame):
    cut = frame.groupby("session")["dollar_volume"].transform(lambda traded: traded.quantile(0.7))
    known = frame.assign(p_up=frame["direction"].where(frame["dollar_volume"] > cut, frame["reversal"].rank(pct=True)))
    parts = parts_of(known)
    assert named(parts, "most traded third").auc.low > 0.8
    assert named(parts, "least traded third").auc.value < 0.6


def test_volatile_sessions_are_those_of_which_a_high_volatility_was_forecast(frame):
    days = np.sort(frame["session"].unique())
    wild = frame["session"].isin(days[10:30])
    forecast = frame.assign(
        volatility_har=frame["volatility_har"].where(~wild, 1.0), p_up=frame["direction"].where(wild, 0)
    )
    parts = parts_of(forecast)
    assert (named(parts, "volatile sessions").sessions, named(parts, "volatile sessions").auc.value) == (20, 1.0)
    assert named(parts, "calm sessions").auc.value == 0.5


def test_the_last_quarter_of_the_sessions_stands_against_those_before(frame):
    parts = parts_of(frame)
    assert (named(parts, "older sessions").sessions, named(parts, "last 15 sessions").sessions) == (45, 15)


def test_a_part_of_too_few_sessions_has_a_value_and_no_interval(frame):
    recent = named(parts_of(frame), "last 15 sessions")
    assert 0.4 < recent.auc.value < 0.7
    assert np.isnan([recent.auc.low, recent.auc.high]).all()


def test_what_a_frame_does_not_know_it_is_not_cut_by(frame):
    kinds = {part.kind for part in parts_of(frame.drop(columns=["dollar_volume", "volatility_har"]))}
    assert kinds == {"all", "time"}
    assert parts_of(frame.iloc[:0]) == ()


def test_many_small_sectors_stand_together(frame):
    sectors = {symbol: f"sector {k:02d}" for k, symbol in enumerate(sorted(set(frame["symbol"])))}
    shown = [part for part in parts_of(frame, sectors) if part.kind == "sector"]
    assert len(shown) == SECTORS_SHOWN + 1
    assert shown[-1].name == f"{60 - SECTORS_SHOWN} other sectors"


@pytest.fixture(scope="module")
def bars(make_market) -> pd.DataFrame:
    return make_market(n_symbols=25, n_sessions=80)


def test_dollar_volume_is_the_median_of_the_sessions_up_to_the_row(bars):
    absent = bars.drop(index=[70, 75]).reset_index(drop=True)
    panel = build_panel(absent, DataConfig())
    rows = np.flatnonzero(panel.present & (panel.session >= 60))
    own = absent.assign(traded=absent["close"] * absent["volume"]).groupby("symbol")["traded"]
    plain = own.rolling(TRADED_SESSIONS, min_periods=1).median().to_numpy()[(panel.session[panel.present] >= 60)]
    late = panel.session_of(rows) >= panel.sessions[-1]
    np.testing.assert_allclose(dollar_volume(panel, rows)[late], plain[late], rtol=1e-6)


def test_dollar_volume_does_not_know_later_bars(bars):
    panel = build_panel(bars, DataConfig())
    days = np.sort(bars["session"].unique())
    past = build_panel(bars[bars["session"] <= days[60]], DataConfig())
    whole, cut = (dollar_volume(one, np.flatnonzero(one.session == 60)) for one in (panel, past))
    np.testing.assert_array_equal(whole, cut)


def test_the_parts_of_one_cut_lie_together(frame):
    kinds = [part.kind for part in parts_of(frame)]
    assert sum(one != other for one, other in pairwise(kinds)) == len(set(kinds)) - 1
