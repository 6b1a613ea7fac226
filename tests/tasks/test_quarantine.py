"""Rows in quarantine, released or dropped by a person: the account stays, past nights do not see it."""

import io
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from models.errors import ConfigError, StoreError
from models.records import Account
from models.store import content_hash
from tasks.quarantine import drop, release, see
from tests.tasks.test_ingest import COLUMNS, END, NOW, Desk, as_bytes

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def market(make_market) -> pd.DataFrame:
    """Two symbols on eight sessions: on line 5 the close lies a little above the high, on line 7 it is missing."""
    bars = make_market(2, 8)
    bars = bars.assign(timestamp=bars["session"].dt.strftime("%Y-%m-%d"))[COLUMNS]
    bars.loc[3, "high"] = bars.loc[3, "close"] * 0.99
    bars.loc[5, "close"] = None
    return bars


def brought(desk: Desk, content, *assignments) -> str:
    return desk.ingest(content, *assignments, stated=NOW).delivery


def states(desk: Desk, delivery: str) -> dict[int, str]:
    return {row.line: row.state for row in see(desk.config(), delivery, None, True, 10).rows}


def test_what_waits_is_counted_by_delivery_and_rule_and_shown_as_delivered(desk, market):
    delivery = brought(desk, market)
    groups = see(desk.config(), None, None, False, 10).groups
    assert [(one.delivery, one.rule, one.waiting, one.first_line) for one in groups] == [
        (delivery, "missing_value", 1, 7), (delivery, "ohlc_order", 1, 5)
    ]  # fmt: skip
    (row,) = see(desk.config(), delivery[:6], "ohlc_order", False, 10).rows
    assert (row.line, row.state) == (5, "waiting")
    assert f'"close": "{market.loc[3, "close"]}"' in row.raw


@pytest.mark.parametrize("dress", ["csv", "parquet", "semicolons"])
def test_a_released_row_is_a_delivery_of_its_own_known_from_then_on(desk, market, dress):
    if dress == "parquet":
        stream = io.BytesIO()
        market.assign(timestamp=pd.to_datetime(market["timestamp"])).to_parquet(stream)
        content, line = stream.getvalue(), 4
    else:
        content, line = as_bytes(market) if dress == "csv" else market.to_csv(index=False, sep=";").encode(), 5
    delivery = brought(desk, content)
    before = content_hash(desk.bars(NOW))
    record = release(delivery, [line], None, "the exchange says so", desk.config(), LATER)
    assert record.account == Account(delivered=1, accepted=1)
    assert record.known_at_rule == "stated"
    assert content_hash(desk.bars(NOW)) == before
    bars = desk.bars(LATER).merge(desk.bars(NOW)[["symbol", "session"]], how="left", indicator=True)
    (new,) = bars[bars["_merge"] == "left_only"].itertuples()
    assert (new.symbol, new.close, new.high) == tuple(market.loc[3, ["symbol", "close", "high"]])
    assert states(desk, delivery)[line] == "released"
    assert desk.store.delivery(delivery).account.quarantined == 2


def test_all_rows_of_a_rule_are_released_together_and_again_is_a_repetition(desk, market):
    market.loc[9, "low"] = market.loc[9, "close"] * 1.01
    delivery = brought(desk, market)
    record = release(delivery, [], "ohlc_order", "rounding", desk.config(), LATER)
    assert record.account == Account(delivered=2, accepted=2)
    again = release(delivery, [], "ohlc_order", "rounding", desk.config(), LATER + timedelta(minutes=1))
    assert again.repeated
    assert len(desk.bars(END)) == 15


def test_a_released_row_that_breaks_another_rule_too_waits_again_under_that_one(desk, market):
    market.loc[3, "volume"] = -5
    delivery = brought(desk, market)
    record = release(delivery, [5], None, "seen", desk.config(), LATER)
    assert record.account == Account(delivered=1, quarantined=1, by_rule={"negative_volume": 1})
    (waiting,) = (one for one in see(desk.config(), None, "negative_volume", False, 10).groups)
    assert (waiting.delivery, waiting.name) == (record.delivery, "1 of prices.csv")


