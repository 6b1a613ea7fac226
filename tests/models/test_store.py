"""The bars store: append-only facts, each known from a time on; every delivered row is accounted for."""

import json
import os
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import RetrainConfig, SourceConfig, StorageConfig
from models.delivered_file import DeliveredFile
from models.delivery import Reading, known_at, parse
from models.errors import StoreError
from models.locations import Locations
from models.records import Account, DeliveryRecord
from models.store import BarsStore, content_hash

DAYS = [date(2024, 7, day) for day in (1, 2, 3)]
EARLY, LATER, LATEST = (datetime(2024, 7, day, 22, tzinfo=UTC) for day in (3, 5, 9))
END = datetime(2042, 1, 1, tzinfo=UTC)
ARRIVAL = datetime(2030, 1, 1, tzinfo=UTC)
HEADER = "symbol,timestamp,open,high,low,close,volume\n"


class Desk:
    """Brings small deliveries into a store as ingest does, the contract's answer given by the test."""

    def __init__(self, home: Path) -> None:
        self.locations = Locations(StorageConfig(home=str(home)))
        self.store = BarsStore(self.locations)
        self._clock = count()

    def deliver(
        self, *bars, known: datetime | None = EARLY, bad: dict[int, str] | None = None, source=None, name="prices.csv"
    ) -> Account:
        return self.write(bars_text(*bars), known, bad, source, name)

    def write(self, text: str, known=EARLY, bad=None, source=None, name="prices.csv") -> Account:
        now = ARRIVAL + timedelta(minutes=next(self._clock))
        file = DeliveredFile(name, text.encode())
        reading = Reading(source=source or SourceConfig(), known_at=known)
        raw = parse(file, reading)
        times, rule = known_at(raw, reading, now)
        broken = np.full(len(raw.frame), "", object)
        for row, told in (bad or {}).items():
            broken[row] = told
        sessions = raw.frame.loc[broken == "", "session"]
        record = DeliveryRecord(
            delivery=file.sha256,
            name=name,
            status="accepted",
            known_at_rule=rule,
            received_at=now,
            first=sessions.min().date() if len(sessions) else None,
            last=sessions.max().date() if len(sessions) else None,
            account=Account(),
        )
        if self.store.delivery(file.sha256) is not None:
            return Account(delivered=raw.delivered, duplicate=raw.delivered)
        self.store.keep_file(file)
        return self.store.accept(raw, times, broken, record).account

    def closes(self, as_of: datetime = END) -> dict[tuple[str, int], float]:
        bars = self.store.as_known(as_of)
        return {(row.symbol, row.session.day): row.close for row in bars.itertuples()}

    def version(self, table: str = "bars") -> int:
        return DeltaTable(self.locations.table(table)).version()


def bars_text(*bars) -> str:
    """Of (symbol, day, close) or (symbol, day, close, volume)."""
    lines = (f"{symbol},2024-07-{day:02d},1,9,1,{close},{(*rest, 10)[0]}" for symbol, day, close, *rest in bars)
    return HEADER + "".join(f"{line}\n" for line in lines)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


def test_an_empty_store_answers_every_question(desk):
    assert desk.store.last_session() is None
    assert desk.store.as_known(END).empty
    assert desk.store.deliveries() == ()
    assert desk.store.delivery("none") is None
    assert desk.store.quarantine("none").empty


def test_bars_come_back_canonical_and_sorted(desk):
    desk.deliver(("B", 2, 3), ("A", 2, 2), ("A", 1, 1.5))
    bars = desk.store.as_known(END)
    assert bars[["symbol", "close"]].to_numpy().tolist() == [["A", 1.5], ["A", 2], ["B", 3]]
    assert bars.dtypes.astype(str).to_dict() == {
        "symbol": "str", "session": "datetime64[s]", "timestamp": "datetime64[us, UTC]",
        **dict.fromkeys(("open", "high", "low", "close", "volume"), "float64"),
    }  # fmt: skip


def test_optional_columns_are_there_where_anybody_said_something(desk):
    desk.write(HEADER.replace("\n", ",dividend\n") + "A,2024-07-01,1,9,1,2,10,0.5\nA,2024-07-02,1,9,1,2,10,\n")
    assert "split_ratio" not in desk.store.as_known(END)
    np.testing.assert_array_equal(desk.store.as_known(END)["dividend"], [0.5, np.nan])


