"""From bars to all that a night learns from, against the same numbers by pandas: how many times faster?

Run: `python -m benchmarks.preparation`. Both answers are compared on every row before anything is timed.
"""

from typing import Final

import numpy as np
import pandas as pd

from benchmarks.measuring import Result, Row, gold_panel, in_turns, main
from benchmarks.pandas_twin import Prepared, prepare
from models.config import BoundedHead, RetrainConfig
from models.features import summaries, summary_names
from models.panel import Float32Array, IntArray, Panel, build_panel
from models.percentiles import head_scale
from models.splits import usable_rows
from models.targets import Targets, compute_targets

ROUNDS: Final = 5
REACH: Final = 10.0
TOLERANCE: Final = 1e-6
CONFIG: Final = RetrainConfig()
HEADS: Final[tuple[BoundedHead, ...]] = ("volatility", "magnitude")


def measure() -> Result:
    """Seconds of both over the gold panel."""
    bars = canonical_bars()
    largest = largest_difference(prepare(bars, CONFIG), bars, CONFIG)
    if not largest <= TOLERANCE:
        raise ValueError(f"the two preparations differ by {largest}, so their times cannot be compared")
    panel = build_panel(bars, CONFIG.data)
    network = CONFIG.network
    theirs, own = in_turns(ROUNDS, lambda: prepare(bars, CONFIG), lambda: ours(bars, CONFIG))
    parts = in_turns(
        ROUNDS,
        lambda: build_panel(bars, CONFIG.data),
        lambda: summaries(panel, network.window, network.spans),
        lambda: compute_targets(panel, CONFIG.targets),
    )
    names = ("panel", "summaries", "targets")
    told = ", ".join(f"{name} {part} s" for name, part in zip(names, parts, strict=True))
    return Result(
        name="preparation",
        question="How long from canonical bars to summaries, targets, usable rows and scales?",
        baseline="the same by pandas' groupby, shift, ewm and rolling, no Python function called by row or by group",
        sizes=f"{len(bars):,} daily bars of {bars['symbol'].nunique()} symbols, {panel.n_symbols} symbols in "
        f"{len(panel.segments)} series, {len(summary_names(network.spans))} summaries a bar; {ROUNDS} rounds in turns",
        rows=(Row.of_times("all of it", theirs, own, REACH),),
        notes=(
            f"Largest difference between the two on all rows: {largest:.1e}, relative beyond 1.",
            f"Where our time goes: {told}.",
        ),
    )


def canonical_bars() -> pd.DataFrame:
    """The gold panel as a night reads it."""
    bars = pd.concat([pd.read_parquet(file) for file in gold_panel()])
    bars = bars.rename(columns={"timestamp": "session", "split_coefficient": "split_ratio"})
    return bars.astype({"session": "datetime64[s]"}).sort_values(["symbol", "session"], ignore_index=True)


def ours(
    bars: pd.DataFrame, config: RetrainConfig
) -> tuple[Panel, Float32Array, Targets, IntArray, dict[BoundedHead, float]]:
    """What a night computes from its bars before it trains."""
    panel = build_panel(bars, config.data)
    seen = summaries(panel, config.network.window, config.network.spans)
    targets = compute_targets(panel, config.targets)
    rows = usable_rows(panel, targets, config)
    scales = {head: head_scale(head, getattr(targets, head)[rows], config.targets).scale for head in HEADS}
    return panel, seen, targets, rows, scales


def largest_difference(twin: Prepared, bars: pd.DataFrame, config: RetrainConfig) -> float:
    """Between both preparations, over every summary, target and scale; infinite where other rows have targets."""
    _, seen, targets, rows, scales = ours(bars, config)
    theirs = twin.summaries[list(summary_names(config.network.spans))].to_numpy()
    differences = [_difference(theirs, seen)]
    differences += [
        _difference(twin.targets[head].to_numpy(), getattr(targets, head)) for head in ("direction", *HEADS)
    ]
    differences += [abs(twin.scales[head] - scales[head]) for head in HEADS]
    return max(differences) if np.array_equal(np.flatnonzero(twin.usable), rows) else np.inf


def _difference(one: np.ndarray, another: np.ndarray) -> float:
    if not np.array_equal(np.isnan(one), np.isnan(another)):
        return np.inf
    return float(np.nanmax(np.abs(one - another) / np.maximum(1.0, np.abs(another))))


if __name__ == "__main__":
    main(measure, "preparation")
