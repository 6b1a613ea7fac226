"""The contract of delivered bars: what stops a night, what is put in quarantine, what is only told."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from expectations.gx import Suite
from expectations.rules import Outcome, Rule, among, bar_namer, between, finding, not_empty
from models.bar_columns import (
    SUSPICIONS,
    has_case_twin,
    history_columns,
    row_columns,
    schema_columns,
    session_columns,
)
from models.calendar import Calendar, SessionArray
from models.config import ContractConfig, DataConfig, Level, RuleLevels, SourceConfig
from models.delivery import utc
from models.records import Finding
from models.session_bars import whole_bars

ObjectArray = npt.NDArray[np.object_]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ROW_RULES = (
    "missing_value",
    "unsafe_symbol",
    "not_finite",
    "nonpositive_price",
    "implausible_price",
    "ohlc_order",
    "negative_volume",
    "conflicting_rows",
    "future_session",
    "not_a_session",
    "outside_session",
)
"""Rules about one row, in the order in which a row that broke several is counted."""
HISTORY_RULES = ("symbol_case", "jump", "stale_run", "saturated_volume", *SUSPICIONS, "partial_session")
"""Rules about what a session's sound bar says, beside the sessions before it and by itself."""
SESSION_RULES = ("completeness", "missing_sessions")
"""Rules about whole sessions."""
_PROMISES = dict(
    zip(
        SUSPICIONS,
        (
            "a price that moves overnight as in a split comes with a stated one",
            "prices move as a stated split says",
            "open, high and low lie near what else was traded",
            "a price does not go far out and back within two sessions",
            "prices are in the unit of those before",
            "a price without a trade is the one before",
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Intraday:
    """What there is to know of a delivery of intraday bars."""

    minutes: float
    """Length of each bar."""
    earlier: pd.DataFrame
    """Stored intraday bars of the same sessions, as known when these became known."""


@dataclass(frozen=True)
class BarsReport:
    """What the contract found in one delivery."""

    findings: tuple[Finding, ...]
    """Every rule that was checked, held or not."""
    broken: ObjectArray
    """(n_rows,) first rule of level quarantine that each row broke; empty text where it broke none."""

    @property
    def stopped_by(self) -> tuple[Finding, ...]:
        """Broken rules of level stop: with one of these nothing of the delivery may be stored."""
        return tuple(found for found in self.findings if found.level == "stop" and not found.held)


def contract_levels(contract: ContractConfig) -> dict[str, Level]:
    """Level of every rule. Without its columns nothing else can be asked of a delivery: that rule can only stop."""
    return {"schema": "stop", **contract.levels.model_dump()}


def level_that_releases(rule: str) -> Level | None:
    """The level with which a delivery that this rule has stopped can be stored; None where there is none."""
    setting = RuleLevels.model_fields.get(rule)
    allowed = get_args(setting.annotation) if setting else ()
    preferred: tuple[Level, ...] = ("warn", "quarantine")
    return next((level for level in preferred if level in allowed), None)


def check_bars(
    frame: pd.DataFrame,
    history: pd.DataFrame,
    *,
    calendar: Calendar,
    contract: ContractConfig,
    source: SourceConfig,
    now: datetime,
    name: str,
    docs: str | None,
    data: DataConfig | None = None,
    intraday: Intraday | None = None,
    lines: IntArray | None = None,
    stored: SessionArray | None = None,
) -> BarsReport:
    """Check one delivery against the contract.

    Rules that look back see only the rows that no quarantine rule has taken out, so that one bad price is not told a
    second time as a jump there and back.

    Args:
        frame: Canonical bars as delivered, RangeIndex, NaN where missing; unreadable lines already taken out.
        history: `symbol, session, open, high, low, close, volume` of the stored bars of the last sessions before, and
            of the delivered ones as far as they were there.
        calendar: Sessions of the exchange.
        contract: Limits and levels.
        source: Its volume factor says how many shares a saturated counter stands for.
        now: The moment of the check, with a time zone.
        name: What the Data Docs call this run, for example the delivered file's name.
        docs: Local directory of the Data Docs; None builds none.
        data: Limits of jumps and series, as the panel of a night has them; None: the defaults.
        intraday: Of bars that are parts of a session; None for daily bars.
        lines: (n_rows,) line of the file that each row stands on, to name it by.
        stored: Sessions of which the store has a bar, where `history` has not every symbol.
    """
    data = data or DataConfig()
    rules = _rules(contract, source, data.jump_limit)
    suite = Suite("bars", name, docs)
    findings = _check_delivery(suite, frame, rules)
    broken = np.full(len(frame), "", dtype=object)
    if len(frame) and all(found.held for found in findings):
        columns = row_columns(frame, calendar, now)
        rows = suite.check(columns, [rules[rule] for rule in ROW_RULES])
        _mark(broken, rows)
        bars, bar = _session_bars(frame, broken == "", intraday, calendar, now)
        past = _check_history(suite, bars, history, rules, data)
        _mark(broken, {rule: replace(outcome, rows=_rows_of(outcome, bar)) for rule, outcome in past.items()})
        in_time = frame.loc[columns["in_session"] & (columns["days_ahead"] <= 0), "session"]
        sessions = session_columns(frame[broken == ""], in_time, history, calendar, stored)
        findings += [finding(outcome, "rows", bar_namer(frame, lines)) for outcome in rows.values()]
        unit, of_bars = (
            ("rows", None if lines is None else lines[bar >= 0]) if intraday is None else ("session bars", None)
        )
        findings += [finding(outcome, unit, bar_namer(bars, of_bars)) for outcome in past.values()]
        findings += _check_sessions(suite, sessions, rules)
    suite.publish()
    return BarsReport(tuple(findings), broken)


def _check_delivery(suite: Suite, frame: pd.DataFrame, rules: dict[str, Rule]) -> list[Finding]:
    schema = schema_columns(frame)
    columns = suite.check(schema, [rules["schema"]])["schema"]
    rows = suite.check(pd.DataFrame(index=frame.index), [rules["empty_delivery"]])["empty_delivery"]

    def name(row: int) -> str:
        column, wanted, found = schema.iloc[row]
        return f"{column}: {found} instead of {wanted}"

    return [finding(columns, "columns", name), finding(rows, "rows")]


def _session_bars(
    frame: pd.DataFrame, sound: BoolArray, intraday: Intraday | None, calendar: Calendar, now: datetime
) -> tuple[pd.DataFrame, IntArray]:
    """The bars that sound rows make, and the bar of each row of the frame, −1 for a row that is not sound.

    `most_volume` is the largest volume of the rows of each; `coverage` is missing while the session lasts.
    """
    bar = np.full(len(frame), -1, np.int64)
    if intraday is None:
        bar[sound] = np.arange(sound.sum())
        bars = frame[sound].reset_index(drop=True)
        return bars.assign(most_volume=bars["volume"], coverage=1.0), bar
    bars, bar[sound] = whole_bars(frame[sound], intraday.earlier, intraday.minutes, calendar)
    ended = calendar.closes(bars["session"].to_numpy("datetime64[D]")) <= utc(now)
    return bars.assign(coverage=bars["coverage"].where(ended)), bar


def _rows_of(outcome: Outcome, bar: IntArray) -> IntArray:
    return np.flatnonzero(np.isin(bar, outcome.rows))


def _check_history(
    suite: Suite, bars: pd.DataFrame, history: pd.DataFrame, rules: dict[str, Rule], data: DataConfig
) -> dict[str, Outcome]:
    columns = history_columns(bars, history, data).assign(
        case_twin=has_case_twin(bars["symbol"], history["symbol"]),
        volume=bars["most_volume"],
        coverage=bars["coverage"],
    )
    return suite.check(columns, [rules[rule] for rule in HISTORY_RULES])


def _check_sessions(suite: Suite, sessions: pd.DataFrame, rules: dict[str, Rule]) -> list[Finding]:
    outcomes = suite.check(sessions[["symbols", "share_of_usual"]], [rules[rule] for rule in SESSION_RULES])

    def name(row: int) -> str:
        return f"{sessions['session'].iloc[row]:%Y-%m-%d}"

    def name_and_count(row: int) -> str:
        session = sessions.iloc[row]
        usual = f"{session['share_of_usual']:.0%} of those that usually deliver"
        return f"{name(row)}: {session['symbols']:.0f} symbols, {usual}"

    return [
        finding(outcomes["completeness"], "sessions", name_and_count),
        finding(outcomes["missing_sessions"], "sessions", name),
    ]


def _mark(broken: ObjectArray, outcomes: dict[str, Outcome]) -> None:
    for outcome in reversed(outcomes.values()):  # so that the first rule has the last word
        if outcome.rule.level == "quarantine":
            broken[outcome.rows] = outcome.rule.name


def _rules(contract: ContractConfig, source: SourceConfig, jump_limit: float) -> dict[str, Rule]:
    """Every rule by its name, at its level."""
    rules = [*_delivery_rules(), *_row_rules(contract), *_history_rules(contract, source, jump_limit)]
    rules += [among(name, promise, name, [False]) for name, promise in _PROMISES.items()]
    rules += _session_rules(contract)
    levels = contract_levels(contract)
    return {rule.name: replace(rule, level=levels[rule.name]) for rule in rules}


def _delivery_rules() -> list[Rule]:
    kinds = {"column_A": "found", "column_B": "wanted"}
    promise = "every column is there and holds its kind of values"
    return [
        Rule("schema", promise, "expect_column_pair_values_to_be_equal", kinds),
        not_empty("empty_delivery", "the delivery has rows"),
    ]


def _row_rules(contract: ContractConfig) -> list[Rule]:
    slack = contract.ohlc_tolerance
    plausible = f"every price is below {contract.max_price:,.0f}"
    return [
        between("missing_value", "no symbol, time, price or volume is missing", "missing_values", high=0),
        among("unsafe_symbol", "a symbol is 1 to 32 plain characters", "symbol_is_safe", [True]),
        between("not_finite", "no number is infinite", "infinite_values", high=0),
        between("nonpositive_price", "every price is above zero", "lowest_price", low=0, strict=True),
        between("implausible_price", plausible, "highest_price", high=contract.max_price, strict=True),
        between("ohlc_order", f"low ≤ open, close ≤ high, within a relative {slack:g}", "ohlc_excess", high=slack),
        between("negative_volume", "volume is zero or more", "volume", low=0),
        among("conflicting_rows", "rows of one symbol and time say the same", "conflicts", [False]),
        between("future_session", "no session is later than today at the exchange", "days_ahead", high=0),
        among("not_a_session", "the exchange was open that day", "in_session", [True]),
        among("outside_session", "an intraday bar lies within the trading hours", "in_hours", [True]),
    ]


def _history_rules(contract: ContractConfig, source: SourceConfig, jump_limit: float) -> list[Rule]:
    longest, counter = contract.stale_sessions, contract.saturated_volume * source.volume_factor
    still = f"the four prices stand still for at most {longest} sessions"
    below = f"volume is below a full counter, {counter:,.0f} shares"
    covered = f"bars cover at least {contract.min_coverage:.0%} of a session that has ended"
    move = f"a close moves by at most {jump_limit:.0%} from the one before"
    return [
        among("symbol_case", "no new symbol is a known one in another case", "case_twin", [False]),
        between("jump", move, "jump", low=-jump_limit, high=jump_limit),
        between("stale_run", still, "stale_run", high=longest),
        between("saturated_volume", below, "volume", high=counter, strict=True),
        between("partial_session", covered, "coverage", low=contract.min_coverage),
    ]


def _session_rules(contract: ContractConfig) -> list[Rule]:
    floor = contract.completeness_floor
    usual = f"the newest session brings at least {floor:.0%} of the symbols that usually deliver"
    return [
        between("completeness", usual, "share_of_usual", low=floor),
        between("missing_sessions", "every session of the exchange brings bars", "symbols", low=1),
    ]
