"""Bars of many symbols one after another, and what is usual for each of them in the bars before.

What is asked of every bar costs one pass; what needs a look back (medians of the bars before) is asked of the few
rows that a pass has left, so that millions of bars take about a second. Everything is scale-free: prices × a constant
change no answer.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HISTORY: Final = 21
"""Bars before a bar that say what is usual. A night scores on two windows of bars, so that each bar of the window has
this many before it: the answer on one night is the answer on the next."""
FEWEST: Final = 5
"""With fewer bars before it nothing is known of what is usual."""
_TO_SIGMA: Final = 1.4826
"""Median absolute deviation → standard deviation of a normal variable."""


@dataclass(frozen=True)
class Usual:
    """What is usual for k bars, each by the bars before it; NaN where fewer than `FEWEST` are there."""

    volatility: FloatArray
    """(k,) robust standard deviation of the log return per session."""
    spread: FloatArray
    """(k,) median of log(high / low)."""
    volume: FloatArray
    """(k,) median volume."""
    turnover: FloatArray
    """(k,) median of close × volume."""


@dataclass(frozen=True)
class BarSequence:
    """n bars, sorted by symbol and session; prices above zero."""

    symbol: IntArray
    """(n,) code of the symbol."""
    session: IntArray
    """(n,) position on the session axis."""
    prices: FloatArray
    """(n, 4) open, high, low, close."""
    volume: FloatArray
    """(n,)."""
    market: FloatArray
    """(n,) log return of the market in the bar's session; zeros where there is none."""

    def __len__(self) -> int:
        return len(self.symbol)

    def at(self, rows: slice | BoolArray) -> "BarSequence":
        """Some of the bars."""
        return BarSequence(*(getattr(self, one.name)[rows] for one in fields(self)))

    @cached_property
    def log_prices(self) -> FloatArray:
        """(n, 4) natural logarithms."""
        with np.errstate(divide="ignore", invalid="ignore"):  # a contract may let a price of zero through
            return np.log(self.prices)

    @cached_property
    def follows(self) -> BoolArray:
        """(n,) whether the bar before is of the same symbol."""
        follows = np.zeros(len(self), bool)
        follows[1:] = self.symbol[1:] == self.symbol[:-1]
        return follows

    @cached_property
    def returns(self) -> FloatArray:
        """(n,) log return from the close before; NaN at a symbol's first bar."""
        with np.errstate(invalid="ignore"):
            return np.where(self.follows, np.diff(self.log_prices[:, 3], prepend=np.nan), np.nan)

    @cached_property
    def gaps(self) -> FloatArray:
        """(n,) log return from the close before to the open; NaN at a symbol's first bar."""
        gaps = np.full(len(self), np.nan)
        gaps[1:] = self.log_prices[1:, 0] - self.log_prices[:-1, 3]
        return np.where(self.follows, gaps, np.nan)

    @cached_property
    def spreads(self) -> FloatArray:
        """(n,) log(high / low)."""
        return self.log_prices[:, 1] - self.log_prices[:, 2]

    def usual(self, rows: IntArray) -> Usual:
        """What is usual for these rows."""
        back = rows[:, None] + np.arange(-HISTORY, 0)
        same = (back >= 0) & (self.symbol[np.maximum(back, 0)] == self.symbol[rows][:, None])
        back = np.maximum(back, 0)

        def median(values: FloatArray) -> FloatArray:
            return row_medians(np.where(same, values, np.nan))

        returns = self.returns[back] - self.market[back]
        centre = median(returns)
        return Usual(
            volatility=_TO_SIGMA * median(np.abs(returns - centre[:, None])),
            spread=median(self.spreads[back]),
            volume=median(self.volume[back]),
            turnover=median(self.volume[back] * self.prices[back, 3]),
        )


def row_medians(values: FloatArray, fewest: int = FEWEST) -> FloatArray:
    """Median of each row's numbers; NaN where there are fewer than so many."""
    ordered = np.sort(values, axis=1)  # NaN last; nanmedian would go row by row
    count = np.sum(~np.isnan(values), axis=1)
    middle = np.maximum(count - 1, 0)
    row = np.arange(len(values))
    medians: FloatArray = (ordered[row, middle // 2] + ordered[row, (middle + 1) // 2]) / 2
    return np.where(count >= fewest, medians, np.nan)
