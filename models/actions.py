"""Corporate actions in the bars as known: which are stated, which prices agree with, and which only look like one.

Four questions, in this order:

1. What is stated (`stated_factors`): a split ratio or a cash dividend of the feed, a list in the configuration, a
   person's ruling, or an adjusted close that changes against the close.
2. Do prices agree? A stated split that they contradict is not applied, unless they moved so a few sessions beside it.
3. Which overnight moves look like an action that nobody stated (`suspects`)? They start a new segment.
4. What remains is a genuine move, and stays in its series.

Every answer about a bar rests on it and on earlier bars, so that it is the same tonight and in a year, unless somebody
states more; stated events are as known. One that prices contradict may still fit a few sessions later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from models.bar_sequence import BarSequence, BoolArray, FloatArray, IntArray

SIMPLE_RATIOS: Final = tuple(
    sorted(
        ratio
        for many, few in [(n, 1) for n in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)]
        + [(5, 4), (4, 3), (3, 2), (5, 3), (5, 2)]
        for ratio in (many / few, few / many)
    )
)
"""New shares for one old that companies choose."""
SMALLEST: Final = 0.18
"""Log of the smallest ratio that prices can confirm or contradict: below (6/5 = 0.182) it drowns in daily moves."""
_AGREEMENT: Final = 0.25
"""Share of the stated log factor by which prices may miss it."""
_BESIDE: Final = 3
"""Sessions by which a feed may date a split wrongly."""
_SAME_RATIO: Final = 0.03
"""How near to a simple ratio a step of the adjusted close is taken for it: a dividend may lie in the same step."""
_QUIET_SIGMAS: Final = 8.0
_LARGE_SIGMAS: Final = 4.0
_QUIET_SPREAD: Final = 3.0
_QUIET_ACTIVITY: Final = 1.6
_WILD_SPREAD: Final = 4.5
_WILD_ACTIVITY: Final = 4.0
"""Above these multiples of what is usual, a move was traded through: it is genuine."""
_IDLE: Final = 1.0
"""Below this multiple of the usual volume or turnover nobody has fled or bid, however wide the range."""
_NEVER_TRADED: Final = np.log(8.0)
"""No company's price moves by this much between two sessions, however much is traded on the second."""
_TOLERANCE: Final = (0.025, 1.5)
"""How near to a simple ratio: this log distance, or this many of the symbol's own sigmas, whichever is larger."""


@dataclass(frozen=True)
class Factors:
    """What is stated of n bars; 1 where nothing is."""

    split: FloatArray
    """(n,) new shares for one old, at the bar's open."""
    cash: FloatArray
    """(n,) close before ÷ (close before − dividend), for dividends too large for a daily move."""
    contradicted: BoolArray
    """(n,) a split is stated that prices contradict; its factor is 1."""
    dismissed: BoolArray
    """(n,) a person has ruled that there was no action."""

    @property
    def price(self) -> FloatArray:
        """(n,) by how much prices fall at the bar's open."""
        return self.split * self.cash


@dataclass(frozen=True)
class Suspects:
    """Overnight moves that look like an action nobody has stated."""

    rows: IntArray
    """(k,) rows of the sequence, ascending."""
    ratio: FloatArray
    """(k,) nearest simple ratio, new shares for one old; NaN where none is near."""
    fall: FloatArray
    """(k,) close before ÷ open, the market's move taken out."""


def stated_factors(
    bars: pd.DataFrame, sequence: BarSequence, splits: Mapping[str, Mapping[date, float]] | None = None
) -> Factors:
    """What feed, configuration and people state, as far as prices do not contradict it.

    Args:
        bars: n canonical bars; of its columns `split_ratio`, `dividend`, `adj_close` and `ruling` count where there.
        sequence: The same bars, unadjusted.
        splits: Configured ratios by symbol and session; they win over the feed's, a person's ruling over both.
    """
    stated = _ratios(bars, "split_ratio")
    configured = _configured(bars, splits or {})
    ruling = bars["ruling"].to_numpy(np.float64) if "ruling" in bars else np.full(len(bars), np.nan)
    dismissed = ruling == 1.0
    stated = np.where(configured > 0, configured, stated)
    stated = np.where(ruling > 0, ruling, stated)
    split, contradicted = _as_prices_say(sequence, stated)
    cash = _large_dividends(bars, sequence)
    split, cash = _adjusted_closes(bars, sequence, split, cash, dismissed)
    return Factors(split, cash, contradicted & ~dismissed, dismissed)


