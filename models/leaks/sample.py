"""A few symbols of a night, and what their bars would look like if the future had been another."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dataset import Dataset
from models.panel import BAR_COLUMNS, PRICES, FloatArray

STEADY: Final = 8
"""Symbols with one unbroken series from the training sessions to the last: what is fitted again is fitted on these."""
BROKEN: Final = 4
"""Symbols of several segments, if there are any: where one series could run into the next."""
SCANNED: Final = 100
"""Symbols whose features are scanned."""
_STRETCHES: Final = 3
_WINDOWS: Final = 4
"""A stretch is this many windows long."""
_STEP: Final = 0.4
"""Largest daily step of the noise, as a share of the jump that would start a new segment."""


@dataclass(frozen=True)
class Sample:
    """Symbols drawn by the night's last session, so that other nights look at others; the same night at the same."""

    dataset: Dataset
    steady: npt.NDArray[np.str_]
    broken: npt.NDArray[np.str_]
    scanned: npt.NDArray[np.str_]
    judged: npt.NDArray[np.str_]

    @classmethod
    def of(cls, dataset: Dataset) -> "Sample":
        """Draw it."""
        random = np.random.default_rng(int(dataset.panel.sessions[-1].astype("datetime64[D]").astype(int)))

        def drawn(symbols: npt.NDArray[np.str_], n: int) -> npt.NDArray[np.str_]:
            return np.sort(random.choice(symbols, min(n, len(symbols)), replace=False))

        panel = dataset.panel
        names, n_series = np.unique(panel.symbols, return_counts=True)
        trained = np.unique(panel.symbol_of(dataset.train))
        fewest = 2 if panel.relative else 1  # one alone is its own median: it has no direction
        last = panel.session[panel.offsets[1:] - 1] == len(panel.sessions) - 1
        whole = np.intersect1d(np.intersect1d(names[n_series == 1], trained), panel.symbols[last])
        return cls(
            dataset,
            steady=drawn(whole if len(whole) >= fewest else trained, STEADY),
            broken=drawn(names[n_series > 1], BROKEN),
            scanned=drawn(names, SCANNED),
            judged=drawn(np.unique(panel.symbol_of(dataset.evidence)), STEADY),
        )

    @cached_property
    def symbols(self) -> npt.NDArray[np.str_]:
        """Those whose features and targets are computed again."""
        return np.union1d(self.steady, self.broken)

    @cached_property
    def stretches(self) -> tuple["Stretch", ...]:
        """The first sessions, some from the middle and the last, each `_WINDOWS` windows long."""
        n_sessions = len(self.dataset.panel.sessions)
        length = min(_WINDOWS * self.dataset.config.network.window, n_sessions)
        starts = np.unique(np.linspace(0, n_sessions - length, _STRETCHES).astype(int))
        stretches = (self.stretch(self.symbols, int(start), int(start) + length) for start in starts)
        return tuple(stretch for stretch in stretches if len(stretch.bars))

    def stretch(self, symbols: npt.NDArray[np.str_], first: int, last: int) -> "Stretch":
        """Bars of some symbols over a half-open range of session positions.

        They are split-adjusted as the night adjusts them. What a later adjustment changes is asked of the exported
        model itself: the health check `agreement` builds its panels from raw bars.
        """
        panel = self.dataset.panel
        chosen = np.isin(panel.symbols, symbols)[panel.series] & panel.present
        rows = np.flatnonzero(chosen & (panel.session >= first) & (panel.session < last))
        bars = pd.DataFrame(panel.bars[rows].astype(np.float64), columns=list(BAR_COLUMNS))
        bars.insert(0, "symbol", pd.Series(panel.symbol_of(rows), dtype="str"))
        bars.insert(1, "session", panel.session_of(rows).astype("datetime64[s]"))
        bars["member"] = panel.member[rows]
        return Stretch(bars, panel.market.iloc[first:last])

    def made_of(self, stretch: "Stretch") -> Dataset:
        """What the night would make of these bars."""
        config = self.dataset.config
        adjusted = config.data.model_copy(update={"splits": {}})  # they are taken out of these bars already
        return Dataset.of(stretch.bars, stretch.market, config.model_copy(update={"data": adjusted}))


@dataclass(frozen=True)
class Stretch:
    """Bars of some symbols, and the market's returns of the same sessions."""

    bars: pd.DataFrame
    market: "pd.Series[float]"

    def until(self, position: int) -> "Stretch":
        """As it was known on the session of this position."""
        last = self.market.index[position]
        return Stretch(self.bars[self.bars["session"] <= last], self.market.iloc[: position + 1])

    def with_noise_after(self, position: int, jump_limit: float) -> "Stretch":
        """The same up to this session; later bars and market returns are random walks without a jump."""
        random = np.random.default_rng(position)
        largest = -_STEP * np.log1p(-jump_limit)
        later = (self.bars["session"] > self.market.index[position]).to_numpy()
        steps = np.where(later, random.uniform(-largest, largest, len(later)), 0.0)
        symbol, log_close = self.bars["symbol"].to_numpy(), np.log(self.bars["close"])
        level = log_close.where(~later).groupby(symbol).ffill()
        level = level.fillna(log_close.groupby(symbol).transform("first"))
        close = np.exp(level.to_numpy() + pd.Series(steps).groupby(symbol).cumsum().to_numpy())
        noise = _bars_around(close, largest, random)
        bars = self.bars.assign(**{name: np.where(later, noise[name], self.bars[name]) for name in BAR_COLUMNS})
        known = self.market.iloc[: position + 1].to_numpy()
        # a universe too small for a market keeps none: with one its labels would become relative to it
        unknown = random.normal(0.0, 0.01, len(self.market) - len(known)) * self.market.any()
        return Stretch(bars, pd.Series(np.concatenate([known, unknown]), index=self.market.index))

    def at_scale(self, factor: float) -> "Stretch":
        """All prices × a factor."""
        return Stretch(self.bars.assign(**{name: self.bars[name] * factor for name in PRICES}), self.market)

    def symbol_by_symbol(self) -> Iterator[tuple[str, "Stretch"]]:
        """Each symbol without the others."""
        for symbol, bars in self.bars.groupby("symbol", sort=False):
            yield str(symbol), Stretch(bars.reset_index(drop=True), self.market)


def _bars_around(close: FloatArray, largest: float, random: np.random.Generator) -> dict[str, FloatArray]:
    opened = close * np.exp(random.uniform(-largest, largest, len(close)))
    reach = np.exp(random.uniform(0.0, largest, (2, len(close))))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * reach[0],
        "low": np.minimum(opened, close) / reach[1],
        "close": close,
        "volume": random.lognormal(13.0, 1.0, len(close)),
    }
