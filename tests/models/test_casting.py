"""Delivered columns in all their dresses become numbers, texts and moments; what cannot is marked, never raised."""

import math
from datetime import UTC, date, datetime, time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import casting

NEW_YORK = "America/New_York"


def stamps(values, pattern=None, zone="UTC", exchange_zone=NEW_YORK) -> casting.Stamps:
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return casting.stamps(column, pattern, zone, exchange_zone)


def day_of(text: str, **how) -> str:
    return str(stamps([text], **how).days[0])


def instant_of(text: str, **how) -> str:
    return str(stamps([text], **how).instants[0])[:16]


def number(text: str) -> tuple[float, bool]:
    values, unreadable = casting.numbers(pa.chunked_array([[text, "a word"]]))  # so that not all is plain
    return float(values[0]), bool(unreadable[0])


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), (" 5.25 ", 5.25), ("+5", 5), ("-.5e3", -500), ("5.", 5), ("inf", math.inf)]
)
def test_numbers_are_read_beside_a_word(text, value):
    assert number(text) == (value, False)


@pytest.mark.parametrize("text", ["", "  ", "NaN", "n/a", "NA", "null", "None"])
def test_a_missing_number_is_missing_and_not_unreadable(text):
    value, unreadable = number(text)
    assert math.isnan(value)
    assert not unreadable


@pytest.mark.parametrize("text", ["Close", "1,5", "1 000", "12.3.4", "0x10", "$5", "--"])
def test_text_in_a_number_is_unreadable(text):
    assert number(text)[1]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_a_written_number_is_read_back_exactly(values):
    read, unreadable = casting.numbers(pa.chunked_array([[repr(value) for value in values] + ["word"]]))
    assert read[:-1].tolist() == values
    assert unreadable.tolist() == [False] * len(values) + [True]


def test_a_typed_column_keeps_its_values_and_its_gaps():
    values, unreadable = casting.numbers(pa.chunked_array([pa.array([1, None, 3], pa.int32())]))
    np.testing.assert_array_equal(values, [1, np.nan, 3])
    assert not unreadable.any()


def test_texts_are_trimmed_and_blank_ones_are_none():
    values, nothing = casting.texts(pa.chunked_array([[" A ", "", "  ", None, "NA"]]))
    assert values[[0, 4]].tolist() == ["A", "NA"]
    assert nothing.tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01", "20240701", "2024-07-01 00:00:00", "2024-07-01T00:00:00Z", "2024-07-01T00:00:00+09:00",
        " 2024-07-01 ", "2024-07-01 00:00:00 UTC",
    ],
)  # fmt: skip
def test_midnight_as_written_is_the_date_of_the_session(text):
    assert day_of(text) == "2024-07-01"


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01T20:00:00Z", "2024-07-01T20:00:00z", "2024-07-01 20:00 UTC", "2024-07-01T16:00-04:00",
        "2024-07-01 20:00:00+00", "2024-07-01T20+00:00", "2024-07-01 20:00:00 +0000", "2024-07-01T20:00:00.000",
    ],
)  # fmt: skip
def test_a_time_of_day_is_an_instant(text):
    assert instant_of(text) == "2024-07-01T20:00"


def test_the_session_of_an_instant_is_the_date_at_the_exchange():
    assert day_of("2024-07-02T01:00:00Z") == "2024-07-01"
    assert day_of("2024-07-01T23:00:00Z", exchange_zone="Asia/Tokyo") == "2024-07-02"


def test_a_naive_stamp_is_of_the_zone_that_the_source_names():
    assert instant_of("2024-07-01 16:00", zone=NEW_YORK) == "2024-07-01T20:00"
    assert instant_of("2024-12-02 16:00", zone=NEW_YORK) == "2024-12-02T21:00"


def test_an_offset_in_the_stamp_wins_over_the_zone_of_the_source():
    assert instant_of("2024-07-01 20:00+00", zone="Asia/Tokyo") == "2024-07-01T20:00"


def test_of_an_hour_that_comes_twice_the_second_is_meant_and_a_skipped_one_moves_forward():
    assert instant_of("2024-11-03 01:30", zone=NEW_YORK) == "2024-11-03T06:30"
    assert instant_of("2024-03-10 02:30", zone=NEW_YORK) == "2024-03-10T07:00"


def test_stamps_with_and_without_offset_stand_in_one_column():
    read = stamps(["2024-07-01T16:00-04:00", "2024-07-01 20:00", "2024-07-01"])
    assert np.array_equal(read.dated, [False, False, True])
    assert read.instants[0] == read.instants[1]


@pytest.mark.parametrize(
    "text",
    [
        "Date", "", "2024", "2024-07", "202407", "07/01/2024", "2024-13-01", "2024-07-01T25:00", "1704153600",
        "0001-01-01", "9999-12-31T23:00:00Z", "300000-01-01", "2024-07-01T20:00+99:00", "10:30",
    ],
)  # fmt: skip
def test_what_is_no_stamp_is_unreadable_and_leaves_its_neighbours_alone(text):
    assert stamps([text, "2024-07-01"]).unreadable.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("20240701", "%Y%m%d"), ("01.07.2024", "%d.%m.%Y"), ("07/01/2024 16:00", "%m/%d/%Y %H:%M"),
        ("01.07.2024 16:00 -0400", "%d.%m.%Y %H:%M %z"), ("2024-07-01 20:00:00 UTC", "%Y-%m-%d %H:%M:%S %Z"),
    ],
)  # fmt: skip
def test_a_pattern_reads_its_own_form(text, pattern):
    assert day_of(text, pattern=pattern) == "2024-07-01"


def test_what_does_not_follow_the_pattern_is_unreadable():
    assert stamps(["2024-07-01", "20240701"], "%Y%m%d").unreadable.tolist() == [True, False]


def test_numbers_are_read_by_a_pattern():
    assert stamps(pa.array([20240701]), "%Y%m%d").days[0] == np.datetime64("2024-07-01")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([date(2024, 7, 1)], pa.date32()),
        pa.array([datetime(2024, 7, 1)], pa.timestamp("ns")),
        pa.array([datetime(2024, 7, 1, 4, tzinfo=UTC)], pa.timestamp("us", NEW_YORK)),
        pa.array([datetime(2024, 7, 1, 4, tzinfo=UTC)], pa.timestamp("s", "UTC")),
    ],
)
def test_typed_stamps_name_the_same_session(values):
    assert stamps(values).days[0] == np.datetime64("2024-07-01")


@pytest.mark.parametrize("kind", [pa.string(), pa.null(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_a_column_of_nothing_is_unreadable_whatever_its_type(kind):
    assert stamps(pa.nulls(2, kind)).unreadable.all()
    assert not len(stamps(pa.chunked_array([], kind)).days)


def test_a_date_is_known_at_the_end_of_its_day_in_the_zone():
    known = stamps(["2024-07-01", "2024-07-01T12:00Z"]).known_by(NEW_YORK)
    assert known.astype("datetime64[m]").astype(str).tolist() == ["2024-07-02T03:59", "2024-07-01T12:00"]


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    st.sampled_from(["+00:00", "-04:00", "+0530", "+09", "Z"]),
)
def test_an_instant_is_read_as_the_standard_library_reads_it(moment, offset):
    if moment.time() == time.min:
        return
    text = f"{moment.isoformat(sep=' ')}{offset}"
    expected = datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    assert stamps([text]).instants[0] == np.datetime64(expected, "us")
