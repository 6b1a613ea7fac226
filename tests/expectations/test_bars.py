from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from expectations.bars import (
    HISTORY_RULES,
    ROW_RULES,
    SESSION_RULES,
    BarsReport,
    check_bars,
    contract_levels,
    level_that_releases,
)
from models.calendar import Calendar
from models.config import ContractConfig, RuleLevels, SourceConfig

XNYS = Calendar("XNYS")
NOW = datetime(2024, 7, 12, 22, tzinfo=UTC)
DAYS = XNYS.sessions[(XNYS.sessions >= np.datetime64("2024-06-27")) & (XNYS.sessions <= np.datetime64("2024-07-12"))]
SYMBOLS = [f"S{k}" for k in range(10)]


@pytest.fixture
def delivery() -> pd.DataFrame:
    """Ten symbols on the eleven sessions up to 12 July 2024; nothing wrong with them."""
    session = np.repeat(DAYS, len(SYMBOLS)).astype("datetime64[s]")
    close = 50 + np.random.default_rng(3).normal(0, 0.5, len(session))
    frame = pd.DataFrame({"symbol": pd.Series(SYMBOLS * len(DAYS), dtype="str"), "session": session})
    frame["timestamp"] = frame["session"].astype("datetime64[us]").dt.tz_localize("UTC")
    return frame.assign(open=close * 1.001, high=close * 1.01, low=close * 0.99, close=close, volume=1e6)


def check(frame: pd.DataFrame, history: pd.DataFrame | None = None, **contract: object) -> BarsReport:
    return check_bars(
        frame,
        frame.iloc[:0] if history is None else history,
        calendar=XNYS,
        contract=ContractConfig(**contract),
        source=SourceConfig(),
        now=NOW,
        name="prices.csv",
        docs=None,
    )


def broken_rules(report: BarsReport) -> dict[str, int]:
    return {found.rule: found.count for found in report.findings if not found.held}


def test_a_sound_delivery_breaks_nothing(delivery):
    report = check(delivery)
    assert broken_rules(report) == {}
    assert set(report.broken) == {""}


def test_every_rule_is_told_held_or_not(delivery):
    assert {found.rule for found in check(delivery).findings} == set(contract_levels(ContractConfig()))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", np.nan, "missing_value"),
        ("volume", np.nan, "missing_value"),
        ("symbol", None, "missing_value"),
        ("session", pd.NaT, "missing_value"),
        ("high", np.inf, "not_finite"),
        ("open", 0.0, "nonpositive_price"),
        ("low", -1.0, "nonpositive_price"),
        ("high", 1.0, "ohlc_order"),
        ("volume", -5.0, "negative_volume"),
        ("symbol", "../S0", "unsafe_symbol"),
        ("session", pd.Timestamp("2024-07-04"), "not_a_session"),
        ("session", pd.Timestamp("2024-07-15"), "future_session"),
    ],
)
def test_a_row_that_breaks_a_rule_is_quarantined_by_it(delivery, column, value, rule):
    delivery.loc[7, column] = value
    report = check(delivery)
    assert report.broken[7] == rule
    assert np.count_nonzero(report.broken != "") == 1


def test_a_row_that_breaks_several_rules_counts_by_the_first(delivery):
    delivery.loc[7, ["open", "volume"]] = [0.0, -1.0]
    assert check(delivery).broken[7] == "nonpositive_price"


def test_rows_that_contradict_each_other_are_all_quarantined(delivery):
    twice = pd.concat([delivery, delivery.iloc[[3]].assign(volume=5.0)], ignore_index=True)
    report = check(twice)
    assert np.flatnonzero(report.broken == "conflicting_rows").tolist() == [3, len(delivery)]


def test_a_file_appended_to_itself_is_no_conflict(delivery):
    assert broken_rules(check(pd.concat([delivery] * 3, ignore_index=True))) == {}


def test_a_missing_column_stops_and_nothing_else_is_asked(delivery):
    report = check(delivery.drop(columns="volume"))
    assert [found.rule for found in report.stopped_by] == ["schema"]
    assert report.stopped_by[0].examples == ("volume: nothing instead of number",)


