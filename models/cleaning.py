"""Bars as delivered → prices that are comparable along a series, bars that count, and where a series begins.

Pure: the store keeps what was delivered, and this is a function of the bars as known. It does not depend on the order
of arrival, and a past night sees what it saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from models.actions import Factors, Suspects, stated_factors, suspects
from models.bar_sequence import BarSequence, BoolArray, Float32Array, FloatArray, IntArray
from models.blocks import in_blocks
from models.config import DataConfig
from models.ticks import Ticks, suspect_ticks, without_busted_prints

_BLOCK: Final = 65_536
"""Bars that are looked at together."""


@dataclass(frozen=True)
class Judged:
    """What is known of n bars as delivered."""

    factors: Factors
    ticks: Ticks
    adjusted: BarSequence
    """The same n bars with stated factors taken out."""
    kept: BoolArray
    """(n,) bars that count."""
    believed: BarSequence
    """The bars that count, adjusted, without busted prints."""
    suspects: Suspects
    """Of `believed`."""


@dataclass(frozen=True)
class Cleaned:
    """What counts of n delivered bars."""

    kept: BoolArray
    """(n,) the others are suspect and count as absent; what follows says nothing of them."""
    prices: Float32Array
    """(n, 4) comparable within a series."""
    volume: Float32Array
    """(n,) in shares of the last session."""
    starts: BoolArray
    """(n,) whether a new segment begins."""


def clean(bars: pd.DataFrame, sequence: BarSequence, data: DataConfig) -> Cleaned:
    """Take out stated actions and suspect bars, and find where series begin; each symbol by itself.

    Args:
        bars: n canonical bars, sorted by symbol and session.
        sequence: Their prices as delivered, and the market's return.
        data: Limits, configured splits and renames.
    """
    n = len(bars)
    cleaned = Cleaned(np.zeros(n, bool), np.zeros((n, 4), np.float32), np.zeros(n, np.float32), np.zeros(n, bool))

    def fill(rows: slice) -> None:
        judged = judge(bars[rows], sequence.at(rows), data)
        believed, at = judged.believed, rows.start + np.flatnonzero(judged.kept)
        cleaned.kept[at] = True
        cleaned.prices[at], cleaned.volume[at] = believed.prices, believed.volume
        cleaned.starts[at] = segment_starts(bars[rows], judged, data)

    in_blocks(fill, np.append(np.flatnonzero(~sequence.follows), n), _BLOCK)
    return cleaned


def segment_starts(bars: pd.DataFrame, judged: Judged, data: DataConfig) -> BoolArray:
    """(k,) whether a new segment begins, of the k bars that count.

    Args:
        bars: n canonical bars, sorted by symbol and session.
        judged: What is known of them.
        data: Longest gap inside a segment, and configured renames.
    """
    believed = judged.believed
    starts = ~believed.follows
    starts[1:] |= np.diff(believed.session) - 1 > data.gap_sessions
    starts[judged.suspects.rows] = True
    return starts | _renamed(bars[judged.kept] if not judged.kept.all() else bars, believed, data.renames)


def judge(bars: pd.DataFrame, sequence: BarSequence, data: DataConfig) -> Judged:
    """Stated actions, suspect ticks and suspect actions of bars as delivered; arguments as of `clean`."""
    factors = stated_factors(bars, sequence, data.splits)
    adjusted = _without_factors(sequence, factors)
    ticks = suspect_ticks(adjusted, data.stale_sessions)
    kept, prices = np.ones(len(bars), bool), adjusted.prices
    if data.suspect_bars == "absent":
        kept, prices = ~ticks.absent, without_busted_prints(adjusted, ticks.busted_print)
    believed = replace(adjusted, prices=prices).at(kept)
    return Judged(
        factors, ticks, adjusted, kept, believed, suspects(believed, data.jump_limit, factors.dismissed[kept])
    )


def median_returns(bars: pd.DataFrame, codes: IntArray, session: IntArray, data: DataConfig) -> Float32Array:
    """(S,) median log return of the universe from one session to the next, from these two alone.

    Cleaning asks for the market's move, so it cannot wait for cleaned bars: moves beyond the jump limit, stated splits
    taken out, are left out instead, and a median bears the rest. Zero where fewer than
    `data.min_universe` symbols have one.

    Args:
        bars: n canonical bars, sorted by symbol and session.
        codes: (n,) symbol of each.
        session: (n,) position of each on an axis of S sessions.
        data: The jump limit and the smallest universe.
    """
    log_close = np.log(bars["close"].to_numpy(np.float64))
    returns = np.diff(log_close, prepend=np.nan)
    if "split_ratio" in bars:
        ratio = bars["split_ratio"].to_numpy(np.float64)
        returns = returns + np.log(np.where(ratio > 0, ratio, 1.0))
    adjacent = (np.diff(codes, prepend=-1) == 0) & (np.diff(session, prepend=-2) == 1)
    believed = adjacent & (np.abs(returns) <= -np.log1p(-data.jump_limit))
    if "member" in bars:
        believed &= bars["member"].to_numpy(bool)
    by_session = pd.Series(returns[believed]).groupby(session[believed])
    median = by_session.median().where(by_session.count() >= data.min_universe, 0.0)
    n_sessions = int(session.max()) + 1 if len(session) else 0
    return median.reindex(range(n_sessions), fill_value=0.0).to_numpy(np.float32)


def _without_factors(sequence: BarSequence, factors: Factors) -> BarSequence:
    """Prices divided by all later factors of the symbol, volume multiplied by all later splits."""
    price, split = factors.price, factors.split
    if (price == 1).all():
        return sequence
    return replace(
        sequence,
        prices=sequence.prices / _later(price, sequence.symbol)[:, None],
        volume=sequence.volume * _later(split, sequence.symbol),
    )


def _later(factor: FloatArray, symbol: IntArray) -> FloatArray:
    """(n,) product of the symbol's factors after each row; exactly 1 where there is none."""
    later = np.ones(len(factor))
    ends = np.flatnonzero(np.diff(symbol, append=-1))
    for row in np.flatnonzero(factor != 1):
        first = ends[np.searchsorted(ends, row) - 1] + 1 if row > ends[0] else 0
        later[first:row] *= factor[row]
    return later


def _renamed(bars: pd.DataFrame, believed: BarSequence, renames: Mapping[str, Sequence[date]]) -> BoolArray:
    """Whether another company's bars begin: the first at or after each date."""
    starts = np.zeros(len(believed), bool)
    if not renames:
        return starts
    symbols, days = bars["symbol"].to_numpy(), bars["session"].to_numpy("datetime64[D]")
    for symbol, dates in renames.items():
        rows = np.flatnonzero(symbols == symbol)
        begins = np.searchsorted(days[rows], np.asarray(dates, "datetime64[D]"))
        starts[rows[begins[begins < len(rows)]]] = True
    return starts
