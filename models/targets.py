"""What the heads learn to predict, computed inside one series and never across two.

With c the closes, h the horizon and r the daily log returns of the h sessions after the entry price:

    volatility = sd(r, ddof = 1)        magnitude = |sum(r)|        direction = sign(sum(r) − median of the universe)

The last sessions of a series have no target: NaN, never zero.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from models.blocks import in_blocks
from models.config import TargetsConfig
from models.panel import BAR_COLUMNS, BoolArray, FloatArray, Panel

_BLOCK: Final = 16_384
"""Rows whose horizons are looked at together."""


@dataclass(frozen=True)
class Targets:
    """Targets of every row of a panel; NaN where there is none."""

    direction: FloatArray
    """(M,) 1 up, 0 down, NaN for exact zeros and where the horizon is not complete."""
    volatility: FloatArray
    """(M,) daily, as a fraction."""
    magnitude: FloatArray
    """(M,) absolute log return over the horizon."""
    reach: int
    """Sessions from a row to the last session that its label looks at."""

    @property
    def known(self) -> BoolArray:
        """(M,) rows with a complete horizon."""
        return np.isfinite(self.volatility)


def compute_targets(panel: Panel, config: TargetsConfig) -> Targets:
    """Volatility, magnitude and direction over the next `horizon_sessions` of each row's own series."""
    total, volatility = np.empty(len(panel.session)), np.empty(len(panel.session))

    def fill(rows: slice) -> None:
        returns = _horizon_returns(panel, rows, config)
        returns.sum(axis=0, out=total[rows])
        returns.std(axis=0, ddof=1, out=volatility[rows])

    in_blocks(fill, panel.offsets, _BLOCK)
    return Targets(
        direction=_direction(total, panel, config),
        volatility=volatility,
        magnitude=np.abs(total),
        reach=label_reach(config),
    )


def label_reach(config: TargetsConfig) -> int:
    """Sessions from a row to the end of its label."""
    return config.reach


def _horizon_returns(panel: Panel, rows: slice, config: TargetsConfig) -> FloatArray:
    """(h, n) daily log returns of whole series from the entry price on; NaN where one ends or a bar is absent."""
    log_close = _log_prices(panel, rows, "close")
    delay = int(config.entry == "next_close")
    ends = panel.offsets[panel.series[rows] + 1] - rows.start
    levels = [_ahead(log_close, step + delay, ends) for step in range(config.horizon_sessions + 1)]
    if config.entry == "next_open":
        levels[0] = _ahead(_log_prices(panel, rows, "open"), 1, ends)
    return np.diff(np.stack(levels), axis=0)


def _log_prices(panel: Panel, rows: slice, name: str) -> FloatArray:
    """(n,) logarithm of one of the prices; NaN where the bar is absent."""
    prices = panel.bars[rows, BAR_COLUMNS.index(name)].astype(np.float64)
    return np.log(np.where(panel.present[rows], prices, np.nan))


def _ahead(values: FloatArray, steps: int, ends: np.ndarray) -> FloatArray:
    """(M,) value that many sessions later in the same series, else NaN."""
    later = np.full(len(values), np.nan)
    later[: max(len(values) - steps, 0)] = values[steps:]
    later[np.arange(len(values)) + steps >= ends] = np.nan
    return later


def is_relative(panel: Panel, config: TargetsConfig) -> bool:
    """Whether direction is told against the universe: where that is asked and the universe is large enough."""
    return config.direction == "relative" and panel.relative


def _direction(total: FloatArray, panel: Panel, config: TargetsConfig) -> FloatArray:
    if is_relative(panel, config):
        universe = pd.Series(np.where(panel.member, total, np.nan))
        total = total - universe.groupby(panel.session).transform("median").to_numpy()
    return np.where(np.isfinite(total) & (total != 0), (total > 0).astype(np.float64), np.nan)
