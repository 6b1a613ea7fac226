"""Intraday deliveries: checked row by row, stored as session bars, and partial sessions are told."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.calendar import Calendar
from models.config import RetrainConfig
from models.errors import DeliveryError
from models.locations import Locations
from models.records import DeliveryRecord
from models.settings import load_settings
from models.store import BarsStore
from tasks.ingest import bring_in
from tests.real_data import real

AFTER_CLOSE = datetime(2024, 7, 2, 22, tzinfo=UTC)
SYMBOLS = ("A", "B")


class Desk:
    """Brings files into the store of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def config(self, *assignments: str) -> RetrainConfig:
        return load_settings(assignments=[f"storage.home={self.home}", *assignments]).config

    @property
    def store(self) -> BarsStore:
        return BarsStore(Locations(self.config().storage))

    def ingest(self, bars: pd.DataFrame, *assignments: str, now: datetime = AFTER_CLOSE) -> DeliveryRecord:
        path = self.home / f"{now:%H%M}-{len(bars)}.csv"
        bars.to_csv(path, index=False)
        return bring_in(str(path), self.config(*assignments), now, now)

    def bars(self) -> pd.DataFrame:
        return self.store.as_known(datetime(2042, 1, 1, tzinfo=UTC))


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


def half_hours(first: str = "2024-07-02T13:30Z", n_bars: int = 13) -> pd.DataFrame:
    """Sound half-hourly bars of two symbols."""
    times = pd.date_range(first, periods=n_bars, freq="30min")
    one = pd.DataFrame({"timestamp": times, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 100.0})
    return pd.concat([one.assign(symbol=symbol) for symbol in SYMBOLS], ignore_index=True)


def broken(record: DeliveryRecord) -> dict[str, int]:
    return {found.rule: found.count for found in record.findings if not found.held}


def test_a_whole_session_breaks_no_rule_and_is_one_bar_a_symbol(desk):
    record = desk.ingest(half_hours())
    assert broken(record) == {}
    assert record.account.accepted == record.account.delivered == 26
    assert desk.bars()[["symbol", "open", "close", "volume"]].to_numpy().tolist() == [
        ["A", 2.0, 2.5, 1300.0],
        ["B", 2.0, 2.5, 1300.0],
    ]


def test_rows_outside_the_trading_hours_go_to_quarantine_and_the_others_make_the_bar(desk):
    record = desk.ingest(half_hours("2024-07-02T12:00Z", 16))
    assert record.account.by_rule == {"outside_session": 6}
    assert set(desk.bars()["volume"]) == {1300.0}
    assert desk.store.quarantine(record.delivery)["line"].tolist() == [2, 3, 4, 18, 19, 20]


@pytest.mark.slow
def test_rows_outside_the_trading_hours_can_be_let_in(desk):
    record = desk.ingest(half_hours("2024-07-02T12:00Z", 16), "contract.levels.outside_session=warn")
    assert record.account.accepted == 32
    assert set(desk.bars()["volume"]) == {1600.0}


@pytest.mark.slow
def test_a_day_without_a_session_is_no_matter_of_hours(desk):
    record = desk.ingest(half_hours("2024-07-04T13:30Z"), now=datetime(2024, 7, 5, 22, tzinfo=UTC))
    assert record.account.by_rule == {"not_a_session": 26}


def test_one_bad_row_costs_itself_and_its_minutes(desk):
    bars = half_hours()
    bars.loc[3, "close"] = 0.0
    record = desk.ingest(bars)
    assert record.account.by_rule == {"nonpositive_price": 1}
    assert desk.bars()["coverage"].tolist() == [pytest.approx(360 / 390), 1.0]


def test_equal_repeats_are_duplicates_and_contradicting_rows_all_go(desk):
    bars = half_hours()
    record = desk.ingest(pd.concat([bars, bars.iloc[[0]], bars.iloc[[5]].assign(close=2.6)]))
    assert (record.account.accepted, record.account.duplicate) == (25, 1)
    assert record.account.by_rule == {"conflicting_rows": 2}


def test_a_bar_that_has_not_begun_is_of_the_future(desk):
    record = desk.ingest(half_hours(), now=datetime(2024, 7, 2, 16, 15, tzinfo=UTC))
    assert record.account.by_rule == {"future_session": 14}