def suspects(sequence: BarSequence, jump_limit: float, dismissed: BoolArray | None = None) -> Suspects:
    """Overnight moves that look like a split or a distribution that nobody has stated.

    An action moves the price between two sessions and leaves the day itself as quiet as others; a crash or a takeover
    is traded through: its range, its volume and its turnover are a multiple of the usual.

    Args:
        sequence: Bars with stated factors taken out and bad ticks left out.
        jump_limit: A fall of more than this share, or a rise of more than its inverse, is suspect unless it was traded
            through. A smaller one is suspect if it is near a simple ratio and the day was quiet.
        dismissed: (n,) rows that a person has cleared.
    """
    limit = -np.log1p(-jump_limit)
    moved = np.abs(np.nan_to_num(sequence.returns)) > limit
    moved |= (np.abs(np.nan_to_num(sequence.gaps)) > SMALLEST) & (
        np.abs(np.nan_to_num(sequence.returns)) > SMALLEST / 2
    )
    rows = np.flatnonzero(moved if dismissed is None else moved & ~dismissed)
    usual = sequence.usual(rows)
    gap, whole, market = sequence.gaps[rows], sequence.returns[rows], sequence.market[rows]
    spread = sequence.spreads[rows] / np.maximum(usual.spread, 1e-9)
    activity = _activity(sequence, rows, usual.volume, usual.turnover)
    size = np.where(np.sign(gap) == np.sign(whole), np.minimum(np.abs(gap), np.abs(whole)), 0.0)
    near, distance = _nearest_ratio(gap, whole, market)

    fixed, sigmas = _TOLERANCE
    matches = ~(distance > np.maximum(fixed, sigmas * np.nan_to_num(usual.volatility)))
    quiet = ((spread <= _QUIET_SPREAD) | (activity < _IDLE)) & ~(activity > _QUIET_ACTIVITY)
    small = matches & quiet & (size > _QUIET_SIGMAS * usual.volatility) & (size > SMALLEST)
    overnight = size > 0.5 * np.abs(whole)
    wild = ((spread > _WILD_SPREAD) & ~(activity < _IDLE)) | (activity > _WILD_ACTIVITY)
    wild |= size < _LARGE_SIGMAS * usual.volatility
    large = (np.abs(whole) > limit) & overnight & ~wild
    found = small | large | (size > _NEVER_TRADED)
    ratio = np.where(matches, near, np.nan)
    return Suspects(rows[found], ratio[found], np.exp(market - gap)[found])


def _ratios(bars: pd.DataFrame, column: str) -> FloatArray:
    if column not in bars:
        return np.ones(len(bars))
    ratio = bars[column].to_numpy(np.float64)
    ratios: FloatArray = np.where(ratio > 0, ratio, 1.0)  # sources write 0, 1 or nothing where there was no split
    return ratios


def _configured(bars: pd.DataFrame, splits: Mapping[str, Mapping[date, float]]) -> FloatArray:
    """(n,) configured ratio of each bar; 0 where none is."""
    ratios = np.zeros(len(bars))
    if not splits:
        return ratios
    days = bars["session"].to_numpy("datetime64[D]")
    symbols = bars["symbol"].to_numpy()
    for symbol, events in splits.items():
        rows = np.flatnonzero(symbols == symbol)
        for day, ratio in events.items():
            ratios[rows[days[rows] == np.datetime64(day)]] = ratio
    return ratios


def _misses(sequence: BarSequence, rows: IntArray, log_factor: FloatArray | float) -> FloatArray:
    """(k,) how far open or close lie from where the factor would put them; the nearer of the two; NaN for a first."""
    gap, whole, market = sequence.gaps[rows], sequence.returns[rows], sequence.market[rows]
    ways = np.stack([gap, gap - market, whole, whole - market])
    nearest: FloatArray = np.min(np.abs(ways + log_factor), axis=0)
    return nearest


