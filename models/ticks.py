"""Suspect bars: prices that were never traded, or not at that level. A rule asks how far a bar lies from what is usual
for its own symbol, the market's move of the day taken into account, and never how far in percent alone.

All but `spike` rest on the bar and on earlier ones. A spike is known by its return, one or two sessions later.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.bar_sequence import BarSequence, BoolArray, FloatArray, IntArray

UNIT: Final = 100.0
"""Pence for pounds, cents for dollars."""
LONGEST_RUN: Final = 20
"""Sessions after which another unit is taken for the new one: the bars are there again, in a segment of their own."""
_UNIT_TOLERANCE: Final = 0.25
"""Log distance from × 100: a day's move on top."""
_SPIKE: Final = 0.18
_SPIKE_SIGMAS: Final = 8.0
_RETURNED: Final = 0.25
"""Share of the way out that may be missing on the way back."""
_CLOSE_SPIKE: Final = 0.35
_CLOSE_RETURNED: Final = 0.1
_BUSTED: Final = 0.25
_BUSTED_MARKET: Final = 10.0
"""For each percent that the market moved, so many percent more are believed."""
_BUSTED_SPREADS: Final = 12.0
_SMALLEST_SPREAD: Final = 0.03
_NO_TRADE_MOVE: Final = 0.01


@dataclass(frozen=True)
class Ticks:
    """What is suspect of n bars."""

    unit_error: BoolArray
    """(n,) a price at 100 times or a hundredth of the level before."""
    spike: BoolArray
    """(n,) out and back within two sessions."""
    zero_volume_move: BoolArray
    """(n,) another price although nothing was traded, of a symbol that is usually traded."""
    stale: BoolArray
    """(n,) the same four prices for longer than is believed; the first ones of a run are not suspect."""
    busted_print: BoolArray
    """(n,) open, high or low far outside what else was traded; its close stands."""

    @property
    def absent(self) -> BoolArray:
        """(n,) bars that count as absent: their close is no price of that session."""
        return self.unit_error | self.spike | self.zero_volume_move | self.stale


def suspect_ticks(sequence: BarSequence, stale_sessions: int) -> Ticks:
    """Look at every bar.

    Args:
        sequence: Bars with stated splits taken out.
        stale_sessions: The same four prices on more sessions in a row than this are suspect.
    """
    unit_error = _unit_errors(sequence)
    return Ticks(
        unit_error=unit_error,
        spike=_spikes(sequence) & ~unit_error,
        zero_volume_move=_moves_without_a_trade(sequence),
        stale=_run_lengths(sequence) > stale_sessions,
        busted_print=_busted_prints(sequence) & ~unit_error,
    )


def without_busted_prints(sequence: BarSequence, busted: BoolArray) -> FloatArray:
    """(n, 4) prices, with open, high and low of these bars brought back.

    A far-off open is put between the close before and the close; then high and low to the higher and the lower of
    open and close. What range there was is not known; this is the smallest.
    """
    prices = sequence.prices.copy()
    rows = np.flatnonzero(busted)
    opened, close = prices[rows, 0], prices[rows, 3]
    before = np.where(sequence.follows[rows], sequence.prices[rows - 1, 3], close)
    low, high = _outside(sequence, rows)
    far_open = _open_is_far(sequence, rows, _believed(sequence, rows))
    opened = np.where(far_open, np.clip(opened, np.minimum(before, close), np.maximum(before, close)), opened)
    limit = _believed(sequence, rows)
    prices[rows, 0] = opened
    prices[rows, 1] = np.where(far_open | (high > limit), np.maximum(opened, close), prices[rows, 1])
    prices[rows, 2] = np.where(far_open | (low > limit), np.minimum(opened, close), prices[rows, 2])
    return prices


def _unit_errors(sequence: BarSequence) -> BoolArray:
    wrong, close = np.zeros(len(sequence), bool), sequence.log_prices[:, 3]
    starts = np.flatnonzero(np.abs(np.abs(np.nan_to_num(sequence.returns)) - np.log(UNIT)) < _UNIT_TOLERANCE)
    for start in starts[~_traded_in_other_shares(sequence, starts)].tolist():
        if wrong[start] or wrong[start - 1]:  # in a run, or on the way back from one
            continue
        run = np.arange(start, min(start + LONGEST_RUN, len(sequence)))
        away = np.abs(close[run] - close[start - 1]) > np.log(UNIT) / 2
        there = np.logical_and.accumulate(away & (sequence.symbol[run] == sequence.symbol[start]))
        wrong[run[there]] = True
    return wrong


def _traded_in_other_shares(sequence: BarSequence, rows: IntArray) -> BoolArray:
    """Whether volume moved against the price, as in a split: prices in another unit leave it where it was."""
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = np.log(sequence.volume[rows] / sequence.usual(rows).volume)
    against: BoolArray = -np.sign(sequence.returns[rows]) * volume > np.log(UNIT) / 2
    return against & np.isfinite(volume)


