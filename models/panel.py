"""Bars as ragged series: one series per symbol and segment, dense over the sessions between its first and last bar.

Bars are read as known and cleaned on the way (`models/cleaning.py`): stated splits are taken out, suspect bars are
absent, and what looks like an action that nobody has stated starts a new segment.

A session axis holds the exchange sessions on which at least one symbol has a bar; a session absent for every
symbol does not count as one. Nothing of size rows × window is ever kept: windows are cut by index, a block at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bar_sequence import BarSequence
from models.cleaning import clean, median_returns
from models.config import DataConfig

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PRICES: Final = ("open", "high", "low", "close")
BAR_COLUMNS: Final = (*PRICES, "volume")
INPUT_COLUMNS: Final = (*BAR_COLUMNS, "market_return", "present")
"""Columns of the network's input, in order."""


@dataclass(frozen=True)
class Panel:
    """All series of a night. M rows in all, S sessions; rows of a series lie together, oldest first."""

    sessions: npt.NDArray[np.datetime64]
    """(S,) datetime64[D], ascending."""
    symbols: npt.NDArray[np.str_]
    """(n_series,) symbol of each series."""
    segments: IntArray
    """(n_series,) 0 for a symbol's first segment, 1 for the next…"""
    offsets: IntArray
    """(n_series + 1,) first row of each series, and M."""
    session: npt.NDArray[np.int32]
    """(M,) position of each row on the session axis."""
    series: npt.NDArray[np.int32]
    """(M,) series of each row."""
    bars: Float32Array
    """(M, 5) open, high, low, close, volume, split-adjusted as known; zeros where the bar is absent or suspect."""
    present: BoolArray
    """(M,) whether the bar is there and its close believed."""
    member: BoolArray
    """(M,) whether the symbol belongs to the universe on the row's session."""
    market_return: Float32Array
    """(S,) median log return of the universe; zeros when it is smaller than data.min_universe."""
    relative: bool
    """Whether the universe is large enough for relative features and targets."""

    @property
    def n_symbols(self) -> int:
        return len(np.unique(self.symbols))

    @property
    def market(self) -> "pd.Series[float]":
        """The market's return by session, as the store keeps it."""
        return pd.Series(self.market_return.astype(np.float64), index=pd.DatetimeIndex(self.sessions).as_unit("s"))

    def inputs(self) -> Float32Array:
        """(M, 7) the network's input columns, one row a bar."""
        market = self.market_return[self.session] * self.present
        return np.column_stack([self.bars, market, self.present]).astype(np.float32)

    def symbol_of(self, rows: IntArray) -> npt.NDArray[np.str_]:
        """Symbol of each row."""
        return self.symbols[self.series[rows]]

    def session_of(self, rows: IntArray) -> npt.NDArray[np.datetime64]:
        """Session of each row, datetime64[D]."""
        return self.sessions[self.session[rows]]


