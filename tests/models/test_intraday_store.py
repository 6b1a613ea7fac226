"""Sessions that are delivered in parts: whatever the order in which parts come, the bars as known are the same."""

import shutil
from datetime import UTC, datetime, timedelta
from itertools import permutations
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import SourceConfig
from models.records import Account
from models.store import _BARS
from models.tables import Table
from tests.models.test_store import ARRIVAL, END, HEADER, Desk, as_after_a_crash

DAY = datetime(2024, 7, 2, tzinfo=UTC)
HOURLY = SourceConfig(bar_minutes=60)


def moment(day: int, hour: int = 22) -> datetime:
    return datetime(2024, 7, day, hour, tzinfo=UTC)


def hours(**closes: float) -> str:
    """`h13=1.5`: a bar of A at 13:00 UTC of 2 July that closes there; volume 10, high 9, low 1, open as the close."""
    return "".join(f"A,2024-07-02T{hour[1:]}:00Z,{close},9,1,{close},10\n" for hour, close in closes.items())


def deliver(desk: Desk, text: str, known: datetime | None) -> Account:
    return desk.write(HEADER + text, known, source=HOURLY)


def daily(close: float) -> str:
    return HEADER + f"A,2024-07-02,1,9,1,{close},70\n"


def bar(desk: Desk, as_of: datetime = END) -> tuple[float, float, float]:
    """Open, close and volume of the one bar."""
    (row,) = desk.store.as_known(as_of).itertuples()
    return row.open, row.close, row.volume


def coverage(desk: Desk, as_of: datetime = END) -> float:
    bars = desk.store.as_known(as_of)
    return bars["coverage"].item() if "coverage" in bars else 1.0


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


WHOLE = {f"h{hour}": float(hour) for hour in range(13, 20)}
MORNING, EVENING = dict(list(WHOLE.items())[:3]), dict(list(WHOLE.items())[3:])


def test_a_whole_session_is_one_bar_and_every_row_of_it_is_accepted(desk):
    assert deliver(desk, hours(**WHOLE), moment(2)) == Account(delivered=7, accepted=7)
    assert bar(desk) == (13, 19, 70)
    assert "coverage" not in desk.store.as_known(END)  # all of every session is there, as with daily bars


def test_the_rest_of_a_session_revises_its_bar(desk):
    assert deliver(desk, hours(**MORNING), moment(2, 16)) == Account(delivered=3, accepted=3)
    assert coverage(desk) == pytest.approx(150 / 390)
    assert deliver(desk, hours(**EVENING), moment(2, 21)) == Account(delivered=4, revised=4)
    assert bar(desk) == (13, 19, 70)
    assert coverage(desk) == 1.0
    assert bar(desk, moment(2, 18)) == (13, 15, 30)


def test_the_rest_may_come_before_the_beginning(desk):
    deliver(desk, hours(**EVENING), moment(2, 21))
    assert deliver(desk, hours(**MORNING), moment(2, 16)) == Account(delivered=3, accepted=3)
    assert bar(desk, moment(2, 18)) == (13, 15, 30)
    assert bar(desk) == (13, 19, 70)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parts_that_became_known_at_one_moment_make_one_bar(desk, order):
    for part in order:
        deliver(desk, hours(**(MORNING, EVENING)[part]), moment(2))
    assert bar(desk) == (13, 19, 70)


def test_parts_that_repeat_are_duplicates_and_a_corrected_one_revises_the_bar(desk):
    deliver(desk, hours(**WHOLE), moment(2))
    assert deliver(desk, hours(**MORNING), moment(3)) == Account(delivered=3, duplicate=3)
    assert deliver(desk, hours(h13=13.0) + hours(h13=13.0) + hours(h19=25.0), moment(4)) == Account(
        delivered=3, revised=2, duplicate=1
    )
    assert bar(desk) == (13, 25, 70)
    assert bar(desk, moment(3)) == (13, 19, 70)


def test_a_session_whose_prices_stay_is_revised_when_more_of_it_is_covered(desk):
    deliver(desk, hours(h13=2.0), moment(2, 14))
    text = HEADER + "A,2024-07-02T14:00Z,2,9,1,2,0\n"
    assert desk.write(text, moment(2, 15), source=HOURLY).revised == 1
    assert coverage(desk) == pytest.approx(90 / 390)


def test_what_was_repeated_is_a_fact_after_all_when_another_part_comes_between(desk):
    deliver(desk, hours(**WHOLE), moment(2))
    deliver(desk, hours(h19=19.0), moment(5))
    deliver(desk, hours(h19=7.0), moment(3))
    assert [bar(desk, moment(day))[1] for day in (2, 3, 4, 5)] == [19, 7, 7, 19]