def test_of_two_rows_that_contradict_each_other_one_can_be_released(desk, market):
    twice = pd.concat([market, market.iloc[[0]].assign(volume=1)])
    delivery = brought(desk, twice)
    record = release(delivery, [18], None, "the later one is right", desk.config(), LATER)
    assert record.account.accepted == 1
    assert desk.bars(END).query("volume == 1")["symbol"].tolist() == [market["symbol"][0]]


def test_a_released_intraday_bar_is_made_part_of_its_session(desk):
    header = "symbol,timestamp,open,high,low,close,volume\n"
    lines = [f"A,2015-01-05 {hour}:30,10,11,9,10,100\n" for hour in (15, 16, 17)]
    bad = "A,2015-01-05 18:30,10,10,9,12,100\n"
    delivery = brought(desk, header + "".join(lines) + bad, "source.time_zone=UTC")
    release(delivery, [5], None, "a real print", desk.config(), LATER)
    assert desk.bars(NOW)[["close", "volume"]].to_numpy().tolist() == [[10, 300]]
    assert desk.bars(LATER)[["close", "volume"]].to_numpy().tolist() == [[12, 400]]


def test_a_dropped_row_is_not_asked_of_again(desk, market):
    delivery = brought(desk, market)
    settled = drop(delivery, [5], None, "a slip of the source", desk.config(), LATER)
    assert (settled.rows, settled.state) == (1, "dropped")
    assert states(desk, delivery) == {5: "dropped", 7: "waiting"}
    assert [one.rule for one in see(desk.config(), None, None, False, 10).groups] == ["missing_value"]
    assert len(desk.bars(END)) == 14


REFUSED = {
    "a row that is no bar": ({"lines": [7]}, "missing_value cannot be released"),
    "no reason": ({"lines": [5], "reason": " "}, "needs its reason"),
    "nothing named": ({}, "Name the lines"),
    "a sound line": ({"lines": [2, 5]}, "line 2 is not in quarantine"),
    "a rule that nothing broke": ({"rule": "jump"}, "No row of prices.csv is in quarantine by jump"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_released_is_refused_with_the_way_out(desk, market, case):
    asked, why = REFUSED[case]
    delivery = brought(desk, market)
    with pytest.raises(ConfigError, match=why):
        release(delivery, asked.get("lines", []), asked.get("rule"), asked.get("reason", "r"), desk.config(), LATER)
    assert set(states(desk, delivery).values()) == {"waiting"}
    assert len(desk.store.deliveries()) == 1


@pytest.mark.parametrize("name", ["abc", "0000000"])
def test_a_delivery_is_named_by_enough_of_its_hash(desk, market, name):
    brought(desk, market)
    with pytest.raises(ConfigError, match="one delivery, by the first 6 or more digits"):
        see(desk.config(), name, None, False, 10)


def test_without_the_kept_file_nothing_is_released(desk, market):
    delivery = brought(desk, market)
    (desk.home / "deliveries" / delivery).unlink()
    with pytest.raises(StoreError, match="Nothing was released; put it back"):
        release(delivery, [5], None, "seen", desk.config(), LATER)


def test_a_release_ended_before_its_decision_was_written_is_ended_by_the_same_command(desk, market, monkeypatch):
    delivery = brought(desk, market)
    settled = desk.home / "tables" / "settled"
    settled.parent.mkdir(exist_ok=True)
    settled.write_text("in the way")
    with pytest.raises(StoreError):
        release(delivery, [5], None, "seen", desk.config(), LATER)
    settled.unlink()
    assert release(delivery, [5], None, "seen", desk.config(), datetime(2015, 3, 4, tzinfo=UTC)).repeated
    assert states(desk, delivery)[5] == "released"
    assert len(desk.bars(END)) == 15