def test_only_the_sessions_asked_for_are_read(desk):
    desk.deliver(("A", 1, 1), ("A", 2, 2), ("A", 3, 3))
    assert desk.store.as_known(END, DAYS[1], DAYS[1])["close"].tolist() == [2]
    assert desk.store.last_session() == DAYS[2]


def test_only_the_symbols_asked_for_are_read(desk):
    desk.deliver(("A", 1, 1), ("B", 2, 2), ("C", 3, 3))
    assert desk.store.as_known(END, symbols=["C", "A", "X"])["symbol"].tolist() == ["A", "C"]
    assert desk.store.as_known(END, symbols=[]).empty


def test_the_store_knows_its_sessions_as_they_were_known(desk):
    desk.deliver(("A", 3, 1), ("A", 1, 1), ("B", 1, 1))
    desk.deliver(("A", 2, 1), known=LATER)
    assert desk.store.sessions(EARLY, DAYS[0], DAYS[2]).tolist() == [DAYS[0], DAYS[2]]
    assert desk.store.sessions(END, DAYS[1], DAYS[2]).tolist() == DAYS[1:]


def test_a_bar_does_not_exist_before_it_was_known(desk):
    desk.deliver(("A", 1, 1), known=LATER)
    assert desk.closes(EARLY) == {}
    assert desk.closes(LATER) == {("A", 1): 1}


def test_a_restated_row_is_one_more_fact_and_both_can_be_read(desk):
    desk.deliver(("A", 1, 2, 100), ("A", 2, 3, 100), known=EARLY)
    account = desk.deliver(("A", 1, 2, 100), ("A", 2, 3, 120), known=LATER)
    assert (account.accepted, account.revised, account.duplicate) == (0, 1, 1)
    assert desk.store.as_known(EARLY)["volume"].tolist() == [100, 100]
    assert desk.store.as_known(LATER)["volume"].tolist() == [100, 120]


def test_equal_rows_of_one_delivery_are_stored_once(desk):
    account = desk.deliver(("A", 1, 2), ("B", 1, 2), ("A", 1, 2), ("A", 1, 2))
    assert (account.accepted, account.duplicate, account.delivered) == (2, 2, 4)
    assert len(desk.store.as_known(END)) == 2


def test_the_order_of_rows_in_a_delivery_decides_nothing(tmp_path):
    bars = [("A", 1, 1), ("A", 2, 2), ("B", 1, 3), ("A", 2, 2)]
    forward, backward = Desk(tmp_path / "1"), Desk(tmp_path / "2")
    assert forward.deliver(*bars) == backward.deliver(*reversed(bars))
    assert forward.closes() == backward.closes()


def test_a_quarantined_row_stays_absent_and_is_kept_as_it_came(desk):
    account = desk.deliver(("A", 1, 1), ("B", 1, 20), bad={1: "ohlc_order"})
    assert account.by_rule == {"ohlc_order": 1}
    assert desk.closes() == {("A", 1): 1}
    (row,) = desk.store.quarantine(desk.store.deliveries()[0].delivery).to_dict("records")
    assert (row["line"], row["rule"], json.loads(row["raw"])["close"]) == (3, "ohlc_order", "20")


def test_a_quarantined_revision_leaves_the_fact_that_was_there(desk):
    desk.deliver(("A", 1, 1))
    desk.deliver(("A", 1, 99), known=LATER, bad={0: "jump"})
    assert desk.closes() == {("A", 1): 1}


def test_unreadable_lines_are_quarantined_with_their_text(desk):
    account = desk.write(bars_text(("A", 1, 1)) + HEADER + "A,1\n")
    assert account.by_rule == {"unreadable": 2}
    rows = desk.store.quarantine(desk.store.deliveries()[0].delivery)
    assert rows["line"].tolist() == [3, 4]
    assert json.loads(rows["raw"][1]) == {"line": "A,1"}


def test_days_before_1970_are_days_like_all_others(desk):
    lines = [f"{symbol},1969-12-{day},1,9,1,{close},10\n" for symbol in "AB" for day, close in ((30, 1), (31, 2))]
    desk.write(HEADER + "".join(lines))
    desk.write(HEADER + "A,1969-12-30,1,9,1,5,10\n", known=LATER)
    assert desk.store.as_known(END)["close"].tolist() == [5, 2, 1, 2]


