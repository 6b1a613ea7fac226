"""Deliveries into the store, good and bad: every row accounted for, and a message that says how to mend the rest."""

import gzip
import io
import json
import logging
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from models.config import RetrainConfig
from models.delivered_file import DeliveredFile
from models.delivery import demo_delivery
from models.errors import ConfigError, DeliveryError, DeliveryStopped, StoreError
from models.locations import Locations
from models.records import Account, DeliveryRecord
from models.settings import load_settings, shipped
from models.store import BarsStore
from tasks.ingest import bring_in, ingest_delivery
from tasks.snapshot import identify_night

NOW = datetime(2015, 3, 2, 23, tzinfo=UTC)
END = datetime(2042, 1, 1, tzinfo=UTC)
N_SYMBOLS, N_SESSIONS = 10, 8
COLUMNS = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]


class Desk:
    """Writes files, and brings them into the store of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.locations = Locations(self.config().storage)

    def config(self, *assignments: str) -> RetrainConfig:
        return load_settings(assignments=[f"storage.home={self.home}", *assignments]).config

    @property
    def store(self) -> BarsStore:
        return BarsStore(self.locations)

    def file(self, content: pd.DataFrame | str | bytes, name: str = "prices.csv") -> str:
        path = self.home / "incoming" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(as_bytes(content))
        return str(path)

    def ingest(self, content, *assignments, stated=None, now=NOW, name="prices.csv") -> DeliveryRecord:
        return bring_in(self.file(content, name), self.config(*assignments), stated, now)

    def stopped(self, content, *assignments, **options) -> str:
        with pytest.raises(DeliveryStopped) as stopped:
            self.ingest(content, *assignments, **options)
        return str(stopped.value)

    def bars(self, as_of: datetime = END) -> pd.DataFrame:
        return self.store.as_known(as_of)

    def version(self, table: str) -> int:
        return DeltaTable(self.locations.table(table)).version()


def as_bytes(content: pd.DataFrame | str | bytes) -> bytes:
    if isinstance(content, pd.DataFrame):
        content = content.to_csv(index=False)
    return content.encode() if isinstance(content, str) else content


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="session")
def market(make_market) -> pd.DataFrame:
    """Ten symbols on the eight sessions from 5 January 2015, as a source would write them; nothing wrong with them."""
    bars = make_market(N_SYMBOLS, N_SESSIONS)
    return bars.assign(timestamp=bars["session"].dt.strftime("%Y-%m-%d"))[COLUMNS]


def with_row(market: pd.DataFrame, row: int = 3, **values) -> pd.DataFrame:
    changed = market.astype(object)
    for column, value in values.items():
        changed.loc[row, column] = value
    return changed


# The demo panel


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Desk, DeliveryRecord, RetrainConfig]:
    desk = Desk(tmp_path_factory.mktemp("demo"))
    config = load_settings(base=shipped("demo.yaml"), assignments=[f"storage.home={desk.home}"]).config
    return desk, bring_in(demo_delivery(), config, None, datetime(2020, 1, 1, tzinfo=UTC)), config


def test_every_row_of_the_demo_panel_is_accounted_for(demo):
    _, record, _ = demo
    expected = Account(delivered=122_574, accepted=122_497, quarantined=77, by_rule={"ohlc_order": 77})
    assert record.account == expected
    assert record.known_at_rule == "bar close (bulk load)"


def test_the_demo_panel_without_its_quarantined_rows_is_in_the_store(demo):
    desk, record, _ = demo
    assert len(desk.bars()) == 122_497
    assert len(desk.store.quarantine(record.delivery)) == 77


def test_the_demo_panel_again_changes_nothing(demo):
    desk, _, config = demo
    before = {table: desk.version(table) for table in ("bars", "quarantine", "deliveries")}
    again = bring_in(demo_delivery(), config, None, datetime(2020, 1, 2, tzinfo=UTC))
    assert again.repeated
    assert again.account == Account(delivered=122_574, duplicate=122_574)
    assert {table: desk.version(table) for table in before} == before


# Loads of history beside what is stored


@pytest.fixture(scope="module")
def long(make_market) -> pd.DataFrame:
    """Three symbols on a hundred sessions."""
    bars = make_market(3, 100)
    return bars.assign(timestamp=bars["session"].dt.strftime("%Y-%m-%d"))[COLUMNS]


def findings(record: DeliveryRecord) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {found.rule: (found.count, found.examples) for found in record.findings if not found.held}


def test_a_long_load_of_one_symbol_does_not_miss_sessions_of_which_others_have_bars(desk, long):
    first, second, _ = long["symbol"].unique()
    days = long["timestamp"].unique()
    without = long[~((long["symbol"] == second) & (long["timestamp"] == days[4]))]
    desk.ingest(long[(long["symbol"] == first) & (long["timestamp"] != days[9])], now=END, name="one.csv")
    record = desk.ingest(
        without[(without["symbol"] == second) & (without["timestamp"] != days[9])], now=END, name="two.csv"
    )
    assert findings(record)["missing_sessions"] == (1, (days[9],))


def test_a_long_load_is_compared_with_what_is_stored_of_its_symbols_from_beginning_to_end(desk, long):
    first = long[long["symbol"] == long["symbol"].iloc[0]].reset_index(drop=True)
    fallen = first.copy()
    fallen[["open", "high", "low", "close"]] *= np.where(np.arange(len(first)) >= 8, 0.3, 1.0)[:, None]
    desk.ingest(fallen.iloc[:8], stated=datetime(2015, 1, 20, tzinfo=UTC), now=END, name="early.csv")
    record = desk.ingest(fallen.iloc[8:], now=END, name="later.csv")
    assert findings(record)["jump"][0] == 1
    assert findings(record)["jump"][1][0].startswith(f"{first['symbol'][0]} {first['timestamp'][8]}")


# Dresses


def parquet(market: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    market.assign(timestamp=pd.to_datetime(market["timestamp"])).to_parquet(stream)
    return stream.getvalue()


def archive(market: pd.DataFrame) -> bytes:
    stream, content = io.BytesIO(), as_bytes(market)
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in (("readme.txt", b"hello"), ("prices.csv", content)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("dress", "name"),
    [
        (as_bytes, "prices.csv"), (lambda market: gzip.compress(as_bytes(market)), "prices.csv.gz"),
        (parquet, "prices.parquet"), (archive, "drop.tar.gz"),
    ],
)  # fmt: skip
def test_the_same_bars_come_out_of_every_dress(desk, market, dress, name):
    record = desk.ingest(dress(market), name=name)
    assert record.account == Account(delivered=len(market), accepted=len(market))
    np.testing.assert_array_equal(desk.bars()["close"], market["close"])


def test_a_source_is_mapped_by_configuration(desk, market):
    theirs = market.rename(columns={"symbol": "Ticker", "timestamp": "Date", "volume": "Lots"})
    mapping = '{"symbol": "Ticker", "timestamp": "Date", "volume": "Lots"}'
    desk.ingest(theirs, f"source.columns={mapping}", "source.volume_factor=100")
    np.testing.assert_allclose(desk.bars()["volume"], market["volume"] * 100)


def test_a_file_appended_to_itself_three_times_with_its_header_counts_every_line(desk, market):
    account = desk.ingest(as_bytes(market) * 3).account
    n_rows = len(market)
    assert account.delivered == 3 * n_rows + 2
    assert (account.accepted, account.duplicate, account.by_rule) == (n_rows, 2 * n_rows, {"unreadable": 2})
    assert len(desk.bars()) == n_rows


def test_naive_stamps_are_of_the_zone_that_the_source_names(desk, market):
    closes = market.assign(timestamp=market["timestamp"] + " 16:00")
    desk.ingest(closes, "source.time_zone=America/New_York")
    assert desk.bars()["session"].dt.strftime("%Y-%m-%d").tolist() == market["timestamp"].tolist()


def test_stamps_of_another_offset_fall_on_the_session_of_the_exchange(desk, market):
    tokyo = (pd.to_datetime(market["timestamp"]) + pd.Timedelta(days=1)).dt.strftime("%Y-%m-%dT06:00+09:00")
    desk.ingest(market.assign(timestamp=tokyo))
    assert desk.bars()["session"].dt.strftime("%Y-%m-%d").tolist() == market["timestamp"].tolist()


# What cannot be read


def test_a_missing_file_changes_nothing_and_is_told(desk):
    with pytest.raises(DeliveryError, match=r"no such file.*whether the source has delivered"):
        bring_in(str(desk.home / "none.csv"), desk.config(), None, NOW)
    assert desk.store.deliveries() == ()


@pytest.mark.parametrize("content", ["", ",".join(COLUMNS) + "\n"])
def test_an_empty_file_is_stopped_kept_and_recorded(desk, content):
    message = desk.stopped(content)
    assert "empty_delivery" in message
    (record,) = desk.store.deliveries()
    assert (record.status, record.account.delivered, record.name) == ("stopped", 0, "prices.csv")
    assert Path(desk.locations.deliveries, record.delivery).read_text() == content
    assert desk.bars().empty


def test_wrong_columns_are_told_with_the_way_to_map_them(desk, market):
    with pytest.raises(DeliveryError, match=r"no column for symbol .*Found: 'Ticker'.*source\.columns"):
        desk.ingest(market.rename(columns={"symbol": "Ticker"}))
    assert desk.store.deliveries() == ()


def test_a_delivery_of_which_nothing_can_be_read_shows_one_of_its_lines(desk, market):
    american = market.assign(timestamp=pd.to_datetime(market["timestamp"]).dt.strftime("%m/%d/%Y"))
    message = desk.stopped(american)
    assert f"{len(market)} of its lines could not be read, the first of them line 2" in message
    assert "01/05/2015" in message
    assert "source.timestamp_format" in message


def test_text_in_a_price_costs_one_row_and_keeps_its_text(desk, market):
    record = desk.ingest(with_row(market, close="suspended"))
    assert record.account.by_rule == {"unreadable": 1}
    (raw,) = desk.store.quarantine(record.delivery)["raw"]
    assert json.loads(raw)["close"] == "suspended"


# What the contract takes out


BAD_ROWS = [
    ({"close": ""}, "missing_value"),
    ({"high": "inf"}, "not_finite"),
    ({"low": "NaN"}, "missing_value"),
    ({"open": 0}, "nonpositive_price"),
    ({"high": 0.01}, "ohlc_order"),
    ({"volume": -1}, "negative_volume"),
    ({"timestamp": "2042-01-02"}, "future_session"),
    ({"timestamp": "2015-01-10"}, "not_a_session"),
    ({"symbol": "../../etc/passwd"}, "unsafe_symbol"),
    ({"symbol": "<script>alert(1)</script>"}, "unsafe_symbol"),
]


def test_every_bad_row_goes_to_quarantine_by_its_rule_as_it_came_and_stays_absent(desk, market):
    content = market
    for row, (values, _) in enumerate(BAD_ROWS):
        content = with_row(content, row, **values)
    record = desk.ingest(content)
    quarantine = desk.store.quarantine(record.delivery)
    assert list(zip(quarantine["line"], quarantine["rule"], strict=True)) == [
        (row + 2, rule) for row, (_, rule) in enumerate(BAD_ROWS)
    ]
    for raw, (values, _) in zip(quarantine["raw"], BAD_ROWS, strict=True):
        assert json.loads(raw).items() >= {name: str(value) for name, value in values.items()}.items()
    np.testing.assert_array_equal(desk.bars()["close"], market["close"].iloc[len(BAD_ROWS) :])


def test_markup_in_a_symbol_or_a_file_name_is_harmless_in_the_data_docs(desk, market):
    evil = "<img src=x onerror=alert(1)>"
    desk.ingest(with_row(market, symbol=evil), name=f"{evil}.csv")
    pages = [page.read_text() for page in Path(desk.locations.data_docs).rglob("*.html")]
    assert pages
    assert not any(evil in page for page in pages)


def test_a_path_in_a_symbol_or_a_file_name_leaves_no_file_outside_the_home(tmp_path, market):
    desk = Desk(tmp_path / "one" / "two" / "home")
    desk.home.mkdir(parents=True)
    desk.ingest(with_row(market, symbol="../../../passwd"), name="..%2f..%2fpasswd.csv")
    outside = {path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(desk.home)}
    assert outside == set()


def test_rows_of_one_key_that_agree_are_duplicates_and_those_that_differ_all_go(desk, market):
    agreeing, differing = market.iloc[[5]], market.iloc[[9]].assign(volume=1.0)
    record = desk.ingest(pd.concat([market, agreeing, differing]))
    assert (record.account.duplicate, record.account.by_rule) == (1, {"conflicting_rows": 2})
    absent = market.iloc[9]
    assert not ((desk.bars()["symbol"] == absent["symbol"]) & (desk.bars()["close"] == absent["close"])).any()
    assert len(desk.bars()) == len(market) - 1


def test_a_symbol_with_three_bars_is_stored(desk, market):
    few = market.iloc[-3:].assign(symbol="NEW")
    assert desk.ingest(pd.concat([market, few])).account.accepted == len(market) + 3


# What stops a delivery, and how it is released


def half_of(market: pd.DataFrame) -> pd.DataFrame:
    newest = market["timestamp"] == market["timestamp"].max()
    return market[~newest | market["symbol"].isin([f"S{k:03d}" for k in range(4)])]


def test_half_the_symbols_stop_a_delivery_and_a_level_releases_it(desk, market):
    message = desk.stopped(half_of(market))
    assert "completeness" in message
    assert "2015-01-14: 4 symbols, 40% of those that usually deliver" in message
    assert desk.bars().empty
    released = desk.ingest(half_of(market), "contract.levels.completeness=warn")
    assert released.account.accepted == len(half_of(market))
    assert [one.status for one in desk.store.deliveries()] == ["stopped", "accepted"]


def test_the_message_of_a_stopped_delivery_names_the_settings_that_release_it(desk, market):
    levels = ["contract.levels.conflicting_rows=stop", "contract.levels.jump=stop"]
    jump = with_row(market, row=12, open=900.0, high=900.0, low=900.0, close=900.0)
    content = pd.concat([jump, jump.iloc[[2]].assign(volume=1.0)])
    message = desk.stopped(content, *levels)
    named = message.partition("deliver it again with ")[2].partition(". It is kept")[0]
    assert named == "--set contract.levels.conflicting_rows=quarantine --set contract.levels.jump=warn"
    record = desk.ingest(content, *named.removeprefix("--set ").split(" --set "))
    assert record.account.by_rule == {"conflicting_rows": 2}


def test_the_same_stopped_file_is_recorded_once(desk, market):
    for _ in range(2):
        desk.stopped(half_of(market))
    assert len(desk.store.deliveries()) == 1


def test_the_last_session_of_a_delivery_is_that_of_its_sound_rows(desk, market):
    record = desk.ingest(with_row(market, timestamp="2042-01-02"))
    assert str(record.last) == market["timestamp"].max()


# Beside what is there


def test_restated_volumes_are_revisions_known_from_their_own_time_on(desk, market):
    first, second = NOW, NOW + timedelta(days=1)
    desk.ingest(market, stated=first, now=second)
    newest = market["timestamp"] == market["timestamp"].max()
    restated = market.assign(volume=market["volume"].where(~newest, market["volume"] + 100))
    account = desk.ingest(restated, stated=second, now=second).account
    assert (account.accepted, account.revised, account.duplicate) == (0, N_SYMBOLS, len(market) - N_SYMBOLS)
    np.testing.assert_array_equal(desk.bars(first)["volume"], market["volume"])
    np.testing.assert_array_equal(desk.bars(second)["volume"], restated["volume"])


def test_a_correction_of_a_few_symbols_is_no_incomplete_session(desk, market):
    desk.ingest(market, stated=NOW)
    correction = market.groupby("symbol").tail(1).iloc[:3].assign(volume=5.0)
    later = NOW + timedelta(days=1)
    assert desk.ingest(correction, stated=later, now=later).account.revised == 3


def test_a_delivery_older_than_the_store_joins_it(desk, market):
    sessions = sorted(market["timestamp"].unique())
    newer, older = (market[market["timestamp"].isin(part)] for part in (sessions[5:], sessions[:5]))
    desk.ingest(newer, stated=NOW)
    assert desk.ingest(older, stated=NOW - timedelta(days=1)).account.accepted == len(older)
    np.testing.assert_array_equal(desk.bars()["close"], market["close"])
    assert len(desk.bars(NOW - timedelta(days=1))) == len(older)


def test_what_was_known_does_not_depend_on_the_order_of_arrival(tmp_path, market):
    moments = [NOW - timedelta(days=3 - k) for k in range(3)]
    doubled = market.assign(volume=market["volume"] * 2)
    back = pd.concat([market, market.iloc[-1:].assign(symbol="NEW")])  # as it was, and one symbol more
    contents = [market, doubled, back]
    reads = []
    for order in ((0, 1, 2), (0, 2, 1)):
        desk = Desk(tmp_path / "".join(map(str, order)))
        desk.home.mkdir()
        for k in order:
            desk.ingest(contents[k], stated=moments[k])
        reads.append([desk.bars(moment) for moment in moments])
    for in_turn, out_of_turn in zip(*reads, strict=True):
        pd.testing.assert_frame_equal(in_turn, out_of_turn)


def test_a_time_that_has_not_come_is_refused_and_nothing_stored(desk, market):
    with pytest.raises(ConfigError, match="has not come yet"):
        desk.ingest(market, stated=NOW + timedelta(days=1))
    assert desk.store.deliveries() == ()


def test_tonights_bars_are_known_tonight_though_the_file_name_says_only_the_date(desk, market):
    record = desk.ingest(market, "source.known_at_pattern=(\\d{4}-\\d{2}-\\d{2})", name="2015-03-02.csv")
    assert record.known_at_rule == "file name"
    assert len(desk.bars(NOW)) == len(market)


# A store that cannot be used


def test_a_home_below_a_file_is_told(desk, market):
    (desk.home / "file").write_text("in the way")
    config = desk.config(f"storage.tables={desk.home}/file/tables", f"storage.deliveries={desk.home}/file/deliveries")
    with pytest.raises(StoreError, match=r"deliveries cannot be made or written: Not a directory.*NOCTURNE_HOME"):
        bring_in(desk.file(market), config, None, NOW)


def test_a_damaged_store_is_told_and_is_whole_again_when_it_is_mended(desk, market):
    desk.ingest(market)
    (data,) = Path(desk.locations.table("bars")).glob("*.parquet")
    data.rename(data.with_suffix(".aside"))
    with pytest.raises(StoreError, match=f"{data.name}.*champion is untouched.*backup"):
        desk.ingest(market.assign(volume=1.0))
    data.with_suffix(".aside").rename(data)
    assert desk.ingest(market.assign(volume=1.0)).account.revised == len(market)


def test_a_delivery_that_failed_between_the_writes_is_mended_by_the_same_file(desk, market):
    content = with_row(market, open=0)
    desk.ingest(market.head(N_SESSIONS), "contract.levels.completeness=warn")
    in_the_way = Path(desk.locations.table("bars"), "_delta_log", f"{desk.version('bars') + 1:020d}.json")
    in_the_way.mkdir()  # the bars cannot be committed; quarantine was
    with pytest.raises(StoreError, match="bars cannot be written"):
        desk.ingest(content)
    assert len(desk.store.deliveries()) == 1
    in_the_way.rmdir()
    assert desk.ingest(content).account == Account(
        delivered=len(market),
        accepted=len(market) - N_SESSIONS,
        duplicate=N_SESSIONS - 1,
        quarantined=1,
        by_rule={"nonpositive_price": 1},
    )


def test_the_task_is_the_same_function_and_says_in_one_sentence_where_the_rows_went(desk, market, caplog):
    with caplog.at_level(logging.INFO, "tasks"):
        record = ingest_delivery.fn(desk.file(market), desk.config())
    assert record.account.accepted == len(market)
    (told,) = [one.getMessage() for one in caplog.records if one.name.startswith("tasks")]
    assert f"of {len(market):,} rows {len(market):,} accepted" in told
    assert told.endswith(f"sessions {record.first} to {record.last}.")


def test_one_file_that_arrives_twice_at_once_is_accepted_once(desk, market):
    uri, config = desk.file(market), desk.config()
    with ThreadPoolExecutor(2) as arrivals:
        told = list(arrivals.map(lambda _: bring_in(uri, config, None, NOW), range(2)))
    assert sorted(one.repeated for one in told) == [False, True]
    assert len(desk.store.deliveries()) == 1
    assert len(desk.bars()) == len(market)


def test_deliveries_of_the_same_bars_that_arrive_at_once_lose_and_double_nothing(tmp_path, market):
    days = market["timestamp"].unique()
    parts = [market[market["timestamp"].isin(days[first : first + 5])] for first in range(4)]
    parts = [part.assign(volume=part["volume"] + number % 2) for number, part in enumerate(parts)]
    known = [NOW - timedelta(days=10 - number) for number in range(4)]
    at_once, in_turn = (Desk(tmp_path / name) for name in ("at_once", "in_turn"))
    for desk in (at_once, in_turn):
        desk.home.mkdir()
    uris = [at_once.file(part, f"{number}.csv") for number, part in enumerate(parts)]
    with ThreadPoolExecutor(4) as arrivals:
        told = list(arrivals.map(bring_in, uris, [at_once.config()] * 4, known, [NOW] * 4))
    for number, part in enumerate(parts):
        in_turn.ingest(part, stated=known[number], name=f"{number}.csv")
    assert [one.account.delivered for one in told] == [len(part) for part in parts]
    stored = at_once.store.facts()
    assert not stored.duplicated(["symbol", "session", "known_at"]).any()
    said = ["symbol", "session", "known_at", "volume"]
    pd.testing.assert_frame_equal(stored[said], in_turn.store.facts()[said])


def test_an_interrupted_delivery_is_taken_up_as_of_its_first_try(desk, market, monkeypatch):
    """Between its two tries another one has revised a bar that it repeats."""
    last = market["timestamp"].max()
    earlier, tonight = (
        market[market["timestamp"] < last],
        market[market["timestamp"] >= market["timestamp"].unique()[-2]],
    )
    desk.ingest(earlier, now=NOW - timedelta(days=2), name="history.csv")
    with monkeypatch.context() as broken:
        broken.setattr(BarsStore, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk.ingest(tonight, now=NOW - timedelta(days=1), name="a.csv")
    revised = tonight[tonight["timestamp"] < last].assign(volume=lambda frame: frame["volume"] + 1)
    desk.ingest(revised, now=NOW - timedelta(hours=12), name="b.csv")
    record = desk.ingest(tonight, now=NOW, name="a.csv")
    assert (record.account.accepted, record.account.duplicate) == (N_SYMBOLS, N_SYMBOLS)
    assert record.received_at == NOW - timedelta(days=1)
    night_before = desk.bars().query("session == session.unique()[-2]")
    assert (night_before["volume"].to_numpy() == revised["volume"].to_numpy()).all()


def test_of_a_delivery_that_has_reached_the_quarantine_only_the_kept_file_says_when_it_came(desk, market, monkeypatch):
    write = BarsStore._write_once

    def until_the_bars(store, table, *rest):
        if table.uri == desk.locations.table("bars"):
            raise KeyboardInterrupt
        write(store, table, *rest)

    content = with_row(market, open=0.0)
    monkeypatch.setattr(BarsStore, "_write_once", until_the_bars)
    with pytest.raises(KeyboardInterrupt):
        desk.ingest(content)
    begun = desk.store.begun(DeliveredFile("", as_bytes(content)).sha256)
    assert abs(begun - datetime.now(UTC)) < timedelta(minutes=5)
    assert desk.store.begun("another") is None


def test_a_typo_of_a_date_is_no_newest_session(desk, market):
    typo = with_row(market, timestamp="2015-12-02")
    desk.stopped(typo, "contract.levels.future_session=stop")
    (record,) = desk.store.deliveries()
    assert record.last < NOW.date()


def test_a_row_of_a_day_without_a_session_does_not_hold_up_the_night(desk, market):
    friday, saturday = "2015-02-27", "2015-02-28"
    assert market["timestamp"].astype(str).max() <= friday
    desk.ingest(market, name="history.csv")
    lone = with_row(market, row=len(market) - 1, timestamp=saturday).tail(1)
    desk.ingest(lone, "contract.levels.not_a_session=warn", "contract.levels.completeness=warn", name="lone.csv")
    assert desk.store.last_session() == date(2015, 2, 28)
    night = identify_night(None, desk.config(), NOW, write=False)
    assert night.snapshot.session < date(2015, 2, 28)
