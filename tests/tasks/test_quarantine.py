"""Rows in quarantine, released or dropped by a person: the account stays, past nights do not see it."""

import io
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from flows.console import show_quarantine
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


def test_all_rows_of_a_rule_are_released_together_and_once(desk, market):
    market.loc[9, "low"] = market.loc[9, "close"] * 1.01
    delivery = brought(desk, market)
    record = release(delivery, [], "ohlc_order", "rounding", desk.config(), LATER)
    assert record.account == Account(delivered=2, accepted=2)
    assert len(desk.bars(END)) == 15
    for lines, rule, why in (([], "ohlc_order", "and waits"), ([5], None, "line 5 was released before")):
        with pytest.raises(ConfigError, match=why):
            release(delivery, lines, rule, "rounding", desk.config(), LATER + timedelta(minutes=1))
    assert len(desk.store.deliveries()) == 2


def test_a_released_row_that_breaks_another_rule_too_waits_again_under_that_one(desk, market):
    market.loc[3, "volume"] = -5
    delivery = brought(desk, market)
    record = release(delivery, [5], None, "seen", desk.config(), LATER)
    assert record.account == Account(delivered=1, quarantined=1, by_rule={"negative_volume": 1})
    (waiting,) = (one for one in see(desk.config(), None, "negative_volume", False, 10).groups)
    assert (waiting.delivery, waiting.name) == (record.delivery, "1 of prices.csv")
    assert f'"line of {delivery[:12]}": "5"' in see(desk.config(), record.delivery, None, False, 10).rows[0].raw
    again = release(record.delivery, [2], None, "both seen", desk.config(), LATER + timedelta(minutes=1))
    assert again.account == Account(delivered=1, accepted=1)
    assert desk.bars(END)["volume"].min() == -5


@pytest.mark.parametrize("dress", ["csv", "parquet"])
def test_a_file_of_nothing_but_the_row_is_released_all_the_same(desk, market, dress):
    stream = io.BytesIO()
    market.iloc[[3]].to_parquet(stream, index=False)
    delivery = brought(desk, market.iloc[[3]] if dress == "csv" else stream.getvalue())
    record = release(delivery, [], "ohlc_order", "seen", desk.config(), LATER)
    assert not record.repeated
    assert len(desk.bars(END)) == 1


def test_equal_lines_of_two_deliveries_are_two_releases(desk, market):
    first, second = (brought(desk, market.iloc[rows]) for rows in (slice(3, 5), slice(2, 4)))
    release(first, [2], None, "seen", desk.config(), LATER)
    mended = market.iloc[[3]].assign(high=market["high"].max() * 2)
    desk.ingest(mended, now=LATER + timedelta(hours=1))
    record = release(second, [3], None, "it was right", desk.config(), LATER + timedelta(hours=2))
    assert record.account == Account(delivered=1, revised=1)


def test_a_dropped_row_is_not_among_those_that_a_rule_releases_and_can_be_named(desk, market):
    market.loc[9, "low"] = market.loc[9, "close"] * 1.01
    delivery = brought(desk, market)
    drop(delivery, [5], None, "a slip of the source", desk.config(), LATER)
    assert release(delivery, [], "ohlc_order", "rounding", desk.config(), LATER).account.delivered == 1
    assert states(desk, delivery) == {5: "dropped", 7: "waiting", 11: "released"}
    later = LATER + timedelta(minutes=1)
    assert release(delivery, [5], None, "no slip", desk.config(), later).account.accepted == 1


def test_a_released_row_cannot_be_dropped(desk, market):
    delivery = brought(desk, market)
    release(delivery, [5], None, "seen", desk.config(), LATER)
    with pytest.raises(ConfigError, match="line 5 was released before: the row is in the store"):
        drop(delivery, [5], None, "not seen", desk.config(), LATER + timedelta(minutes=1))
    assert states(desk, delivery)[5] == "released"


def test_rows_that_broke_different_rules_are_not_released_together(desk, market):
    market.loc[[3, 9], "volume"] = -5  # of line 5 negative_volume is the second rule
    delivery = brought(desk, market)
    with pytest.raises(ConfigError, match=r"different rules \(negative_volume: 11; ohlc_order: 5\)"):
        release(delivery, [5, 11], None, "seen", desk.config(), LATER)
    assert set(states(desk, delivery).values()) == {"waiting"}


def test_the_list_counts_what_was_settled_beside_what_waits(desk, market):
    market.loc[9, "low"] = market.loc[9, "close"] * 1.01
    delivery = brought(desk, market)
    drop(delivery, [5, 7], None, "slips", desk.config(), LATER)
    (group,) = see(desk.config(), None, None, False, 10).groups
    assert (group.rule, group.waiting, group.dropped, group.first_line) == ("ohlc_order", 1, 1, 11)
    assert [row.line for row in see(desk.config(), delivery, None, False, 10).rows] == [11]
    seen = see(desk.config(), delivery, None, True, 1)
    assert (len(seen.groups), len(seen.rows), seen.more) == (2, 1, 2)


def test_line_numbers_are_shown_as_the_commands_take_them(desk, market):
    delivery = brought(desk, pd.concat([market.iloc[[0]]] * 1200 + [market]))
    shown = io.StringIO()
    show_quarantine(see(desk.config(), delivery, "ohlc_order", False, 10), shown)
    assert "1205" in shown.getvalue()
    assert "1,205" not in shown.getvalue()


def test_of_two_rows_that_contradict_each_other_one_can_be_released(desk, market):
    twice = pd.concat([market, market.iloc[[0]].assign(volume=1)])
    delivery = brought(desk, twice)
    record = release(delivery, [18], None, "the later one is right", desk.config(), LATER)
    assert record.account.accepted == 1
    assert desk.bars(END).query("volume == 1")["symbol"].tolist() == [market["symbol"][0]]


def test_rows_that_contradict_each_other_are_not_released_together(desk, market):
    delivery = brought(desk, pd.concat([market, market.iloc[[0]].assign(volume=1)]))
    with pytest.raises(ConfigError, match=r"Lines 2, 18 of prices.csv contradict each other"):
        release(delivery, [], "conflicting_rows", "both", desk.config(), LATER)
    assert set(states(desk, delivery).values()) == {"waiting"}


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
    "an infinite volume": ({"lines": [9]}, "not_finite cannot be released"),
    "no reason": ({"lines": [5], "reason": " "}, "needs its reason"),
    "nothing named": ({}, "Name the lines"),
    "a sound line": ({"lines": [2, 5]}, "line 2 is not in quarantine"),
    "a rule that nothing broke": ({"rule": "jump"}, "No row of prices.csv is in quarantine by jump"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_released_is_refused_with_the_way_out(desk, market, case):
    asked, why = REFUSED[case]
    market.loc[7, "volume"] = float("inf")
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


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_release_ended_before_its_decision_was_written_is_ended_by_the_same_command(desk, market, monkeypatch):
    delivery = brought(desk, market)
    monkeypatch.setattr("models.quarantine.Settled.add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        release(delivery, [5], None, "seen", desk.config(), LATER)
    monkeypatch.undo()
    assert states(desk, delivery)[5] == "waiting"
    assert release(delivery, [5], None, "seen", desk.config(), datetime(2015, 3, 4, tzinfo=UTC)).repeated
    assert states(desk, delivery)[5] == "released"
    assert len(desk.bars(END)) == 15