def test_a_load_of_history_is_known_at_each_close_and_where_a_fact_contradicts_it_on_arrival(desk):
    deliver(desk, hours(**WHOLE), moment(4))
    load = SourceConfig(bar_minutes=60, bulk_sessions=1)
    other = hours(**WHOLE).replace("07-02", "07-01")
    assert desk.write(HEADER + other + hours(h19=7.0), None, source=load) == Account(delivered=8, accepted=7, revised=1)
    by_then = desk.store.as_known(moment(3))
    assert by_then["session"].dt.day.tolist() == [1]
    assert desk.closes(moment(4)) == {("A", 1): 19, ("A", 2): 19}
    assert desk.closes(ARRIVAL + timedelta(days=1)) == {("A", 1): 19, ("A", 2): 7}


def test_a_load_that_says_what_is_known_changes_nothing(desk):
    deliver(desk, hours(**WHOLE), moment(2, 19))
    load = SourceConfig(bar_minutes=60, bulk_sessions=1)
    text = hours(**WHOLE) + hours(**WHOLE).replace("07-02", "07-01")
    assert desk.write(HEADER + text, None, source=load) == Account(delivered=14, accepted=7, duplicate=7)


@pytest.mark.parametrize("order", permutations(range(3)))
def test_daily_and_intraday_deliveries_of_one_session_follow_one_another_by_when_they_were_known(tmp_path, order):
    desk = Desk(tmp_path)
    writes = [
        lambda: deliver(desk, hours(**WHOLE), moment(2)),
        lambda: desk.write(daily(5.0), moment(3)),
        lambda: deliver(desk, hours(h19=19.0), moment(4)),
    ]
    for number in order:
        writes[number]()
    assert [desk.closes(moment(day))[("A", 2)] for day in (2, 3, 4)] == [19, 5, 19]


@pytest.mark.parametrize(
    "unwritten", [("intraday", "bars", "deliveries"), ("bars", "deliveries"), ("deliveries",)], ids=len
)
def test_a_crash_between_the_writes_is_mended_by_the_same_file(desk, unwritten):
    deliver(desk, hours(**MORNING), moment(2, 16))
    expected = deliver(desk, hours(**EVENING), moment(2, 21))
    as_after_a_crash(desk, *unwritten)
    assert deliver(desk, hours(**EVENING), moment(2, 21)) == expected
    assert bar(desk) == (13, 19, 70)
    assert len(desk.store.intraday(["A"], DAY.date(), DAY.date())) == 7


def test_a_store_of_before_intraday_bars_is_read_and_written_as_if_its_bars_covered_their_sessions(desk):
    old_columns = pa.schema([field for field in _BARS if field.name != "coverage"])
    desk.write(daily(5.0), moment(2, 14))
    old = Table(desk.locations.table("bars"), _BARS).read(old_columns.names).cast(old_columns)
    shutil.rmtree(desk.locations.table("bars"))
    Table(desk.locations.table("bars"), old_columns).append(old)
    assert "coverage" not in desk.store.as_known(END)
    assert desk.write(daily(5.0) + "\n", moment(2, 15)).duplicate == 1
    assert deliver(desk, hours(**MORNING), moment(2, 16)).revised == 3
    assert coverage(desk) == pytest.approx(150 / 390)
    assert desk.closes(moment(2, 14)) == {("A", 2): 5}


DELIVERIES = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(["h13", "h14", "h19"]), st.sampled_from([1.0, 2.0]), min_size=1),
        st.sampled_from([1.0, 2.0]),
    ),
    min_size=2,
    max_size=5,
)


def as_known(order: list[int], contents: list) -> list[pd.DataFrame]:
    with TemporaryDirectory() as home:
        desk = Desk(home)
        for number in order:
            content, known = contents[number], moment(3 + number)
            if isinstance(content, dict):
                account = deliver(desk, hours(**content) + f"\n\nB,,,,,,{number}\n", known)
            else:
                account = desk.write(daily(content) + f"B,,,,,,{number}\n", known)
            assert account.delivered == (len(content) if isinstance(content, dict) else 1) + 1
        return [desk.store.as_known(moment(3 + number)) for number in range(len(contents))]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(DELIVERIES, st.data())
def test_in_any_order_of_arrival_the_same_was_known_at_any_time(contents, data):
    in_turn = list(range(len(contents)))
    other = data.draw(st.permutations(in_turn))
    for expected, found in zip(as_known(in_turn, contents), as_known(other, contents), strict=True):
        pd.testing.assert_frame_equal(expected, found)