def test_an_empty_delivery_stops(delivery):
    assert [found.rule for found in check(delivery.iloc[:0]).stopped_by] == ["empty_delivery"]


def test_half_of_the_symbols_missing_on_the_newest_session_stops(delivery):
    report = check(delivery.iloc[:-6])
    assert [found.rule for found in report.stopped_by] == ["completeness"]
    assert report.stopped_by[0].examples == ("2024-07-12: 4 symbols, 40% of those that usually deliver",)


def test_a_newest_session_of_bad_rows_only_is_incomplete(delivery):
    delivery.loc[delivery.index[-10:], "open"] = 0.0
    assert "completeness" in broken_rules(check(delivery))


def test_one_row_dated_far_ahead_does_not_become_the_newest_session(delivery):
    delivery.loc[0, "session"] = pd.Timestamp("2099-01-05")
    assert "completeness" not in broken_rules(check(delivery))


def test_completeness_is_judged_beside_the_store(delivery):
    newest = delivery["session"] == delivery["session"].max()
    report = check(delivery[newest].iloc[:4].reset_index(drop=True), history=delivery[~newest])
    assert [found.rule for found in report.stopped_by] == ["completeness"]


def test_a_session_without_bars_is_told_with_its_date(delivery):
    gap = delivery[delivery["session"] != pd.Timestamp("2024-07-05")].reset_index(drop=True)
    (found,) = [found for found in check(gap).findings if not found.held]
    assert (found.rule, found.level, found.examples) == ("missing_sessions", "warn", ("2024-07-05",))


def test_a_jump_from_the_last_stored_close_is_told_and_kept(delivery):
    newest = delivery["session"] == delivery["session"].max()
    today = delivery[newest].reset_index(drop=True)
    today.loc[2, ["open", "high", "low", "close"]] *= 2
    report = check(today, history=delivery[~newest])
    assert broken_rules(report) == {"jump": 1, "suspect_split": 1}
    assert report.broken[2] == ""


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("suspect_split", {"open": 2.0, "high": 2.0, "low": 2.0, "close": 2.0}),
        ("contradicted_split", {"split_ratio": 2.0}),
        ("busted_print", {"low": 0.04}),
        ("unit_error", {"open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0}),
        ("zero_volume_move", {"open": 1.1, "high": 1.1, "low": 1.1, "close": 1.1, "volume": 0.0}),
    ],
)
def test_a_suspect_bar_is_told_and_kept_or_put_in_quarantine_as_configured(delivery, rule, spoil):
    newest = delivery["session"] == delivery["session"].max()
    today = delivery[newest].reset_index(drop=True).assign(split_ratio=1.0)
    for name, factor in spoil.items():
        today.loc[2, name] *= factor
    history = delivery[~newest].assign(split_ratio=np.nan)
    told = check(today, history=history)
    assert broken_rules(told).keys() - {"jump"} == {rule}
    assert set(told.broken) == {""}
    kept_out = check(today, history=history, levels={rule: "quarantine"})
    assert np.flatnonzero(kept_out.broken == rule).tolist() == [2]


def test_a_spike_is_told_once_the_price_is_back(delivery):
    out = (delivery["symbol"] == "S4") & (delivery["session"] == delivery["session"].unique()[-2])
    delivery.loc[out, ["open", "high", "low", "close"]] *= 1.5
    assert broken_rules(check(delivery)).keys() - {"jump"} == {"spike"}


def test_a_price_in_quarantine_is_not_told_again_as_a_jump(delivery):
    delivery.loc[35, "close"] = 0.001  # below its own low
    assert broken_rules(check(delivery)) == {"ohlc_order": 1}


def test_a_stale_price_is_told_from_the_session_on_that_is_one_too_many(delivery):
    stale = delivery["symbol"] == "S4"
    for price in ("open", "high", "low", "close"):
        delivery.loc[stale, price] = delivery.loc[stale, price].iloc[0]
    assert broken_rules(check(delivery, stale_sessions=5)) == {"stale_run": len(DAYS) - 5}


