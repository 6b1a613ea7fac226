from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bar_columns import (
    conflicting,
    history_columns,
    row_columns,
    schema_columns,
    session_columns,
    symbols_are_safe,
)
from models.calendar import Calendar
from models.config import DataConfig

XNYS = Calendar("XNYS")
NOW = datetime(2024, 7, 8, 22, tzinfo=UTC)
WEEK = ["2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08"]  # Independence Day left out
NOTHING = pd.DataFrame({"symbol": pd.Series([], dtype="str"), "session": pd.Series([], dtype="datetime64[s]")})


def bars(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Flat bars of (symbol, session, price)."""
    symbols, sessions, prices = zip(*rows, strict=True)
    session = pd.Series(pd.to_datetime(list(sessions))).astype("datetime64[s]")
    frame = pd.DataFrame({"symbol": pd.Series(symbols, dtype="str"), "session": session})
    frame["timestamp"] = session.astype("datetime64[us]").dt.tz_localize("UTC")
    return frame.assign(**dict.fromkeys(("open", "high", "low", "close"), np.array(prices, float)), volume=100.0)


def history_of(frame: pd.DataFrame, history: pd.DataFrame | None = None) -> pd.DataFrame:
    return history_columns(frame, frame.iloc[:0] if history is None else history, DataConfig())


def test_a_missing_column_is_found_as_nothing():
    schema = schema_columns(bars(("A", WEEK[0], 1)).drop(columns="volume"))
    assert schema.set_index("column").loc["volume", "found"] == "nothing"


def test_text_in_a_price_column_is_found_as_text():
    schema = schema_columns(bars(("A", WEEK[0], 1)).assign(close="n/a"))
    assert schema.set_index("column").loc["close", "found"] == "text"


def test_a_canonical_frame_is_found_as_wanted():
    schema = schema_columns(bars(("A", WEEK[0], 1)))
    assert schema["found"].tolist() == schema["wanted"].tolist()


@pytest.mark.parametrize(
    "symbol", ["AAPL", "BRK.B", "BF-B", "^GSPC", ".DJI", "ES=F", "600519.SS", "BAC PRL", "A", "0700"]
)
def test_symbols_of_real_markets_are_safe(symbol):
    assert symbols_are_safe(pd.Series([symbol]))[0]


@pytest.mark.parametrize(
    "symbol", ["", " A", "A ", "../A", "A/B", "A\\B", "<b>A", "A&B", "A'B", "A\nB", "A\n", "..", "=cmd", "Ä", "A" * 33]
)
def test_symbols_that_could_leave_a_path_or_a_page_are_not_safe(symbol):
    assert not symbols_are_safe(pd.Series([symbol]))[0]


def test_the_excess_over_the_order_of_prices_is_relative_to_the_highest_price():
    frame = bars(("A", WEEK[0], 100)).assign(high=99.0)
    assert row_columns(frame, XNYS, NOW)["ohlc_excess"][0] == pytest.approx(0.01)


@given(
    st.lists(st.floats(0.01, 1e6), min_size=4, max_size=4),
    st.floats(1e-3, 1e3),
)
def test_the_excess_does_not_depend_on_the_unit_of_price(prices, factor):
    frame = bars(("A", WEEK[0], 1))
    for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
        frame[name] = price
    scaled = frame.assign(**{name: frame[name] * factor for name in ("open", "high", "low", "close")})
    excess = [row_columns(each, XNYS, NOW)["ohlc_excess"][0] for each in (frame, scaled)]
    assert excess[0] == pytest.approx(excess[1], abs=1e-12)


def test_a_holiday_is_no_session_and_a_missing_date_is_left_to_another_rule():
    frame = bars(("A", "2024-07-04", 1), ("A", WEEK[0], 1))
    frame.loc[1, "session"] = pd.NaT
    assert row_columns(frame, XNYS, NOW)["in_session"].tolist() == [False, True]


def test_days_ahead_are_counted_from_the_date_at_the_exchange():
    late = datetime(2024, 7, 9, 2, tzinfo=UTC)  # still the evening of the 8th in New York
    frame = bars(("A", "2024-07-08", 1), ("A", "2024-07-09", 1))
    assert row_columns(frame, XNYS, late)["days_ahead"].tolist() == [0, 1]


def test_missing_and_infinite_values_are_counted_apart():
    frame = bars(("A", WEEK[0], 1)).assign(open=np.nan, close=np.inf, volume=np.nan)
    columns = row_columns(frame, XNYS, NOW)
    assert (columns["missing_values"][0], columns["infinite_values"][0]) == (2, 1)


def test_equal_repeats_do_not_conflict_even_where_a_value_is_missing():
    frame = bars(("A", WEEK[0], 1), ("B", WEEK[0], 1), ("A", WEEK[0], 1)).assign(volume=np.nan)
    assert not conflicting(frame).any()


def test_all_rows_of_a_key_conflict_when_one_of_them_differs():
    frame = bars(("A", WEEK[0], 1), ("B", WEEK[0], 1), ("A", WEEK[0], 2), ("A", WEEK[0], 1), ("A", WEEK[1], 5))
    assert conflicting(frame).tolist() == [True, False, True, True, False]


def test_versions_known_at_different_times_do_not_conflict():
    frame = bars(("A", WEEK[0], 1), ("A", WEEK[0], 2))
    frame["known_at"] = pd.to_datetime(["2024-07-01T21:00Z", "2024-07-02T21:00Z"]).astype("datetime64[us, UTC]")
    assert not conflicting(frame).any()


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(WEEK[:2]), st.sampled_from([1.0, 2.0])), min_size=1))
def test_conflicts_are_those_that_a_plain_group_by_finds(rows):
    frame = bars(*rows)
    plain = frame.groupby(["symbol", "timestamp"])["close"].transform("nunique") > 1
    assert conflicting(frame).tolist() == plain.tolist()


def test_the_previous_close_never_comes_from_another_symbol():
    frame = bars(("A", WEEK[0], 1), ("A", WEEK[1], 2), ("B", WEEK[0], 1000), ("B", WEEK[1], 500))
    np.testing.assert_array_equal(history_of(frame)["previous_close"], [np.nan, 1, np.nan, 1000])


def test_the_previous_close_is_found_in_the_store():
    stored = bars(("A", WEEK[0], 10), ("A", WEEK[1], 20))
    assert history_of(bars(("A", WEEK[2], 25)), stored)["jump"].tolist() == [0.25]


def test_a_session_delivered_again_is_compared_with_the_session_before_it():
    stored = bars(("A", WEEK[0], 10), ("A", WEEK[1], 20))
    assert history_of(bars(("A", WEEK[1], 11)), stored)["previous_close"].tolist() == [10]


def test_a_stated_split_is_no_jump():
    frame = bars(("A", WEEK[0], 100), ("A", WEEK[1], 50)).assign(split_ratio=[0.0, 2.0])
    assert history_of(frame)["jump"][1] == 0


def test_a_stale_run_counts_sessions_and_not_repeated_rows():
    frame = bars(("A", WEEK[0], 7), ("A", WEEK[1], 7), ("A", WEEK[1], 7), ("A", WEEK[2], 8))
    assert history_of(frame)["stale_run"].tolist() == [1, 2, 2, 1]


def test_a_stale_run_goes_on_from_the_store():
    stored = bars(("A", WEEK[0], 7), ("A", WEEK[1], 7))
    assert history_of(bars(("A", WEEK[2], 7)), stored)["stale_run"].tolist() == [3]


@given(st.permutations(range(8)))
def test_history_columns_do_not_depend_on_the_order_of_rows(order):
    frame = bars(*[(symbol, day, price) for symbol, price in (("A", 1), ("B", 9)) for day in WEEK[:4]])
    frame["close"] *= 1 + frame.index.to_numpy() / 10
    shuffled = frame.iloc[order].reset_index(drop=True)
    expected = history_of(frame).iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(history_of(shuffled), expected)


def test_sessions_without_any_bar_are_listed_with_no_symbols():
    frame = bars(("A", WEEK[0], 1), ("A", WEEK[3], 1))
    sessions = session_columns(frame, frame["session"], NOTHING, XNYS)
    assert sessions["symbols"].tolist() == [1, 0, 0, 1]


def test_a_session_that_the_store_has_bars_of_is_not_without_symbols():
    frame = bars(("A", WEEK[0], 1), ("A", WEEK[3], 1))
    stored = np.array([WEEK[0], WEEK[2]], "datetime64[D]")
    sessions = session_columns(frame, frame["session"], NOTHING, XNYS, stored)
    assert sessions["symbols"].tolist() == [1, 0, 1, 1]


def test_the_share_of_the_usual_symbols_needs_five_earlier_sessions():
    days = [*WEEK, "2024-07-09"]
    frame = bars(*[(symbol, day, 1) for day in days for symbol in "ABCD"][:-2])
    six, five = (session_columns(part, part["session"], NOTHING, XNYS) for part in (frame, frame.iloc[4:]))
    assert six["share_of_usual"].iloc[-1] == 0.5
    assert five["share_of_usual"].isna().all()


def test_a_newest_session_of_which_nothing_is_sound_has_no_symbols():
    frame = bars(*[("A", day, 1) for day in [*WEEK, "2024-07-09"]])
    sessions = session_columns(frame.iloc[:-1], frame["session"], NOTHING, XNYS)
    assert sessions["share_of_usual"].iloc[-1] == 0


def test_nothing_sound_and_nothing_stored_gives_no_sessions():
    assert session_columns(NOTHING, NOTHING["session"], NOTHING, XNYS).empty
