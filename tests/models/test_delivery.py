"""Delivered files in canonical form, and when their rows became known."""

import gzip
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from models.config import DataConfig, RetrainConfig, SourceConfig
from models.delivered_file import DeliveredFile, receive
from models.delivery import Reading, demo_delivery, known_at, parse, read_delivery
from models.errors import ConfigError, DeliveryError
from models.settings import load_settings, shipped

HEADER = "symbol,timestamp,open,high,low,close,volume"
ROW = "A,2024-07-01,1,2,0.5,1.5,10"
NOW = datetime(2024, 7, 3, 18, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    def file(*lines: str, name: str = "prices.csv", header: str = HEADER) -> str:
        path = tmp_path / name
        path.write_text("\n".join((header, *lines)) + "\n")
        return str(path)

    return file


def read(uri: str, exchange: str = "XNYS", **source):
    return read_delivery(uri, SourceConfig(**source), exchange)


def known(uri: str, stated: datetime | None = None, received_at: datetime = NOW, **source) -> tuple[list[str], str]:
    reading = Reading(source=SourceConfig(**source), known_at=stated)
    times, rule = known_at(parse(receive(uri), reading), reading, received_at)
    return np.datetime_as_string(times, "m").tolist(), rule


def refusal(act, *args, kind=DeliveryError, **options) -> str:
    with pytest.raises(kind) as refused:
        act(*args, **options)
    return str(refused.value)


def test_the_demo_panel_is_read_whole_with_its_own_mapping(demo_bars):
    source = load_settings(base=shipped("demo.yaml")).config.source
    raw = read_delivery(demo_delivery(), source)
    assert raw.delivered == len(raw.frame) == 122_574
    frame = raw.frame.sort_values(["symbol", "session"], ignore_index=True)
    pd.testing.assert_frame_equal(frame[list(demo_bars)], demo_bars, check_exact=True)


def test_a_row_is_canonical(write):
    (row,) = read(write(ROW)).frame.to_dict("records")
    assert row["session"] == pd.Timestamp("2024-07-01")
    assert row["timestamp"] == pd.Timestamp("2024-07-01", tz="UTC")
    assert [row[name] for name in ("symbol", "open", "high", "low", "close", "volume")] == ["A", 1, 2, 0.5, 1.5, 10]


def test_columns_are_found_by_name_whatever_their_case_and_others_are_left_out(write):
    header = "Note, Symbol ,TIMESTAMP,Open,High,Low,Close,Volume,Dividend"
    raw = read(write(f"x,{ROW},0.25", header=header))
    assert raw.frame["dividend"].tolist() == [0.25]
    assert "note" not in {name.lower() for name in raw.frame}


def test_an_exact_name_wins_over_one_of_another_case(write):
    assert read(write(f"9,{ROW}", header=f"Close,{HEADER}")).frame["close"].tolist() == [1.5]


def test_a_mapping_and_a_volume_factor_make_our_columns_of_theirs(write):
    path = write(ROW, header="Ticker,Date,O,H,L,C,Lots")
    theirs = {
        "symbol": "Ticker", "timestamp": "Date", "open": "O", "high": "H", "low": "L", "close": "C", "volume": "Lots",
    }  # fmt: skip
    frame = read(path, columns=theirs, volume_factor=100).frame
    assert frame[["close", "volume"]].to_numpy().tolist() == [[1.5, 1000]]


def test_two_of_our_columns_may_come_from_one_of_theirs(write):
    frame = read(write(ROW), columns={"adj_close": "close"}).frame
    assert frame["adj_close"].tolist() == frame["close"].tolist() == [1.5]


def test_missing_columns_are_named_with_what_was_found_and_how_to_map(write):
    message = refusal(read, write("A,1", header="Ticker,close"), columns={"symbol": "Tickr"})
    assert "symbol (as 'Tickr')" in message
    assert "Found: 'Ticker', 'close'" in message
    assert "source.columns.timestamp=Date" in message


def test_a_page_instead_of_prices_shows_no_more_of_itself_than_helps():
    page = ",".join(["<div class='" + "x" * 100 + "'>"] * 500)
    assert len(refusal(parse, DeliveredFile("prices.csv", page.encode()), Reading())) < 3000


def test_a_column_that_stands_twice_is_refused(write):
    assert "'close' stands more than once" in refusal(read, write(f"{ROW},7", header=f"{HEADER},close"))


@pytest.mark.parametrize(
    ("column", "kind", "needs"),
    [
        ("open", pa.list_(pa.int64()), "numbers"), ("close", pa.timestamp("us"), "numbers"),
        ("volume", pa.bool_(), "numbers"), ("symbol", pa.struct([("a", pa.int8())]), "text"),
        ("timestamp", pa.time64("us"), "dates"),
    ],
)  # fmt: skip
def test_a_parquet_column_of_another_kind_is_named(tmp_path, column, kind, needs):
    columns = dict.fromkeys(HEADER.split(","), pa.array(["1"]))
    pq.write_table(pa.table({**columns, column: pa.nulls(1, kind)}), tmp_path / "prices.parquet")
    message = refusal(read, str(tmp_path / "prices.parquet"))
    assert f"column {column!r} holds {str(kind).partition('<')[0]}" in message
    assert needs in message


def test_unreadable_lines_are_told_and_the_others_kept(write):
    raw = read(write(ROW, HEADER, "A,2024-07-02,1,2,one,1.5,10", "A,1", ",2024-07-02,1,2,1,1,1", "A,soon,1,2,1,1,1"))
    assert raw.line.tolist() == [2]
    assert raw.unreadable.tolist() == [3, 4, 5, 6, 7]
    assert raw.delivered == 6


def test_missing_and_infinite_numbers_are_rows_for_the_contract_to_judge(write):
    frame = read(write("A,2024-07-01,,inf,NaN,1.5,10")).frame
    assert frame[["open", "low"]].isna().all(axis=None)
    assert np.isposinf(frame["high"]).all()


def test_stamps_become_sessions_of_the_exchange(write):
    path = write("A,2024-07-01 16:00,1,2,1,1.5,10", "B,2024-07-01T20:00Z,1,2,1,1.5,10", "C,2024-07-01,1,2,1,1.5,10")
    frame = read(path, time_zone="America/New_York").frame
    assert set(frame["session"]) == {pd.Timestamp("2024-07-01")}
    assert set(frame["timestamp"]) == {pd.Timestamp("2024-07-01", tz="UTC")}


# Intraday bars


def hours(*times: str, day: str = "2024-07-01") -> list[str]:
    return [f"A,{day}T{time},1,2,1,1.5,10" for time in times]


def starts(raw) -> list[str]:
    return raw.frame["timestamp"].dt.strftime("%m-%d %H:%M").tolist()


def test_several_bars_of_one_day_are_intraday_bars_of_their_usual_spacing(write):
    raw = read(write(*hours("14:00Z", "15:00Z", "16:00Z", "19:00Z")))
    assert raw.bar_minutes == 60
    assert starts(raw) == ["07-01 14:00", "07-01 15:00", "07-01 16:00", "07-01 19:00"]
    assert set(raw.frame["session"]) == {pd.Timestamp("2024-07-01")}


def test_a_bar_that_the_opening_falls_into_is_of_the_session_and_one_before_it_is_not(write):
    raw = read(write(*hours("12:00Z", "13:00Z", "19:00Z", "20:00Z")))  # trading from 13:30 to 20:00 UTC
    assert raw.frame["in_hours"].tolist() == [False, True, True, False]


def test_a_single_bar_is_intraday_where_the_source_says_so_and_midnight_is_then_a_time(write):
    path = write(*hours("00:00"))
    assert read(path).bar_minutes is None
    raw = read(path, exchange="24/7", bar_minutes=5)
    assert (raw.bar_minutes, starts(raw), raw.frame["in_hours"].tolist()) == (5, ["07-01 00:00"], [True])


def test_a_source_may_stamp_the_end_of_its_bars(write):
    raw = read(write(*hours("14:30Z", "15:30Z", "20:00Z")), bar_stamp="end", bar_minutes=30)
    assert starts(raw) == ["07-01 14:00", "07-01 15:00", "07-01 19:30"]
    assert raw.frame["in_hours"].all()


def test_an_early_close_ends_the_session(write):
    raw = read(write(*hours("16:00Z", "17:00Z", "18:00Z", day="2024-07-03")))  # closed at 17:00 UTC
    assert raw.frame["in_hours"].tolist() == [True, False, False]


def test_a_session_that_begins_the_evening_before_has_its_own_date(write):
    raw = read(write(*hours("22:30Z", "23:30Z", day="2024-07-07")), exchange="CMES")  # a Sunday, 17:30 in Chicago
    assert set(raw.frame["session"]) == {pd.Timestamp("2024-07-08")}


@pytest.mark.parametrize(
    ("day", "opening"),
    [("2024-03-08", "14:30"), ("2024-03-11", "13:30"), ("2024-11-01", "13:30"), ("2024-11-04", "14:30")],
)
def test_clocks_that_change_at_the_exchange_move_the_opening(write, day, opening):
    raw = read(write(f"A,{day} 09:30,1,2,1,1.5,10"), time_zone="America/New_York", bar_minutes=30)
    assert starts(raw) == [f"{day[5:]} {opening}"]
    assert raw.frame["in_hours"].all()


def test_a_day_of_twenty_three_hours_loses_no_bar_of_a_market_that_never_closes(write):
    local = pd.date_range("2024-03-10", "2024-03-11", freq="h", tz="America/New_York", inclusive="left")
    raw = read(write(*(f"A,{t.isoformat()},1,2,1,1.5,10" for t in local)), exchange="24/7")
    assert len(local) == 23
    assert raw.frame["timestamp"].is_unique
    assert raw.frame.groupby("session").size().tolist() == [19, 4]


def test_two_bars_of_a_day_too_far_apart_are_no_intraday_bars(write):
    assert "20 hours apart" in refusal(read, write(*hours("00:00Z", "20:00Z")))


def test_bars_of_another_length_than_the_stored_ones_are_refused_and_few_bars_take_theirs():
    few = Reading().with_bar_minutes(60, 180, "few.csv")
    assert few.source.bar_minutes == 60
    assert "of 5 minutes" in refusal(Reading().with_bar_minutes, 60, 5, "fine.csv")
    stated = Reading(source=SourceConfig(bar_minutes=120))
    assert "of 120 minutes" in refusal(stated.with_bar_minutes, 60, 60, "long.csv")


@pytest.mark.parametrize("content", [b"", HEADER.encode(), gzip.compress(b"")])
def test_a_file_without_rows_delivers_nothing(tmp_path, content):
    (tmp_path / "prices.csv").write_bytes(content)
    raw = read(str(tmp_path / "prices.csv"))
    assert raw.delivered == 0
    assert known(str(tmp_path / "prices.csv")) == ([], "arrival")


def test_a_stated_time_wins(write):
    path = write(f"{ROW},2024-07-01", header=f"{HEADER},told", name="2024-07-02.csv")
    stated = datetime(2024, 7, 1, 22, tzinfo=UTC)
    found = known(path, stated, known_at_column="told", known_at_pattern=r"\d{4}-\d{2}-\d{2}")
    assert found == (["2024-07-01T22:00"], "stated")


def test_the_column_comes_before_the_file_name_and_a_date_means_the_end_of_its_day(write):
    lines = (f"{ROW},2024-07-01", "B,2024-07-01,1,2,1,1,1,2024-07-02T12:00Z")
    path = write(*lines, header=f"{HEADER},delivered_on", name="2024-07-02.csv")
    found = known(path, known_at_column="delivered_on", known_at_pattern=r"(\d{4}-\d{2}-\d{2})")
    assert found == (["2024-07-02T03:59", "2024-07-02T12:00"], "column")


@pytest.mark.parametrize("pattern", [r"(\d{4}-\d{2}-\d{2})", r"drop-(\d{8})", r"\d{4}-\d{2}-\d{2}"])
def test_the_date_in_the_file_name_comes_before_arrival(write, pattern):
    name = "drop-20240701.csv" if "8" in pattern else "drop-2024-07-01.csv"
    assert known(write(ROW, name=name), known_at_pattern=pattern) == (["2024-07-02T03:59"], "file name")


def test_a_file_name_without_the_date_falls_back_to_arrival(write):
    assert known(write(ROW), known_at_pattern=r"(\d{4}-\d{2}-\d{2})") == (["2024-07-03T18:00"], "arrival")


def test_a_pattern_that_finds_no_date_is_told(write):
    assert "'prices', which is no ISO date" in refusal(known, write(ROW), known_at_pattern="(prices)")


@pytest.mark.parametrize("name", ["2024-07-03.csv", "2042-01-01.csv"])
def test_what_is_here_is_known_though_its_date_means_the_end_of_the_day(write, name):
    path = write(f"{ROW},{name[:10]}", header=f"{HEADER},on", name=name)
    assert known(path, known_at_column="on") == (["2024-07-03T18:00"], "column")
    assert known(path, known_at_pattern=r"(.*)\.csv") == (["2024-07-03T18:00"], "file name")


def test_a_load_of_history_is_known_at_each_bars_own_close(write):
    path = write(*(f"A,2024-07-0{day},1,2,1,1.5,10" for day in (1, 2, 3, 4)))
    times, rule = known(path, bulk_sessions=3)
    assert rule == "bar close (bulk load)"
    # the third closes at 17:00 UTC on the eve of the holiday; the fourth is no session
    assert times == ["2024-07-01T20:00", "2024-07-02T20:00", "2024-07-03T17:00", "2024-07-03T18:00"]
    assert known(path, bulk_sessions=4)[1] == "arrival"


def test_a_time_to_come_is_refused(write):
    message = refusal(known, write(ROW), datetime(2042, 1, 1, tzinfo=UTC), kind=ConfigError)
    assert "2042-01-01" in message
    assert "has not come yet" in message


def test_a_stated_time_without_zone_is_refused():
    assert "+00:00" in refusal(Reading.of, RetrainConfig(data=DataConfig()), datetime(2024, 7, 1), kind=ConfigError)


@pytest.mark.parametrize(("field", "value"), [("time_zone", "America/NewYork"), ("known_at_pattern", "(\\d")])
def test_a_zone_or_pattern_that_is_none_is_refused_before_anything_is_read(field, value):
    with pytest.raises(ValidationError, match=f"source.{field} = "):
        SourceConfig(**{field: value})
