"""Columns that the contract of delivered bars is checked on: one number per row, or per session, for each rule.

A standard expectation over such a column is fast, keeps row positions and is readable in the Data Docs; the subject
matter (what a previous close is, when two rows conflict) stays here, pure and vectorised.
"""

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bar_sequence import BarSequence
from models.calendar import Calendar, SessionArray
from models.cleaning import Judged, judge, median_returns
from models.completeness import share_of_usual
from models.config import DataConfig

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

PRICES = ("open", "high", "low", "close")
MEASURES = (*PRICES, "volume")
OPTIONAL = ("split_ratio", "dividend", "adj_close")
COLUMNS = {"symbol": "text", "session": "date", "timestamp": "UTC time", **dict.fromkeys(MEASURES, "number")}
"""Every column that a delivery of bars must have, and the kind of its values."""

SUSPICIONS = ("suspect_split", "contradicted_split", "busted_print", "spike", "unit_error", "zero_volume_move")
"""What the panel does not take at its word, each told by the rule of the same name."""

_SAFE_SYMBOL = re.compile(r"[.^$]?[A-Za-z0-9](?:[A-Za-z0-9 ._^=+:$-]{0,30}[A-Za-z0-9._^=+$-])?")
_LONGEST_SYMBOL = 32


def schema_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per required column: `column`, `wanted` and `found`, the kind of its values (`nothing` when absent)."""
    found = [_kind(frame[name], wanted) if name in frame else "nothing" for name, wanted in COLUMNS.items()]
    return pd.DataFrame({"column": list(COLUMNS), "wanted": list(COLUMNS.values()), "found": found})


def row_columns(frame: pd.DataFrame, calendar: Calendar, now: datetime) -> pd.DataFrame:
    """What can be said of each delivered row without any history.

    Args:
        frame: Canonical bars of one delivery, (n_rows,), RangeIndex.
        calendar: Sessions of the exchange.
        now: The moment of the check, with a time zone.

    Returns:
        (n_rows,) frame: `missing_values` and `infinite_values` counted per row; `symbol_is_safe`; `lowest_price`;
        `highest_price`; `ohlc_excess`, how far the four prices leave low ≤ open, close ≤ high, as a share of the
        highest price (0 = not at all); `volume`; `conflicts`, another row with the same key says something else;
        `days_ahead` of today's date at the exchange, of an intraday bar its start ahead of now; `in_session`;
        `in_hours`, the exchange trades at the time of the bar (daily bars always). NaN where a missing value forbids
        an answer.
    """
    prices = _prices(frame)
    in_session = _of_distinct(frame["session"], lambda days: calendar.is_session(_days(days)))
    return pd.DataFrame(
        {
            "missing_values": _count(frame[list(COLUMNS)].isna().to_numpy()),
            "symbol_is_safe": _of_distinct(frame["symbol"], symbols_are_safe),
            "infinite_values": _count(np.isinf(frame[_measures(frame)].to_numpy(np.float64))),
            "lowest_price": prices.min(axis=1),
            "highest_price": prices.max(axis=1),
            "ohlc_excess": _ohlc_excess(prices),
            "volume": frame["volume"].to_numpy(np.float64),
            "conflicts": conflicting(frame),
            "days_ahead": _days_ahead(frame, calendar, now),
            "in_session": in_session,
            "in_hours": frame["in_hours"].to_numpy() | ~in_session if "in_hours" in frame else True,
        }
    )


def history_columns(frame: pd.DataFrame, history: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """What each row says beside the sessions before it of the same symbol, in the delivery or in the store.

    Args:
        frame: Sound bars of a delivery, (n_rows,): no missing value, prices above zero.
        history: Stored bars of the sessions before, with the same columns. A session that is delivered again counts
            once, as delivered.
        data: Limits of the panel, so that what is told here is what a night does.

    Returns:
        (n_rows,) frame: `previous_close` (NaN for a first bar), `jump`, the simple return from it with a stated split
        taken out (NaN likewise), `stale_run`, sessions in a row with the same four prices, this one included (≥ 1),
        and whether the bar is suspect, by `SUSPICIONS`.
    """
    if frame.empty:
        numbers = pd.DataFrame(columns=["previous_close", "jump", "stale_run"], dtype=np.float64)
        return numbers.join(pd.DataFrame(columns=list(SUSPICIONS), dtype=bool))
    needed = ["symbol", "session", *MEASURES, *(name for name in OPTIONAL if name in frame)]
    bars = pd.concat([history.reindex(columns=needed), frame[needed]], ignore_index=True) if len(history) else frame
    symbol, _ = pd.factorize(bars["symbol"])
    session = _days(bars["session"]).astype(np.int64)
    order = np.lexsort((session, symbol))  # stable: of one session, the delivered row comes after the stored one
    starts = np.flatnonzero(_changes(symbol[order]) | _changes(session[order]))
    bar = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    last = order[np.append(starts[1:], len(order)) - 1]
    known = bars.iloc[last].reset_index(drop=True)
    prices = _prices(known)
    continues = ~_changes(symbol[last])
    previous_close = np.where(continues, np.roll(prices[:, -1], 1), np.nan)
    same = continues & (prices == np.roll(prices, 1, axis=0)).all(axis=1)

    delivered = np.empty(len(order), np.int64)
    delivered[order] = bar
    delivered = delivered[len(bars) - len(frame) :]
    close = frame["close"].to_numpy(np.float64) * _stated_splits(frame)
    numbers = pd.DataFrame(
        {
            "previous_close": previous_close[delivered],
            "jump": close / previous_close[delivered] - 1,
            "stale_run": _run_lengths(same)[delivered],
        }
    )
    return numbers.join(_suspicions(known, data).iloc[delivered].reset_index(drop=True))


def judged_bars(bars: pd.DataFrame, data: DataConfig) -> Judged:
    """What a night makes of these bars, sorted by symbol and session, at most one row each."""
    symbol, _ = pd.factorize(bars["symbol"])
    session, _ = pd.factorize(bars["session"], sort=True)
    market = median_returns(bars, symbol, session, data).astype(np.float64)
    sequence = BarSequence(symbol, session, _prices(bars), bars["volume"].to_numpy(np.float64), market[session])
    return judge(bars, sequence, data)


def _suspicions(bars: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """(n,) frame of `SUSPICIONS`, of bars sorted by symbol and session, one row each."""
    judged = judged_bars(bars, data)
    suspect = np.zeros(len(bars), bool)
    suspect[np.flatnonzero(judged.kept)[judged.suspects.rows]] = True
    ticks = judged.ticks
    found = (suspect, judged.factors.contradicted, ticks.busted_print, ticks.spike, ticks.unit_error)
    return pd.DataFrame(dict(zip(SUSPICIONS, (*found, ticks.zero_volume_move), strict=True)))


def has_case_twin(symbols: pd.Series, known: pd.Series) -> BoolArray:
    """Whether each symbol is new, and differs from a known one, or from another new one, in nothing but its case.

    Args:
        symbols: (n_rows,) of a delivery.
        known: Symbols of the stored bars of the last sessions.
    """
    new, spelled_before = pd.Series(symbols.unique()), known.unique()
    new = new[~new.isin(spelled_before)]
    spelled = pd.concat([new, pd.Series(spelled_before, dtype=new.dtype)]).str.casefold()
    twins: BoolArray = symbols.isin(new[spelled.duplicated(keep=False).to_numpy()[: len(new)]]).to_numpy()
    return twins


def session_columns(
    sound: pd.DataFrame,
    delivered: pd.Series,
    history: pd.DataFrame,
    calendar: Calendar,
    stored: SessionArray | None = None,
) -> pd.DataFrame:
    """What can be said of whole sessions: how many symbols came, and whether any did.

    Args:
        sound: `symbol` and `session` of the delivered rows that broke no rule of level quarantine.
        delivered: Sessions of all delivered rows that name a session of the exchange, broken otherwise or not:
            a newest session of which every row is bad has no symbols, it does not vanish.
        history: `symbol` and `session` of the stored bars of the sessions before.
        calendar: Sessions of the exchange.
        stored: Sessions of which the store has a bar, of a symbol that `history` may have left out.

    Returns:
        One row per session from the first to the last, those of the calendar that brought nothing included:
        `session`; `symbols`, at least so many; and `share_of_usual`, the share of the symbols that usually deliver
        with a bar of it: NaN for all but the delivery's newest session, and there with fewer than 5 sessions before.
    """
    names = ["symbol", "session"]
    bars = pd.concat([history[names], sound[names]]) if len(history) else sound[names]
    counts = _symbols_per_session(bars)
    delivered_days = _days(pd.Series(delivered.dropna().unique()))
    days = np.union1d(_days(counts.index), delivered_days)
    if len(days):
        on_calendar = calendar.sessions[(calendar.sessions >= days[0]) & (calendar.sessions <= days[-1])]
        days = np.union1d(days, on_calendar)
    sessions = pd.Index(days.astype("datetime64[s]"))
    symbols = counts.reindex(sessions, fill_value=0).to_numpy(np.float64)
    if stored is not None:
        symbols = np.maximum(symbols, np.isin(days, stored))
    share = np.full(len(days), np.nan)
    if len(delivered_days):
        newest = delivered_days.max()
        share[np.searchsorted(days, newest)] = share_of_usual(bars, newest.item())
    return pd.DataFrame({"session": sessions, "symbols": symbols, "share_of_usual": share})


def symbols_are_safe(symbols: pd.Series) -> BoolArray:
    """Whether each symbol can stand in a path, a page and a query as it is.

    At most 32 letters and digits of ASCII and `. - _ ^ = + : $`, inner spaces allowed: no path separator, no markup,
    no quote, no control character.
    """
    return np.array([len(name) <= _LONGEST_SYMBOL and _SAFE_SYMBOL.fullmatch(name) is not None for name in symbols])


def conflicting(frame: pd.DataFrame) -> BoolArray:
    """(n_rows,) whether another row has the same symbol and timestamp but other values; equal repeats do not conflict.

    Where rows carry `known_at` it belongs to the key: two versions known at different times are a revision.
    """
    key = [pd.factorize(frame["symbol"])[0], _integers(frame["timestamp"])]
    if "known_at" in frame:
        key.append(_integers(frame["known_at"]))
    order = np.lexsort(key[::-1])
    starts = np.logical_or.reduce([_changes(part[order]) for part in key])
    differs = np.zeros(len(frame), bool)
    for name in _measures(frame):
        values = frame[name].to_numpy(np.float64)[order]
        differs |= _changes(values) & ~(np.isnan(values) & np.isnan(np.roll(values, 1)))
    keys = np.cumsum(starts) - 1
    conflict = np.bincount(keys, weights=differs & ~starts) > 0
    answer = np.empty(len(frame), bool)
    answer[order] = conflict[keys]
    return answer & frame[["symbol", "timestamp"]].notna().all(axis=1).to_numpy()


def _days_ahead(frame: pd.DataFrame, calendar: Calendar, now: datetime) -> FloatArray:
    if "in_hours" in frame:  # a session that begins the evening before is not of tomorrow once it trades
        ahead = frame["timestamp"] - pd.Timestamp(now)
    else:
        ahead = frame["session"] - pd.Timestamp(now).tz_convert(calendar.time_zone).tz_localize(None).normalize()
    return np.asarray(ahead / pd.Timedelta(days=1), np.float64)


def _kind(column: pd.Series, wanted: str) -> str:
    if not len(column):  # a column without rows has no kind yet
        return wanted
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return "UTC time" if str(column.dtype.tz) == "UTC" else f"time in {column.dtype.tz}"
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return "date"
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return "number"
    return "text" if pd.api.types.is_string_dtype(column) else str(column.dtype)


def _measures(frame: pd.DataFrame) -> list[str]:
    return [name for name in (*MEASURES, *OPTIONAL) if name in frame]


def _prices(frame: pd.DataFrame) -> FloatArray:
    prices: FloatArray = frame[list(PRICES)].to_numpy(np.float64)
    return prices


def _count(broken: BoolArray) -> FloatArray:
    counts: FloatArray = broken.sum(axis=1).astype(np.float64)
    return counts


def _ohlc_excess(prices: FloatArray) -> FloatArray:
    opening, high, low, close = prices.T
    above = np.maximum(opening, close) - high
    below = low - np.minimum(opening, close)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess: FloatArray = np.maximum(np.maximum(above, below), 0) / np.abs(prices).max(axis=1)
    return excess


def _stated_splits(frame: pd.DataFrame) -> FloatArray | float:
    if "split_ratio" not in frame:
        return 1.0
    ratio = frame["split_ratio"].to_numpy(np.float64)
    splits: FloatArray = np.where(ratio > 0, ratio, 1.0)  # sources write 0, 1 or nothing where there was no split
    return splits


def _of_distinct(column: pd.Series, answer: Callable[[pd.Series], BoolArray]) -> BoolArray:
    """Answer once per distinct value; True for a missing one, which is another rule's business."""
    codes, distinct = pd.factorize(column)
    return np.append(answer(pd.Series(distinct)), True).astype(bool)[codes]  # code −1, missing, reads the last


def _days(column: pd.Series | pd.Index) -> SessionArray:
    days: SessionArray = column.to_numpy().astype("datetime64[D]")
    return days


def _integers(times: pd.Series) -> IntArray:
    return times.to_numpy("datetime64[us]").view(np.int64)


def _changes(values: npt.NDArray[np.generic]) -> BoolArray:
    """Whether each value differs from the one before it; the first does."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _run_lengths(same: BoolArray) -> FloatArray:
    position = np.arange(len(same))
    start = np.maximum.accumulate(np.where(same, 0, position))
    return (position - start + 1).astype(np.float64)


def _symbols_per_session(bars: pd.DataFrame) -> pd.Series:
    symbol, names = pd.factorize(bars["symbol"])
    session, days = pd.factorize(bars["session"], sort=True)
    known = (symbol >= 0) & (session >= 0)
    pairs = pd.unique(session[known].astype(np.int64) * max(len(names), 1) + symbol[known])
    counts = np.bincount(pairs // max(len(names), 1), minlength=len(days))
    return pd.Series(counts, index=pd.Index(_days(pd.Index(days)).astype("datetime64[s]")))