def _as_prices_say(sequence: BarSequence, stated: FloatArray) -> tuple[FloatArray, BoolArray]:
    split, contradicted = stated.copy(), np.zeros(len(stated), bool)
    rows = np.flatnonzero(np.abs(np.log(stated)) > SMALLEST)
    log_ratio = np.log(stated[rows])
    still = _misses(sequence, rows, 0.0) < _AGREEMENT * np.abs(log_ratio)
    fell = _misses(sequence, rows, log_ratio) < _AGREEMENT * np.abs(log_ratio)
    for row in rows[still & ~fell]:
        split[row] = 1.0
        beside = _beside(sequence, int(row), float(stated[row]))
        if beside is None:
            contradicted[row] = True
        elif split[beside] == 1.0:
            split[beside] = stated[row]
    return split, contradicted


def _beside(sequence: BarSequence, row: int, ratio: float) -> int | None:
    """The row a few sessions beside, at which prices moved as a split says that is stated here."""
    near = np.arange(max(row - _BESIDE, 0), min(row + _BESIDE + 1, len(sequence)))
    near = near[sequence.symbol[near] == sequence.symbol[row]]
    misses = _misses(sequence, near, np.log(ratio))
    agrees = near[misses < _AGREEMENT / 2 * abs(np.log(ratio))]
    return int(agrees[0]) if len(agrees) else None


def _large_dividends(bars: pd.DataFrame, sequence: BarSequence) -> FloatArray:
    cash = np.ones(len(bars))
    if "dividend" not in bars:
        return cash
    dividend = np.nan_to_num(bars["dividend"].to_numpy(np.float64))
    before = np.concatenate([[np.nan], sequence.prices[:-1, 3]])
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(sequence.follows & (dividend > 0) & (dividend < before))
    factor = before[rows] / (before[rows] - dividend[rows])
    large = np.log(factor) > SMALLEST / 2
    rows, factor = rows[large], factor[large]
    agrees = _misses(sequence, rows, np.log(factor)) < 2 * _AGREEMENT * np.log(factor)
    cash[rows[agrees]] = factor[agrees]
    return cash


def _adjusted_closes(
    bars: pd.DataFrame, sequence: BarSequence, split: FloatArray, cash: FloatArray, dismissed: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Steps of the adjusted close against the close, where nothing else is stated and prices agree."""
    if "adj_close" not in bars:
        return split, cash
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.diff(np.log(bars["adj_close"].to_numpy(np.float64)) - sequence.log_prices[:, 3], prepend=np.nan)
        large = sequence.follows & (np.abs(steps) > SMALLEST) & np.isfinite(steps)
    rows = np.flatnonzero(large & (split == 1) & (cash == 1))
    agrees = _misses(sequence, rows, steps[rows]) < _AGREEMENT * np.abs(steps[rows])
    at = [
        int(row) if fits else _beside(sequence, int(row), np.exp(steps[row]))
        for row, fits in zip(rows, agrees, strict=True)
    ]
    for row, place in zip(rows, at, strict=True):
        if place is None or split[place] != 1 or cash[place] != 1 or dismissed[place]:
            continue
        near, distance = _nearest_ratio(-steps[[row]], -steps[[row]], np.zeros(1))
        if distance[0] < _SAME_RATIO:
            split[place] = near[0]
        else:
            cash[place] = np.exp(steps[row])
    return split, cash


def _nearest_ratio(gap: FloatArray, whole: FloatArray, market: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Simple ratio nearest to the moves of open or close, the market's taken out, and its log distance."""
    ways = np.stack([gap, gap - market, whole, whole - market])
    distances = np.min(np.abs(ways[:, :, None] + np.log(SIMPLE_RATIOS)), axis=0)
    nearest = np.argmin(distances, axis=1)
    return np.asarray(SIMPLE_RATIOS)[nearest], distances[np.arange(len(nearest)), nearest]


def _activity(sequence: BarSequence, rows: IntArray, volume: FloatArray, turnover: FloatArray) -> FloatArray:
    """Volume or turnover against the usual, the smaller multiple: a split changes the one, a crash raises both.

    NaN where volume is unknown or always zero: it says nothing then.
    """
    traded = sequence.volume[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        multiple = np.minimum(traded / volume, traded * sequence.prices[rows, 3] / turnover)
    return np.where((volume > 0) & np.isfinite(multiple), multiple, np.nan)
