"""Features and targets of a row come from its own series, from no bar after it, and know no price level."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from models.actions import suspects
from models.bar_sequence import BarSequence
from models.config import NetworkConfig
from models.dataset import Dataset
from models.features import bar_features, filter_weights, scale_free, summaries
from models.leaks.sample import Sample, Stretch
from models.notation import count, significant
from models.panel import BoolArray, FloatArray, IntArray, build_panel, windows
from models.records import Check, at_most
from models.targets import label_reach

SAME: Final = 1e-6
"""The same bars through the same operations: any difference is another bar's."""
SAME_BY_ANOTHER_WAY: Final = 1e-4
"""A window alone against the filter along the series: rounding, in the unit-free numbers of the summaries."""
_FACTOR: Final = 2.0**-3
"""Of all prices; a power of two, so that not even a rounding may change."""
SESSIONS_AGAIN: Final = 6
"""Sessions whose market return, or whose targets, are computed a second time."""

Change = Callable[[Stretch, int], Stretch]
"""A stretch and the position of a cut → the stretch with another future."""


def causality_checks(dataset: Dataset, sample: Sample) -> tuple[Check, ...]:
    """Of the sample's features and targets, the market's return and the series."""
    limit = dataset.config.data.jump_limit
    return (
        _unmoved("truncation", "without the bars after a cut", sample, lambda past, cut: past.until(cut)),
        _unmoved("future_noise", "with noise after a cut", sample, lambda past, cut: past.with_noise_after(cut, limit)),
        _market_return(dataset),
        _own_series(sample),
        _unbroken(dataset),
        _served_features(sample),
        _price_level(sample),
    )


@dataclass(frozen=True)
class Rows:
    """Summaries and targets of present rows."""

    symbol: "np.ndarray[tuple[int], np.dtype[np.str_]]"
    session: IntArray
    """(n,) position on the stretch's session axis."""
    summaries: FloatArray
    """(n, n_summaries)."""
    targets: FloatArray
    """(n, 2) volatility and magnitude; a direction needs all symbols of its session."""

    @classmethod
    def of(cls, sample: Sample, stretch: Stretch) -> "Rows":
        """What the night would make of this stretch."""
        if stretch.bars.empty:  # no bar of these symbols was known yet
            return cls(np.empty(0, np.str_), np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 2)))
        dataset = sample.made_of(stretch)
        panel, network = dataset.panel, dataset.config.network
        rows = np.flatnonzero(panel.present)
        return cls(
            panel.symbol_of(rows),
            panel.session[rows].astype(np.int64),
            summaries(panel, network.window, network.spans)[rows].astype(np.float64),
            np.column_stack([dataset.targets.volatility, dataset.targets.magnitude])[rows],
        )

    def where(self, chosen: BoolArray) -> "Rows":
        """Some of the rows."""
        return Rows(self.symbol[chosen], self.session[chosen], self.summaries[chosen], self.targets[chosen])

    def difference(self, other: "Rows", labelled_until: int | None = None) -> float:
        """Largest difference of any number; infinite where a row or a number is there on one side only.

        Args:
            other: The same rows, from other bars.
            labelled_until: Last session position whose targets are compared; all when None.
        """
        mine, theirs = (pd.MultiIndex.from_arrays([rows.symbol, rows.session]) for rows in (self, other))
        if not theirs.is_unique:
            return float("inf")
        place = theirs.get_indexer(mine)
        if len(mine) != len(theirs) or (place < 0).any():
            return float("inf")
        if not len(mine):
            return 0.0
        labelled = np.full(len(mine), True) if labelled_until is None else self.session <= labelled_until
        return max(
            largest_difference(self.summaries, other.summaries[place]),
            largest_difference(self.targets[labelled], other.targets[place][labelled], may_be_missing=True),
        )


def largest_difference(one: FloatArray, other: FloatArray, may_be_missing: bool = False) -> float:
    """Of two arrays; infinite for a NaN on one side, or on both unless numbers may be missing."""
    difference = np.abs(one - other)
    if may_be_missing:
        difference[np.isnan(one) & np.isnan(other)] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max(initial=0.0))


