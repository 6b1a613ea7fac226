"""Who belongs to the universe: point in time, by list and by rule, and what a night makes of the others."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import DataConfig, RetrainConfig, StorageConfig
from models.dataset import Dataset
from models.errors import ConfigError
from models.locations import Locations
from models.panel import build_panel
from models.store import BarsStore
from models.universe import TRADED_SESSIONS, ended_series, members, read_list, sessions_before
from tasks.ingest import bring_in

N = 40
END = datetime(2042, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bars(make_market) -> pd.DataFrame:
    return make_market(4, N)


def rule(**universe) -> DataConfig:
    return DataConfig.model_validate({"universe": universe, "min_universe": 2})


def of(bars: pd.DataFrame, member: np.ndarray, symbol: str) -> list[bool]:
    return member[(bars["symbol"] == symbol).to_numpy()].tolist()


def test_a_name_needs_bars_in_nine_tenths_of_its_history(bars):
    gone = (bars["symbol"] == "S001") & bars["session"].isin(bars["session"].unique()[[20, 21]])
    left = bars[~gone].reset_index(drop=True)
    member = members(left, rule(min_history=10))
    assert of(left, member, "S000") == [False] * 8 + [True] * 32  # nine of ten sessions are enough
    assert of(left, member, "S001") == [False] * 8 + [True] * 12 + [False] * 8 + [True] * 10


def test_a_name_needs_its_dollar_volume_as_the_median_of_a_month(bars):
    richer = bars.assign(volume=np.where(bars["session"] >= bars["session"].unique()[20], 2e6, 1e3), close=10.0)
    richer.loc[5, "volume"] = 1e12
    member = members(richer, rule(min_dollar_volume=1e7))
    assert of(richer, member, "S000") == [False] * 30 + [True] * 10  # 11 of the last 21 sessions


def test_an_absence_longer_than_a_month_leaves_one_bar_to_judge_by(bars):
    one = bars[bars["symbol"] == "S000"]
    days = one["session"].unique()
    thin = pd.concat([bars[bars["symbol"] != "S000"], one[one["session"].isin([days[0], days[39]])].assign(volume=1e9)])
    thin = thin.sort_values(["symbol", "session"], ignore_index=True)
    thin.loc[0, "volume"] = 1.0
    assert of(thin, members(thin, rule(min_dollar_volume=1e6)), "S000") == [False, True]


def listed(tmp_path, text: str) -> DataConfig:
    (tmp_path / "members.csv").write_text(text)
    return rule(file=str(tmp_path / "members.csv"))


def test_a_list_says_when_a_name_came_and_went(bars, tmp_path):
    days = bars["session"].dt.date.unique()
    text = f"Symbol,from,until\nS000,,\nS001,{days[3]},{days[4]}\nS001,{days[8]},\nS002,,{days[1]}\nNOBODY,,\n"
    member = members(bars, listed(tmp_path, text))
    assert all(of(bars, member, "S000"))
    assert np.flatnonzero(of(bars, member, "S001")).tolist() == [3, 4, *range(8, N)]
    assert np.flatnonzero(of(bars, member, "S002")).tolist() == [0, 1]
    assert not any(of(bars, member, "S003"))


def test_a_list_of_symbols_alone_is_enough(bars, tmp_path):
    member = members(bars, listed(tmp_path, "symbol\nS001\n S002 \n"))
    assert sorted(bars["symbol"][member].unique()) == ["S001", "S002"]


NO_LISTS = {
    "ticker\nA\n": "its columns are ticker",
    "symbol;from\nA;2015-01-01\n": "its columns are symbol;from",
    "symbol,from\nA,2015-13-01\n": "from of A is '2015-13-01'",
    "symbol,from\nA,5 Jan 2015\n": "from of A is '5 Jan 2015'",
    "symbol,from\nA,1994-05-02,2008-09-15\n": "more fields than the header",
    "symbol,Symbol\nA,B\n": "names a column twice",
    "symbol,from,until\nA,2015-01-05,2014-12-31\n": r"from is later than until in 1 of its lines \(A\)",
    "symbol,start,end\nA,2015-01-05,\n": "there are dates in its column start",
    "": "No columns",
}


@pytest.mark.parametrize("text", NO_LISTS)
def test_what_is_no_list_is_refused_with_what_it_takes(bars, tmp_path, text):
    with pytest.raises(ConfigError, match=NO_LISTS[text]) as refused:
        members(bars, listed(tmp_path, text))
    assert "column symbol and, for names that came or went, from and until" in str(refused.value)


def test_a_symbol_may_look_like_a_missing_value(tmp_path):
    (tmp_path / "members.csv").write_bytes("\ufeffsymbol,from,name\nNA,2015-01-05,National\nNULL, ,\n,,\n".encode())
    assert read_list(str(tmp_path / "members.csv"))["symbol"].tolist() == ["NA", "NULL"]


def test_a_list_that_is_not_there_is_refused(bars):
    with pytest.raises(ConfigError, match=r"cannot be read .FileNotFoundError.*Put the list of members there"):
        members(bars, rule(file="/nowhere/members.csv"))


@given(st.integers(0, N - 1), st.integers(0, N - 1))
def test_membership_knows_nothing_of_later_bars_and_nothing_of_too_early_ones(first, length):
    frame = pd.DataFrame(
        {
            "symbol": np.repeat(["A", "B", "C"], N),
            "session": np.tile(pd.bdate_range("2015-01-05", periods=N), 3),
            "close": np.random.default_rng(1).lognormal(size=3 * N),
            "volume": np.random.default_rng(2).lognormal(10, 1, 3 * N),
        }
    )
    frame = frame[np.random.default_rng(3).random(len(frame)) > 0.1].reset_index(drop=True)
    data = rule(min_history=5, min_dollar_volume=15_000)
    whole = members(frame, data)
    days = np.sort(frame["session"].unique())
    cut = days[first : first + length + 1]
    read = frame["session"].between(cut[0] - pd.Timedelta(days=60), cut[-1])
    warm = frame["session"].isin(days[max(first - sessions_before(data.universe), 0) : first + length + 1])
    part = frame[read & warm]
    inside = part["session"].isin(cut).to_numpy()
    assert members(part.reset_index(drop=True), data)[inside].tolist() == whole[frame["session"].isin(cut)].tolist()


def test_rows_of_others_are_no_training_rows_and_do_not_move_market_or_median(make_market):
    bars = make_market(12, 160)
    wild = bars["symbol"].isin(["S000", "S001", "S002"])
    bars["member"] = ~wild
    config = RetrainConfig.model_validate({"data": {"min_universe": 2}, "network": {"window": 21, "spans": [1, 3, 8]}})
    calm = bars[~wild].drop(columns="member").reset_index(drop=True)
    panel, alone = build_panel(bars, config.data), build_panel(calm, config.data)
    np.testing.assert_array_equal(panel.market_return, alone.market_return)
    ours, theirs = Dataset.of(bars, panel.market, config), Dataset.of(calm, alone.market, config)
    assert set(ours.panel.symbol_of(ours.rows)) == set(calm["symbol"])
    np.testing.assert_array_equal(ours.targets.direction[ours.rows], theirs.targets.direction[theirs.rows])


def test_names_that_ended_are_told_from_those_that_are_only_absent(bars):
    days = bars["session"].unique()
    last = pd.Timestamp(days[-1]).date()
    gone = (bars["symbol"] == "S001") & (bars["session"] > days[N - 23])
    absent = (bars["symbol"] == "S002") & (bars["session"] > days[N - 20])
    ended = ended_series(bars[~gone & ~absent], last, DataConfig(gap_sessions=20))
    assert ended.to_dict() == {"S000": False, "S001": True, "S002": False, "S003": False}


@pytest.fixture(scope="module")
def store(make_market, tmp_path_factory) -> BarsStore:
    home = tmp_path_factory.mktemp("universe")
    bars = make_market(4, 80)
    bars.drop(columns="session").to_csv(home / "bars.csv", index=False)
    config = RetrainConfig(storage=StorageConfig(home=str(home)))
    bring_in(str(home / "bars.csv"), config, None, datetime(2026, 1, 2, tzinfo=UTC))
    return BarsStore(Locations(config.storage))


def test_a_snapshot_looks_back_before_its_first_session_to_know_who_belongs(store):
    last = store.last_session()
    config = RetrainConfig(data=rule(min_history=30).model_copy(update={"lookback_sessions": 10}))
    bars, snapshot = store.snapshot(last, END, config)
    assert bars["session"].nunique() == 10
    assert bars["member"].all()
    assert (snapshot.members, snapshot.ended, snapshot.rows) == (4, 0, 40)


def test_who_belongs_after_a_hole_does_not_depend_on_how_far_back_is_read(make_market, tmp_path):
    bars = make_market(4, 120)
    days = bars["session"].unique()
    bars[~bars["session"].isin(days[40:60])].drop(columns="session").to_csv(tmp_path / "bars.csv", index=False)
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path / "home")))
    bring_in(str(tmp_path / "bars.csv"), config, None, datetime(2026, 1, 2, tzinfo=UTC))
    holed, last = BarsStore(Locations(config.storage)), days[-1].date()
    whole = holed.of_universe(END, days[0].date(), last, rule(min_history=30))
    part = holed.of_universe(END, days[65].date(), last, rule(min_history=30))
    pd.testing.assert_frame_equal(part, whole[whole["session"] >= days[65]].reset_index(drop=True))
    assert part["member"].all()


def test_another_list_makes_another_snapshot(store, tmp_path):
    last = store.last_session()
    hashes = set()
    for text in ("symbol\nS000\n", "symbol\nS000\nS001\n"):
        _, snapshot = store.snapshot(last, END, RetrainConfig(data=listed(tmp_path, text)))
        hashes.add(snapshot.hash)
    assert len(hashes) == 2


def test_without_a_universe_nothing_is_added_to_the_bars(store):
    bars, snapshot = store.snapshot(store.last_session(), END, RetrainConfig())
    assert "member" not in bars
    assert snapshot.members == 4


def test_how_far_a_rule_looks_back():
    assert sessions_before(rule().universe) == 0
    assert sessions_before(rule(min_history=5, min_dollar_volume=1).universe) == TRADED_SESSIONS
    assert not rule().universe.asks
    assert rule(min_history=1).universe.asks