def build_panel(bars: pd.DataFrame, data: DataConfig, market: "pd.Series[float] | None" = None) -> Panel:
    """Series, segments and the market's return from the bars of a night.

    Args:
        bars: Canonical bars, sorted by symbol and session, at most one row each; `split_ratio`, `dividend`,
            `adj_close` and `ruling` are read where present (`models/actions.py`), and `member`, without which all
            are members (`models/universe.py`).
        data: Limits that start a new segment, configured splits and renames, and the smallest universe.
        market: Stored median log returns, indexed by session. They give the session axis too, so that a few symbols
            alone lie on the same sessions as the whole universe. Both are computed from the bars when None.
    """
    days = bars["session"].to_numpy("datetime64[D]")
    if market is None:
        session, numbers = pd.factorize(days.view(np.int64), sort=True)
        sessions = numbers.view("datetime64[D]")
    else:
        sessions = market.index.to_numpy("datetime64[D]")
        session = np.searchsorted(sessions, days)
    codes, names = pd.factorize(bars["symbol"])
    member = bars["member"].to_numpy(bool) if "member" in bars else np.ones(len(bars), bool)
    relative = _n_symbols(codes[member]) >= data.min_universe if market is None else bool(market.any())
    median = np.zeros(len(sessions), np.float32)
    if relative:
        median = median_returns(bars, codes, session, data) if market is None else market.to_numpy(np.float32)
    prices = bars[list(PRICES)].to_numpy(np.float64)
    volume = bars["volume"].to_numpy(np.float64)
    cleaned = clean(bars, BarSequence(codes, session, prices, volume, median.astype(np.float64)[session]), data)
    kept = np.flatnonzero(cleaned.kept)
    codes, session, starts = codes[kept], session[kept], cleaned.starts[kept]
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(codes)) - 1
    offsets = np.concatenate([[0], np.cumsum(session[last] - session[first] + 1)]).astype(np.int64)
    series_of_bar = np.cumsum(starts) - 1
    row = offsets[series_of_bar] + session - session[first][series_of_bar]

    n_rows = int(offsets[-1])
    dense = np.zeros((n_rows, len(BAR_COLUMNS)), np.float32)
    dense[row, :4] = cleaned.prices[kept]
    dense[row, 4] = cleaned.volume[kept]
    present, belongs = np.zeros(n_rows, bool), np.zeros(n_rows, bool)
    present[row], belongs[row] = True, member[kept]
    series = np.repeat(np.arange(len(first), dtype=np.int32), np.diff(offsets))
    axis = (np.arange(n_rows) - offsets[series] + session[first][series]).astype(np.int32)
    symbol_starts = np.flatnonzero(np.diff(codes[first], prepend=-1))
    segment = np.arange(len(first)) - np.repeat(symbol_starts, np.diff(np.append(symbol_starts, len(first))))

    return Panel(
        sessions=sessions,
        symbols=np.asarray(names, dtype=np.str_)[codes[first]],
        segments=segment,
        offsets=offsets,
        session=axis,
        series=series,
        bars=dense,
        present=present,
        member=belongs,
        market_return=median,
        relative=relative,
    )


def _n_symbols(codes: IntArray) -> int:
    return int(np.count_nonzero(np.bincount(codes)))  # np.unique would hash every row


def log_returns(panel: Panel) -> FloatArray:
    """(M,) close-to-close log return of each row; NaN at a series' start and where either bar is absent."""
    log_close = np.log(np.where(panel.present, panel.bars[:, 3].astype(np.float64), np.nan))
    returns = np.diff(log_close, prepend=np.nan)
    returns[panel.offsets[:-1]] = np.nan
    return returns


def eligible(panel: Panel, window: int, min_present: float) -> BoolArray:
    """(M,) rows of members that are present themselves and have at least this share of their window present."""
    counts = np.concatenate([[0], np.cumsum(panel.present)])
    position = np.arange(len(panel.present)) - panel.offsets[panel.series]
    start = np.arange(len(panel.present)) - np.minimum(position, window - 1)
    seen = counts[1:] - counts[start]
    enough: BoolArray = panel.present & panel.member & (seen >= np.ceil(min_present * window - 1e-9))
    return enough


def windows(panel: Panel, rows: IntArray, window: int, block: int = 4096) -> Iterator[Float32Array]:
    """The network's inputs [n, window + 1, 7] for these rows, a block at a time; absent and earlier bars are zeros."""
    inputs = panel.inputs()
    back = np.arange(-window, 1)
    for start in range(0, len(rows), block):
        chosen = rows[start : start + block]
        index = chosen[:, None] + back
        inside = index >= panel.offsets[panel.series[chosen]][:, None]
        yield np.where(inside[..., None], inputs[np.maximum(index, 0)], np.float32(0))


def last_rows(panel: Panel) -> IntArray:
    """Rows of the panel's last session."""
    return np.flatnonzero(panel.present & (panel.session == len(panel.sessions) - 1))
