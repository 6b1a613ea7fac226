"""Session bars from bars of a part of a session."""

import numpy as np
import pandas as pd
import pytest

from models.calendar import Calendar
from models.session_bars import aggregated, bars_at, moments, usual_spacing, whole_bars

XNYS, ALWAYS, HONG_KONG = Calendar("XNYS"), Calendar("24/7"), Calendar("XHKG")
DAY = "2024-07-02"  # trading in New York from 13:30 to 20:00 UTC


def parts(times: list[str], minutes: float = 30, day: str = DAY, **columns) -> pd.DataFrame:
    """Bars of one symbol whose prices are their number, from 1."""
    price = np.arange(1.0, len(times) + 1)
    frame = pd.DataFrame(
        {
            "symbol": "A",
            "session": pd.Timestamp(day),
            "timestamp": pd.to_datetime([f"{day}T{time}Z" for time in times]).as_unit("us"),
            "open": price,
            "high": price + 0.5,
            "low": price - 0.5,
            "close": price + 0.25,
            "volume": 10.0 * price,
            "minutes": minutes,
        }
    )
    return frame.assign(**columns)


def one_bar(frame: pd.DataFrame, calendar: Calendar = XNYS) -> dict:
    (bar,) = aggregated(frame, np.zeros(len(frame), np.int64), calendar).to_dict("records")
    return bar


def coverage(times: list[str], minutes: float, calendar: Calendar = XNYS, day: str = DAY) -> float:
    return one_bar(parts(times, minutes, day), calendar)["coverage"]


def every(minutes: int, first: str, n_bars: int) -> list[str]:
    start = pd.Timestamp(f"2024-07-02T{first}")
    return [f"{start + k * pd.Timedelta(minutes=minutes):%H:%M}" for k in range(n_bars)]


def test_a_session_bar_is_the_first_the_extremes_the_last_and_the_sum():
    bar = one_bar(parts(["13:30", "14:00", "14:30"]))
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [1, 3.5, 0.5, 3.25, 60]
    assert bar["timestamp"] == pd.Timestamp(DAY, tz="UTC")


def test_a_split_and_a_dividend_count_wherever_they_stand_and_the_last_adjusted_close():
    bar = one_bar(parts(["13:30", "14:00"], split_ratio=[1.0, 2.0], dividend=[np.nan, 0.3], adj_close=[7.0, 8.0]))
    assert (bar["split_ratio"], bar["dividend"], bar["adj_close"]) == (2.0, 0.3, 8.0)
    bar = one_bar(parts(["13:30", "14:00"], split_ratio=[1.0, 1.0], dividend=[np.nan, np.nan]))
    assert bar["split_ratio"] == 1.0
    assert np.isnan(bar["dividend"])


@pytest.mark.parametrize(
    ("times", "minutes", "share"),
    [
        (every(30, "13:30", 13), 30, 1.0),
        (every(60, "13:00", 7), 60, 1.0),  # the first holds only the half hour after the opening
        (every(60, "14:00", 6), 60, 360 / 390),
        (every(5, "13:30", 39), 5, 0.5),
        (["13:30", "19:30"], 30, 60 / 390),
    ],
)
def test_coverage_is_the_share_of_the_trading_minutes_that_came(times, minutes, share):
    assert coverage(times, minutes) == pytest.approx(share)


def test_an_early_close_needs_fewer_bars():
    assert coverage(every(30, "13:30", 7), 30, day="2024-07-03") == 1.0


def test_a_lunch_break_needs_no_bars_and_bars_in_it_cover_nothing():
    morning, afternoon = every(30, "01:30", 5), every(30, "05:00", 6)
    assert coverage([*morning, *afternoon], 30, HONG_KONG) == 1.0
    assert coverage([*morning, "04:00", "04:30"], 30, HONG_KONG) == pytest.approx(150 / 330)


def test_around_the_clock_minutes_without_a_trade_are_normal_but_not_a_missing_morning_or_evening():
    assert coverage(["00:00", "09:00", "23:00"], 60, ALWAYS) == 1.0
    assert coverage(["12:00", "23:00"], 60, ALWAYS) == 0.5
    assert coverage(["00:00", "05:00"], 60, ALWAYS) == 0.25


@pytest.mark.parametrize(
    ("minutes", "expected"), [([0, 60, 120, 300], 60.0), ([0, 5, 60, 65], 5.0), ([0, 0], None), ([0], None), ([], None)]
)
def test_the_usual_spacing_is_the_most_frequent_one(minutes, expected):
    instants = np.datetime64("2024-07-02T14:00", "us") + np.array(minutes, "timedelta64[m]")
    days = np.full(len(minutes), np.datetime64(DAY))
    assert usual_spacing(pd.Series(["A"] * len(minutes), dtype="str"), days, instants) == expected


def test_daily_bars_have_no_spacing_whatever_their_time():
    days = np.array(["2024-07-01", "2024-07-02", "2024-07-03"], "datetime64[D]")
    instants = days.astype("datetime64[us]") + np.timedelta64(20, "h")
    assert usual_spacing(pd.Series(["A"] * 3, dtype="str"), days, instants) is None


def delivered(frame: pd.DataFrame, known_at: str, sequence: int) -> pd.DataFrame:
    moment = pd.Timestamp(known_at, tz="UTC").as_unit("us")
    return frame.assign(known_at=moment, sequence=sequence, delivery=f"d{sequence}")


def test_each_moment_has_the_bar_of_all_that_was_known_then():
    morning = delivered(parts(["13:30", "14:00"]), "2024-07-02T15:00", 1)
    evening = delivered(parts(["19:30"], close=9.0), "2024-07-02T21:00", 2)
    corrected = delivered(parts(["14:00"], high=99.0), "2024-07-03T09:00", 3)
    stored = pd.concat([corrected, evening, morning], ignore_index=True)
    asked = moments(morning, stored)
    bars = bars_at(asked, stored, XNYS)
    assert bars["delivery"].tolist() == ["d1", "d2", "d3"]
    assert bars["close"].tolist() == [2.25, 9.0, 9.0]
    assert bars["high"].tolist() == [2.5, 2.5, 99.0]
    assert bars["volume"].tolist() == [30.0, 40.0, 30.0]
    assert moments(evening, stored)["known_at"].tolist() == asked["known_at"].tolist()[1:]


def test_a_delivery_is_judged_together_with_what_came_before_it():
    earlier = delivered(parts(["13:30", "14:00"]), "2024-07-02T15:00", 1)
    bars, bar = whole_bars(parts(["14:00", "19:30"], open=7.0), earlier, 30, XNYS)
    assert bar.tolist() == [0, 0]
    assert bars[["open", "volume", "most_volume"]].to_numpy().tolist() == [[1.0, 40.0, 20.0]]
    assert bars["coverage"].tolist() == [pytest.approx(90 / 390)]