def test_deliveries_are_remembered_in_the_order_in_which_they_came(desk):
    desk.deliver(("A", 1, 1), known=LATEST, name="first.csv")
    desk.deliver(("A", 2, 1), known=EARLY, name="second.csv")
    assert [one.name for one in desk.store.deliveries()] == ["first.csv", "second.csv"]
    first = desk.store.deliveries()[0]
    assert desk.store.delivery(first.delivery) == first
    assert (first.first, first.last, first.account.accepted) == (DAYS[0], DAYS[0], 1)


def test_the_delivered_bytes_are_kept(desk):
    text = bars_text(("A", 1, 1))
    desk.write(text)
    (kept,) = Path(desk.locations.deliveries).iterdir()
    assert kept.read_text() == text
    assert kept.name == DeliveredFile("", text.encode()).sha256


def test_half_a_file_that_a_killed_ingest_left_is_gone_when_the_file_is_kept(desk):
    file = DeliveredFile("a.csv", b"symbol\nA\n")
    deliveries = Path(desk.store.locations.deliveries)
    deliveries.mkdir(parents=True)
    (deliveries / f"{file.sha256}.123.part").write_bytes(b"symb")
    desk.store.keep_file(file)
    assert [path.name for path in deliveries.iterdir()] == [file.sha256]