def _unmoved(name: str, how: str, sample: Sample, change: Change) -> Check:
    """Cuts within the warm-up of a stretch and late in it."""
    config = sample.dataset.config
    worst, days, n_rows = 0.0, [], 0
    for stretch in sample.stretches:
        n_sessions, whole = len(stretch.market), Rows.of(sample, stretch)
        for cut in sorted({min(config.network.window // 2, n_sessions - 2), 3 * n_sessions // 4}):
            past = whole.where(whole.session <= cut)
            other = Rows.of(sample, change(stretch, cut))
            other = other.where(other.session <= cut)
            worst = max(worst, past.difference(other, cut - label_reach(config.targets)))
            days.append(f"{stretch.market.index[cut]:%Y-%m-%d}")
            n_rows += len(past.symbol)
    why = (
        f"{how}, the summaries and targets of {count(n_rows)} rows before it move by {significant(worst, 2)} at most: "
        f"{len(sample.symbols)} symbols, cuts at {', '.join(days)}"
    )
    return at_most(name, "leak", worst if n_rows else float("nan"), SAME, why)


def _market_return(dataset: Dataset) -> Check:
    """From the bars of a session and of the one before, and no others."""
    panel, bars, data = dataset.panel, dataset.bars, dataset.config.data
    days, worst = bars["session"].to_numpy("datetime64[D]"), 0.0
    looked_at = np.unique(np.linspace(1, len(panel.sessions) - 1, SESSIONS_AGAIN).astype(int))
    if not panel.relative:
        why = "not asked: the universe is too small for a market return"
        return Check(name="market_return", group="leak", value=None, bound=None, passed=True, why=why)
    for position in looked_at:
        two = panel.sessions[position - 1 : position + 1]
        alone = build_panel(bars[np.isin(days, two)], data)
        worst = max(worst, abs(float(alone.market_return[-1]) - float(panel.market_return[position])))
    where = ", ".join(str(panel.sessions[position]) for position in looked_at)
    why = f"from the bars of a session and the one before, its market return differs by {significant(worst, 2)} at most"
    return at_most("market_return", "leak", worst, SAME, f"{why}: sessions {where}")


def _own_series(sample: Sample) -> Check:
    """What a row is made of, with the other symbols there and without them."""
    worst, n_rows = 0.0, 0
    for stretch in sample.stretches:
        together = Rows.of(sample, stretch)
        for symbol, alone in stretch.symbol_by_symbol():
            own = together.where(together.symbol == symbol)
            worst = max(worst, own.difference(Rows.of(sample, alone)))
            n_rows += len(own.symbol)
    why = (
        f"without the other symbols, the summaries and targets of {count(n_rows)} rows of {len(sample.symbols)} "
        f"symbols move by {significant(worst, 2)} at most"
    )
    return at_most("own_series", "leak", worst if n_rows else float("nan"), SAME, why)


def _unbroken(dataset: Dataset) -> Check:
    """Unstated actions and gaps that should have started a new segment."""
    panel, data = dataset.panel, dataset.config.data
    present = np.flatnonzero(panel.present)
    _, symbol = np.unique(panel.symbols, return_inverse=True)
    series, session = panel.series[present], panel.session[present].astype(np.int64)
    bars = panel.bars[present].astype(np.float64)
    market = panel.market_return.astype(np.float64)[session]
    sequence = BarSequence(symbol[series].astype(np.int64), session, bars[:, :4], bars[:, 4], market)
    found = suspects(sequence, data.jump_limit).rows
    unstated = np.setdiff1d(found[series[found] == series[found - 1]], _cleared(dataset, present))
    absent = (np.diff(series) == 0) & (np.diff(session) - 1 > data.gap_sessions)
    broken = len(unstated) + int(np.sum(absent))
    why = (
        f"{count(broken)} moves that look like an unstated split, or gaps of more than {data.gap_sessions} sessions, "
        f"lie inside the {count(len(panel.symbols))} series; a window or a label would cross them"
    )
    return at_most("unbroken_series", "leak", broken, 0, why)


def _cleared(dataset: Dataset, present: IntArray) -> IntArray:
    """Positions among the present rows at which a person has ruled that there was no action."""
    bars, panel = dataset.bars, dataset.panel
    if "ruling" not in bars:
        return np.empty(0, np.int64)
    ruled = bars[bars["ruling"] == 1.0]
    keys = pd.MultiIndex.from_arrays([panel.symbol_of(present), panel.session_of(present).astype("datetime64[s]")])
    return np.flatnonzero(keys.isin(pd.MultiIndex.from_frame(ruled[["symbol", "session"]])))


def _served_features(sample: Sample) -> Check:
    """Windows as they are served, alone, against the summaries along the series that were trained on."""
    worst, n_windows = 0.0, 0
    for stretch in sample.stretches:
        dataset = sample.made_of(stretch)
        panel, network = dataset.panel, dataset.config.network
        first, last = panel.offsets[:-1], panel.offsets[1:] - 1
        rows = np.unique(np.concatenate([first, np.minimum(first + 2, last), (first + last) // 2, last]))
        rows = rows[panel.present[rows]]
        along = summaries(panel, network.window, network.spans)[rows].astype(np.float64)
        alone = np.concatenate([_summaries_of(block, network) for block in windows(panel, rows, network.window)])
        worst, n_windows = max(worst, largest_difference(alone, along)), n_windows + len(rows)
    why = (
        f"{count(n_windows)} windows of {len(sample.symbols)} symbols, cut as they are served, give the summaries that "
        f"were trained on: they differ by {significant(worst, 2)} at most"
    )
    return at_most("served_features", "leak", worst if n_windows else float("nan"), SAME_BY_ANOTHER_WAY, why)


def _summaries_of(
    block: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]", network: NetworkConfig
) -> FloatArray:
    """(n, n_summaries) of (n, window + 1, 7) windows, as the exported network computes them."""
    bars = block.astype(np.float64)
    signal = np.stack([*bar_features(np, bars[:, :-1], bars[:, 1:]).values(), bars[:, 1:, 6]], axis=-1)
    summed = np.einsum("btf,ts->bfs", signal, filter_weights(network.window, network.spans))
    alone: FloatArray = scale_free(np, summed[:, :-1] / np.maximum(summed[:, -1:], 1e-30))
    return alone


def _price_level(sample: Sample) -> Check:
    """A later split or dividend moves all earlier prices, so a level would tell of it."""
    worst, n_rows = 0.0, 0
    for stretch in sample.stretches:
        rows = Rows.of(sample, stretch)
        worst = max(worst, rows.difference(Rows.of(sample, stretch.at_scale(_FACTOR))))
        n_rows += len(rows.symbol)
    why = (
        f"with all prices × {_FACTOR:g}, the summaries and targets of {count(n_rows)} rows of {len(sample.symbols)} "
        f"symbols move by {significant(worst, 2)} at most"
    )
    return at_most("price_level", "leak", worst if n_rows else float("nan"), SAME, why)