def test_a_jump_is_one_session_bar_and_quarantines_all_its_rows(desk):
    desk.ingest(half_hours("2024-07-01T13:30Z"), now=datetime(2024, 7, 1, 22, tzinfo=UTC))
    bars = half_hours()
    bars.loc[bars["symbol"] == "A", ["open", "high", "low", "close"]] *= 10
    assert broken(desk.ingest(bars)) == {"jump": 1, "suspect_split": 1}
    again = desk.ingest(bars.assign(volume=7), "contract.levels.jump=quarantine")
    assert again.account.by_rule == {"jump": 13}


def test_a_partial_session_is_told_once_it_has_ended_and_not_when_the_rest_has_come(desk):
    morning, rest = half_hours(n_bars=5), half_hours("2024-07-02T16:00Z", 8)
    assert broken(desk.ingest(morning, now=datetime(2024, 7, 2, 16, 1, tzinfo=UTC))) == {}
    assert broken(desk.ingest(rest)) == {}
    late = desk.ingest(half_hours("2024-07-01T13:30Z", 5))
    assert broken(late) == {"partial_session": 2}


def test_a_correction_of_one_bar_is_read_as_the_intraday_bar_that_it_is(desk):
    desk.ingest(half_hours())
    one = half_hours().iloc[[12]].assign(close=2.9)
    record = desk.ingest(one, now=datetime(2024, 7, 2, 23, tzinfo=UTC))
    assert record.account.revised == 1
    assert desk.bars()[["close", "volume"]].to_numpy().tolist() == [[2.9, 1300.0], [2.5, 1300.0]]


def test_bars_of_another_length_are_refused_and_nothing_stored(desk):
    desk.ingest(half_hours())
    finer = half_hours().assign(timestamp=pd.date_range("2024-07-02T13:30Z", periods=26, freq="5min"))
    with pytest.raises(DeliveryError, match="of 5 minutes"):
        desk.ingest(finer, now=datetime(2024, 7, 2, 23, tzinfo=UTC))
    assert len(desk.store.deliveries()) == 1


def test_a_file_of_nothing_but_bad_intraday_rows_is_accounted_for(desk):
    record = desk.ingest(half_hours().assign(symbol="A/B"), "contract.levels.completeness=warn")
    assert record.account.by_rule == {"unsafe_symbol": 26}


# Real markets


@pytest.mark.slow
def test_hourly_bars_of_real_stocks_make_the_daily_bars_of_their_source(desk):
    daily = pd.read_parquet(real("lean_sample/lean_us_daily.parquet")).rename(columns={"timestamp": "session"})
    config = desk.config("source.time_zone=America/New_York", "contract.levels.completeness=warn")
    account = bring_in(str(real("lean_sample/lean_us_hour.parquet")), config, None, datetime.now(UTC)).account
    assert account.accepted + account.quarantined == account.delivered == 228_527
    assert account.by_rule == {"outside_session": 192}  # after an early close
    bars = desk.bars()
    both = bars[bars["coverage"] == 1].merge(daily, on=["symbol", "session"], suffixes=("", "_daily"))
    both = both[both["symbol"].isin(["AAPL", "BAC", "IBM", "SPY", "AIG"])]
    minutes = Calendar("XNYS").hours(both["session"].to_numpy("datetime64[D]")).minutes
    both = both[minutes == 390]  # its daily bars go on after an early close
    assert len(both) == 28_977
    for column in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(both[column], both[f"{column}_daily"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exchange", "sessions"),
    [("bitfinex7_1h/bitfinex7_1h.parquet", "24/7", 5110), ("forex12/forex_d1.parquet", "24/5", 28_800)],
)
def test_markets_around_the_clock_are_taken_whole(desk, name, exchange, sessions):
    config = desk.config(f"data.exchange={exchange}")
    account = bring_in(str(real(name)), config, None, datetime.now(UTC)).account
    assert account.accepted == account.delivered
    assert len(desk.bars()) == sessions


@pytest.mark.slow
def test_five_minute_bars_with_slashes_in_their_symbols_are_renamed_at_the_source_and_taken(desk):
    bars = pd.read_parquet(real("freqtrade_crypto_5m/freqtrade_5m.parquet"))
    bars["symbol"] = bars["symbol"].str.replace("/", "-")
    path = desk.home / "5m.parquet"
    bars.to_parquet(path)
    config = desk.config("data.exchange=24/7", "contract.levels.completeness=warn")
    record = bring_in(str(path), config, None, datetime.now(UTC))
    assert record.account.accepted == len(bars)
    assert broken(record)["partial_session"] == 23  # the first and the last day of each pair