def test_a_full_place_keeps_no_half_file_and_says_so(desk):
    file = DeliveredFile("prices.csv", b"symbol\n" * 100)
    directory = Path(desk.locations.deliveries)
    directory.mkdir()
    (directory / f"{file.sha256}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"prices\.csv cannot be kept at .*No space left.*Nothing was ingested"):
        desk.store.keep_file(file)
    assert not (directory / file.sha256).exists()


def test_a_kept_file_that_a_power_cut_has_shortened_is_written_again(desk):
    file = DeliveredFile("prices.csv", b"symbol\n" * 100)
    desk.store.keep_file(file)
    (kept,) = Path(desk.locations.deliveries).iterdir()
    kept.write_bytes(b"")
    desk.store.keep_file(file)
    assert kept.read_bytes() == file.data


def test_a_place_below_a_file_keeps_nothing_and_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot be kept at .*Not a directory.*writable"):
        Desk(tmp_path / "file").deliver(("A", 1, 1))


# Order of arrival


def test_an_older_delivery_changes_only_what_was_known_before_the_newer_one(desk):
    desk.deliver(("A", 1, 5), known=LATER)
    account = desk.deliver(("A", 1, 4), ("A", 2, 4), known=EARLY)
    assert account.accepted == 2
    assert desk.closes(EARLY) == {("A", 1): 4, ("A", 2): 4}
    assert desk.closes(LATER) == {("A", 1): 5, ("A", 2): 4}


def test_a_late_arrival_does_not_outlive_a_repetition_that_was_known_after_it(desk):
    desk.deliver(("A", 1, 1), ("B", 1, 1), known=EARLY)
    desk.deliver(("A", 1, 1), ("B", 1, 1), ("C", 1, 1), known=LATEST)  # repeats, and so is not stored
    account = desk.deliver(("A", 1, 2), known=LATER)
    assert account.revised == 1
    assert desk.closes(LATER)["A", 1] == 2
    assert desk.closes(LATEST)["A", 1] == 1


def test_a_repetition_in_quarantine_does_not_come_back(desk):
    desk.deliver(("A", 1, 1), ("B", 1, 1), known=EARLY)
    desk.deliver(("A", 1, 1), ("B", 1, 1), ("C", 1, 1), known=LATEST, bad={0: "jump"})
    desk.deliver(("A", 1, 2), ("B", 1, 2), known=LATER)
    assert desk.closes(LATEST) == {("A", 1): 2, ("B", 1): 1, ("C", 1): 1}


def test_a_kept_file_is_read_again_as_it_was_read_the_first_time(desk):
    lots = SourceConfig(volume_factor=100, known_at_pattern=r"(\d{4}-\d{2}-\d{2})")
    desk.deliver(("A", 1, 1, 100), known=EARLY)
    desk.deliver(("A", 1, 1, 1), ("B", 1, 1, 1), known=None, source=lots, name="2024-07-09.csv")
    desk.deliver(("A", 1, 1, 150), known=LATER)
    assert desk.store.as_known(END).query("symbol == 'A'")["volume"].tolist() == [100]


HISTORY = SourceConfig(bulk_sessions=2)
AFTER_THE_LOAD = ARRIVAL + timedelta(days=1)


def history(desk: Desk, close: float, *others) -> Account:
    """A load of three sessions without a stated time."""
    return desk.deliver(*(("A", day, close) for day in (1, 2, 3)), *others, known=None, source=HISTORY)


def test_a_first_load_of_history_is_known_at_each_close(desk):
    history(desk, 5)
    assert desk.closes(datetime(2024, 7, 2, 20, tzinfo=UTC)) == {("A", 1): 5, ("A", 2): 5}


def test_a_second_load_that_restates_history_leaves_what_earlier_nights_read(desk):
    history(desk, 5)
    earlier = desk.store.snapshot(DAYS[2], LATER, RetrainConfig())[1]
    assert history(desk, 6).revised == 3
    assert desk.store.snapshot(DAYS[2], LATER, RetrainConfig())[1] == earlier
    assert desk.closes(AFTER_THE_LOAD) == dict.fromkeys([("A", 1), ("A", 2), ("A", 3)], 6)


def test_a_load_that_restates_what_came_night_by_night_is_read_from_its_arrival_on(desk):
    desk.deliver(("A", 2, 4), known=LATER)
    history(desk, 6)
    assert desk.closes(LATER)["A", 2] == 4
    assert desk.closes(AFTER_THE_LOAD)["A", 2] == 6


def test_a_load_that_agrees_with_a_sample_delivered_before_is_known_at_each_close(desk):
    desk.deliver(("A", 2, 5), known=None)
    history(desk, 5)
    assert desk.closes(LATER) == dict.fromkeys([("A", 1), ("A", 2), ("A", 3)], 5)


def test_a_load_that_repeats_the_newest_of_two_values_rewrites_neither(desk):
    history(desk, 5)
    history(desk, 6)
    assert history(desk, 6, ("B", 1, 1)).duplicate == 3
    assert desk.closes(LATER) == {("A", 1): 5, ("A", 2): 5, ("A", 3): 5, ("B", 1): 1}


def test_a_repeating_load_speaks_again_after_a_late_arrival_that_was_known_before_it(desk):
    history(desk, 5)
    history(desk, 5, ("B", 1, 1))
    assert desk.deliver(("A", 2, 7), known=LATER).revised == 1
    assert desk.closes(LATER)["A", 2] == 7
    assert desk.closes(AFTER_THE_LOAD) == {("A", 1): 5, ("A", 2): 5, ("A", 3): 5, ("B", 1): 1}


def test_a_restating_load_that_crashed_is_mended_by_the_same_file(desk):
    history(desk, 5)
    expected = history(desk, 6)
    as_after_a_crash(desk, "deliveries")
    version = desk.version()
    assert history(desk, 6) == expected
    assert desk.version() == version


@pytest.mark.parametrize(("damage", "why"), [("gone", "cannot be read"), ("changed", "was changed")])
def test_a_kept_file_that_is_needed_and_damaged_is_told_and_nothing_ingested(desk, damage, why):
    desk.deliver(("A", 1, 1), known=EARLY)
    desk.deliver(("A", 1, 1), ("B", 1, 1), known=LATEST)
    path = Path(desk.locations.deliveries, desk.store.deliveries()[1].delivery)
    path.unlink() if damage == "gone" else path.write_text("other")
    with pytest.raises(StoreError, match=f"{why}.*out of order.*Nothing was ingested"):
        desk.deliver(("A", 1, 2), known=LATER)
    assert desk.closes() == {("A", 1): 1, ("B", 1): 1}


BAD_CLOSE = 0
CLOSES = st.sampled_from([1, 2, BAD_CLOSE])
CONTENT = st.fixed_dictionaries({("A", 1): st.sampled_from([1, 2])}, optional={("A", 2): CLOSES, ("B", 1): CLOSES})


@settings(max_examples=15, deadline=None)
@given(st.lists(CONTENT, min_size=3, max_size=5), st.data())
def test_any_order_and_repetition_of_deliveries_reads_the_same_as_known_at_any_time(tmp_path_factory, contents, data):
    times = [EARLY + timedelta(hours=hours) for hours in range(len(contents))]
    order = data.draw(st.permutations(range(len(contents))))
    repeats = data.draw(st.lists(st.sampled_from(order), max_size=1))
    desk = Desk(tmp_path_factory.mktemp("store"))
    for k in [*order, *repeats]:
        bars = [(symbol, day, close) for (symbol, day), close in contents[k].items()]
        own = (f"NOTE{k}", 1, 1)  # makes each delivery a file of its own, as real ones are
        account = desk.deliver(
            *bars, own, known=times[k], bad={row: "jump" for row, bar in enumerate(bars) if bar[2] == BAD_CLOSE}
        )
        assert account.delivered == len(bars) + 1  # and Account refuses to be made where a row is not accounted for
    for k, moment in enumerate(times):
        truth = {key: close for content in contents[: k + 1] for key, close in content.items() if close != BAD_CLOSE}
        assert {key: close for key, close in desk.closes(moment).items() if key[0] in "AB"} == truth


# Snapshots


def snapshot(desk: Desk, session: date = DAYS[2], as_of: datetime = END):
    return desk.store.snapshot(session, as_of, RetrainConfig())


def test_the_hash_of_a_snapshot_does_not_depend_on_deliveries_or_compaction(tmp_path):
    bars = [(symbol, day, 1 + day / 7) for symbol in "ABC" for day in (1, 2, 3)]
    one, many = Desk(tmp_path / "1"), Desk(tmp_path / "2")
    one.deliver(*bars)
    for part in (bars[6:], bars[:2], bars[2:6]):
        many.deliver(*part)
    hashes = [snapshot(one)[1].hash, snapshot(many)[1].hash]
    DeltaTable(many.locations.table("bars")).optimize.compact()
    assert len({*hashes, snapshot(many)[1].hash}) == 1


def test_a_snapshot_says_what_it_holds(desk):
    desk.deliver(("A", 1, 1), ("A", 2, 1), ("B", 2, 1), ("B", 3, 1))
    bars, named = snapshot(desk, DAYS[1])
    assert (named.rows, named.symbols, named.first, named.last) == (3, 2, DAYS[0], DAYS[1])
    assert len(bars) == 3


def test_a_snapshot_looks_back_as_far_as_there_are_sessions(desk):
    desk.deliver(("A", 1, 1), ("A", 2, 1))
    config = RetrainConfig.model_validate({"data": {"lookback_sessions": 1_000_000}})
    assert desk.store.snapshot(DAYS[2], END, config)[1].rows == 2
    config = RetrainConfig.model_validate({"data": {"lookback_sessions": 2}})
    assert desk.store.snapshot(DAYS[2], END, config)[1].rows == 1


def test_a_later_revision_changes_no_earlier_snapshot(desk):
    desk.deliver(("A", 1, 1))
    before = snapshot(desk, as_of=EARLY)[1]
    desk.deliver(("A", 1, 2), known=LATER)
    assert snapshot(desk, as_of=EARLY)[1] == before
    assert snapshot(desk, as_of=LATER)[1].hash != before.hash


@pytest.mark.parametrize("column", ["symbol", "session", "open", "volume"])
def test_the_hash_tells_every_column(make_market, column):
    bars = make_market(n_symbols=2, n_sessions=5)
    other = bars.copy()
    other.loc[3, column] = {"symbol": "S9", "session": pd.Timestamp("2031-01-01")}.get(column, 1.25)
    assert content_hash(other) != content_hash(bars)


# A crash between the writes


def as_after_a_crash(desk: Desk, *unwritten: str) -> None:
    """Take the last commit of these tables away: what the disk holds when the machine stops before they are written."""
    for table in unwritten:
        commits = sorted(Path(desk.locations.table(table), "_delta_log").glob("*.json"))
        commits[-1].unlink()


BAD = {2: "jump"}
FIRST = bars_text(("A", 1, 1), ("B", 1, 1))
SECOND = bars_text(("A", 1, 2), ("A", 2, 1), ("B", 1, 7), ("C", 1, 1), ("C", 1, 1))


@pytest.mark.parametrize("unwritten", [("bars", "deliveries"), ("deliveries",)])
def test_a_crash_between_the_writes_is_mended_by_the_same_file(desk, unwritten):
    desk.write(FIRST)
    expected = desk.write(SECOND, LATER, BAD)
    closes = desk.closes()
    as_after_a_crash(desk, *unwritten)
    assert len(desk.store.deliveries()) == 1
    assert desk.write(SECOND, LATER, BAD) == expected
    assert desk.closes() == closes
    assert len(desk.store.quarantine(desk.store.deliveries()[1].delivery)) == 1


def test_mending_writes_nothing_twice(desk):
    desk.write(FIRST)
    desk.write(SECOND, LATER, BAD)
    as_after_a_crash(desk, "deliveries")
    versions = desk.version("bars"), desk.version("quarantine")
    desk.write(SECOND, LATER, BAD)
    assert (desk.version("bars"), desk.version("quarantine")) == versions


def test_a_late_arrival_is_mended_with_all_that_came_back_for_it(desk):
    desk.deliver(("A", 1, 1), known=EARLY)
    desk.deliver(("A", 1, 1), ("B", 1, 1), known=LATEST)
    expected = desk.deliver(("A", 1, 2), known=LATER)
    as_after_a_crash(desk, "deliveries")
    assert desk.deliver(("A", 1, 2), known=LATER) == expected
    assert (desk.closes(LATER)["A", 1], desk.closes(LATEST)["A", 1]) == (2, 1)


@pytest.mark.parametrize(
    ("bad", "factor"), [({}, 1), ({0: "jump", 2: "jump"}, 1), (BAD, 100)], ids=["none bad", "more bad", "other factor"]
)
def test_a_crash_is_not_mended_under_another_configuration(desk, bad, factor):
    """Otherwise the account would speak of rows that are not those in the tables."""
    desk.write(FIRST)
    desk.write(SECOND, LATER, BAD)
    as_after_a_crash(desk, "deliveries")
    with pytest.raises(StoreError, match=r"interrupted ingest of prices\.csv.*configuration of the first"):
        desk.write(SECOND, LATER, bad, SourceConfig(volume_factor=factor))
    assert len(desk.store.deliveries()) == 1


# Market and predictions


def market(**returns: float) -> "pd.Series[float]":
    index = pd.DatetimeIndex([f"2024-07-{name[1:]}" for name in returns]).astype("datetime64[s]")
    return pd.Series(list(returns.values()), index=index)


def test_the_market_is_recorded_once_and_revised_only_where_it_changed(desk):
    desk.store.record_market(market(d01=0.01, d02=0.02), EARLY)
    version = desk.version("market")
    desk.store.record_market(market(d01=0.01, d02=0.02), LATER)
    assert desk.version("market") == version
    desk.store.record_market(market(d01=0.01, d02=0.03, d03=0.0), LATER)
    assert DeltaTable(desk.locations.table("market")).to_pyarrow_table().num_rows == 4


def test_the_market_reads_as_known_then(desk):
    desk.store.record_market(market(d01=0.01, d02=0.02), EARLY)
    desk.store.record_market(market(d02=0.03), LATER)
    assert desk.store.market_as_known(EARLY - timedelta(days=1)).empty
    pd.testing.assert_series_equal(desk.store.market_as_known(EARLY), market(d01=0.01, d02=0.02), check_names=False)
    pd.testing.assert_series_equal(desk.store.market_as_known(LATER), market(d01=0.01, d02=0.03), check_names=False)


def test_of_two_market_returns_of_one_moment_the_later_recorded_counts(desk):
    for value in (0.01, 0.02, 0.01, 0.03):
        desk.store.record_market(market(d01=value), EARLY)
        assert desk.store.market_as_known(EARLY).tolist() == [value]


def predictions(version: str, p_up: float) -> pd.DataFrame:
    session = pd.Series(["2024-07-01"] * 2).astype("datetime64[s]")
    return pd.DataFrame({"session": session, "symbol": ["A", "B"], "version": version, "p_up": p_up})


def test_predictions_are_published_once_per_session_and_version(desk):
    assert desk.store.publish_predictions(predictions("v1", 0.6), LATER)
    assert not desk.store.publish_predictions(predictions("v1", 0.7), LATEST)
    assert desk.store.publish_predictions(predictions("v2", 0.8), LATEST)
    published = desk.store.predictions(DAYS[0])
    assert published.groupby("version")["p_up"].unique().map(list).to_dict() == {"v1": [0.6], "v2": [0.8]}


def test_heads_that_a_model_does_not_have_are_published_as_missing(desk):
    desk.store.publish_predictions(predictions("v1", 0.6), LATER)
    published = desk.store.predictions(DAYS[0])
    assert published["volatility"].isna().all()
    assert desk.store.predictions(DAYS[1]).empty