def _spikes(sequence: BarSequence) -> BoolArray:
    spikes = np.zeros(len(sequence), bool)
    moves = np.nan_to_num(sequence.returns)
    rows = np.flatnonzero(np.abs(moves) > _SPIKE)
    usual = sequence.usual(rows).volatility
    for length in (1, 2):
        inside = rows + length < len(sequence)
        out, sigma = rows[inside], usual[inside]
        back = out + length
        same = sequence.symbol[back] == sequence.symbol[out]
        away, returned = moves[out] - sequence.market[out], moves[back]
        missing = np.abs(sequence.log_prices[back, 3] - sequence.log_prices[out - 1, 3])
        whole = same & (np.sign(away) == -np.sign(returned)) & (missing < _RETURNED * np.abs(away))
        whole &= np.abs(away) > np.maximum(_SPIKE, _SPIKE_SIGMAS * np.nan_to_num(sigma, nan=np.inf))
        found = whole & _is_island(sequence, out, length)
        if length == 1:
            found |= whole & _only_the_close(sequence, out)
        for step in range(length):
            spikes[out[found] + step] = True
    return spikes


def _is_island(sequence: BarSequence, out: IntArray, length: int) -> BoolArray:
    """Whether nothing was traded between these bars and those around them."""
    high, low = sequence.prices[:, 1], sequence.prices[:, 2]
    around = np.stack([out - 1, out + length])
    run = np.stack([out + step for step in range(length)])
    above = low[run].min(axis=0) > high[around].max(axis=0)
    below = high[run].max(axis=0) < low[around].min(axis=0)
    island: BoolArray = above | below
    return island


def _only_the_close(sequence: BarSequence, out: IntArray) -> BoolArray:
    """Whether the day opened, and the next one opened, where the close before was: a last print far off."""
    before = sequence.log_prices[out - 1, 3]
    move = np.abs(sequence.log_prices[out, 3] - before)
    opened = np.abs(sequence.log_prices[out, 0] - before)
    reopened = np.abs(sequence.log_prices[out + 1, 0] - before)
    only: BoolArray = (move > _CLOSE_SPIKE) & (np.maximum(opened, reopened) < _CLOSE_RETURNED * move)
    return only


def _moves_without_a_trade(sequence: BarSequence) -> BoolArray:
    moved: BoolArray = (sequence.volume == 0) & (np.abs(np.nan_to_num(sequence.returns)) > _NO_TRADE_MOVE)
    rows = np.flatnonzero(moved)
    moved[rows] = sequence.usual(rows).volume > 0
    return moved


def _run_lengths(sequence: BarSequence) -> IntArray:
    """(n,) bars in a row with the same four prices, each one included."""
    same = sequence.follows.copy()
    for price in sequence.prices.T:  # one by one: four columns at once take three times as long
        same[1:] &= price[1:] == price[:-1]
    position = np.arange(len(sequence))
    return position - np.maximum.accumulate(np.where(same, 0, position)) + 1


def _busted_prints(sequence: BarSequence) -> BoolArray:
    busted = np.zeros(len(sequence), bool)
    opened, high, low, close = sequence.log_prices.T
    reach = np.maximum(np.minimum(opened, close) - low, high - np.maximum(opened, close))
    rows = np.flatnonzero((reach > _BUSTED) | (np.abs(opened - close) > _BUSTED))
    believed = _believed(sequence, rows)
    below, above = _outside(sequence, rows)
    busted[rows] = (below > believed) | (above > believed) | _open_is_far(sequence, rows, believed)
    return busted


def _believed(sequence: BarSequence, rows: IntArray) -> FloatArray:
    """(k,) log distance up to which a print is believed; infinite where nothing is known of the symbol."""
    usual = np.maximum(sequence.usual(rows).spread, _SMALLEST_SPREAD)
    market = _BUSTED + _BUSTED_MARKET * np.abs(sequence.market[rows])
    return np.nan_to_num(np.maximum(market, _BUSTED_SPREADS * usual), nan=np.inf)


def _outside(sequence: BarSequence, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """(k,) log distances of low and high from open and close."""
    opened, high, low, close = sequence.log_prices[rows].T
    return np.minimum(opened, close) - low, high - np.maximum(opened, close)


def _open_is_far(sequence: BarSequence, rows: IntArray, believed: FloatArray) -> BoolArray:
    """Whether the open lies far from the close and, on the same side, from the close before."""
    from_close = sequence.log_prices[rows, 0] - sequence.log_prices[rows, 3]
    gap = np.nan_to_num(sequence.gaps[rows])
    far: BoolArray = (np.minimum(np.abs(from_close), np.abs(gap)) > believed) & (np.sign(from_close) == np.sign(gap))
    return far