def test_a_level_of_the_configuration_comes_before_the_rule_s_own(delivery):
    delivery.loc[7, "high"] = 1.0
    report = check(delivery, levels={"ohlc_order": "stop"})
    assert [found.rule for found in report.stopped_by] == ["ohlc_order"]
    assert set(report.broken) == {""}


def test_every_rule_about_rows_and_sessions_has_a_level_that_can_be_set():
    assert {*ROW_RULES, *HISTORY_RULES, *SESSION_RULES, "empty_delivery"} == set(RuleLevels.model_fields)


def test_the_level_that_releases_a_stopped_delivery_is_the_mildest_that_can_be_set():
    mild = {rule: level_that_releases(rule) for rule in ("jump", "missing_value", "completeness", "schema")}
    assert mild == {"jump": "warn", "missing_value": "quarantine", "completeness": "warn", "schema": None}


def demo_report(bars: pd.DataFrame, **contract: object) -> BarsReport:
    return check_bars(
        bars.assign(timestamp=bars["session"].astype("datetime64[us]").dt.tz_localize("UTC")),
        bars.iloc[:0],
        calendar=XNYS,
        contract=ContractConfig(**contract),
        source=SourceConfig(volume_factor=100),
        now=NOW,
        name="SP500_ind.csv",
        docs=None,
    )


def test_the_demo_panel_is_the_one_that_the_facts_are_about(demo_bars):
    assert (len(demo_bars), demo_bars["symbol"].nunique(), demo_bars["session"].nunique()) == (122_574, 524, 245)


def test_the_demo_panel_breaks_the_rules_that_it_is_known_to_break(demo_bars):
    # Its volumes are hundreds of shares, cut off: the counter that ran full at 2^31 − 1 shares reads 21,474,836.
    report = demo_report(demo_bars, saturated_volume=21_474_836)
    suspect = {"suspect_split": 7, "busted_print": 9}
    known = {"ohlc_order": 77, "jump": 8, "saturated_volume": 1, "missing_sessions": 7}
    assert broken_rules(report) == known | suspect
    assert np.count_nonzero(report.broken == "ohlc_order") == 77
    examples = {found.rule: found.examples for found in report.findings}
    assert examples["saturated_volume"] == ("C 2009-12-18",)
    assert examples["missing_sessions"] == ("2009-09-08", "2009-10-29", "2009-10-30", "2009-11-02", "2009-11-03")


def test_the_demo_panel_s_jumps_are_the_eight_known_ones_and_one_more_row_breaks_the_strict_order(demo_bars):
    report = demo_report(demo_bars, ohlc_tolerance=0, levels={"jump": "quarantine"})
    jumps = demo_bars[report.broken == "jump"]
    assert np.count_nonzero(report.broken == "ohlc_order") == 78
    assert (jumps["symbol"] + " " + jumps["session"].dt.strftime("%Y-%m-%d")).tolist() == [
        "ARG 2010-02-05",
        "DHR 2010-06-14",
        "ESRX 2010-06-08",
        "ETFC 2010-06-30",
        "GIS 2010-06-09",
        "MFE 2010-08-19",
        "STR 2010-07-01",
        "WY 2010-07-20",
    ]


def test_the_demo_panel_s_seven_missing_sessions_are_found_by_date(demo_bars):
    days = XNYS.sessions
    within = (days >= np.datetime64("2009-08-21")) & (days <= np.datetime64("2010-08-20"))
    absent = np.setdiff1d(days[within], demo_bars["session"].to_numpy().astype("datetime64[D]"))
    found = {found.rule: found for found in demo_report(demo_bars).findings}["missing_sessions"]
    assert found.count == len(absent) == 7
    assert absent[-2:].astype(str).tolist() == ["2009-11-04", "2010-08-18"]


def test_a_session_that_came_by_half_may_wait_for_the_rest(delivery):
    report = check(delivery.iloc[:-6], levels={"completeness": "wait"})
    (found,) = [found for found in report.findings if found.rule == "completeness"]
    assert (found.level, found.count) == ("wait", 1)
    assert not report.stopped_by
