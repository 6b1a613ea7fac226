"""From bars to all that a night learns from, against the same numbers by pandas: how many times faster?

Run: `python -m benchmarks.preparation`. Both answers are compared on every row before anything is timed. A night
prepares once, in a process that has done nothing of the kind before, so each is timed in processes of its own.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.measuring import Result, Row, Sample, gold_panel, in_own_process, in_turns, main, seconds
from benchmarks.pandas_twin import Prepared, prepare
from models.config import BoundedHead, RetrainConfig
from models.features import summaries, summary_names
from models.panel import Float32Array, IntArray, Panel, build_panel
from models.percentiles import head_scale
from models.splits import usable_rows
from models.targets import Targets, compute_targets
from models.timings import Timings

ROUNDS: Final = 5
AGAIN: Final = 3
TIMED: Final = ("pandas", "ours")
PARTS: Final = ("panel", "summaries", "targets")
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
    rounds = [[in_own_process("benchmarks.preparation", "--timed", who) for who in TIMED] for _ in range(ROUNDS)]
    theirs, own = zip(*rounds, strict=True)
    parts = [answer["parts"] for answer in own]
    panel = build_panel(bars, CONFIG.data)
    return Result(
        name="preparation",
        question="How long from canonical bars to summaries, targets, usable rows and scales?",
        baseline="the same by pandas' groupby, shift, ewm and rolling, no Python function called by row or by group",
        sizes=f"{len(bars):,} daily bars of {bars['symbol'].nunique()} symbols, {panel.n_symbols} symbols in "
        f"{len(panel.segments)} series, {len(summary_names(CONFIG.network.spans))} summaries a bar; {ROUNDS} rounds in "
        f"turns, each in a process of its own",
        rows=(
            Row.of_times("as a night does it, once in a fresh process", _of(theirs, "first"), _of(own, "first"), REACH),
            Row.of_times("again in the same process, its memory in use", _of(theirs, "again"), _of(own, "again")),
        ),
        notes=(
            f"Largest difference between the two on all rows: {largest:.1e}, relative beyond 1.",
            f"Where our time goes, the first time: {', '.join(f'{part} {_of(parts, part)} s' for part in PARTS)}; the "
            "rest counts rows and sets scales.",
        ),
    )


def timed(who: str) -> dict[str, Any]:
    """Seconds of the first time, of its parts where it is ours, and of later times."""
    bars, parts = canonical_bars(), Timings()
    if who == "pandas":
        first, again = (in_turns(times, lambda: prepare(bars, CONFIG))[0].median for times in (1, AGAIN))
        return {"first": first, "again": again}
    first = seconds(lambda: ours(bars, CONFIG, parts))
    return {"first": first, "again": in_turns(AGAIN, lambda: ours(bars, CONFIG))[0].median, "parts": parts.seconds}


def _of(answers: Sequence[dict[str, Any]], name: str) -> Sample:
    return Sample(values=tuple(one[name] for one in answers))


def canonical_bars() -> pd.DataFrame:
    """The gold panel as a night reads it."""
    bars = pd.concat([pd.read_parquet(file) for file in gold_panel()])
    bars = bars.rename(columns={"timestamp": "session", "split_coefficient": "split_ratio"})
    return bars.astype({"session": "datetime64[s]"}).sort_values(["symbol", "session"], ignore_index=True)


def ours(
    bars: pd.DataFrame, config: RetrainConfig, timings: Timings | None = None
) -> tuple[Panel, Float32Array, Targets, IntArray, dict[BoundedHead, float]]:
    """What a night computes from its bars before it trains."""
    part = timings or Timings()
    with part("panel"):
        panel = build_panel(bars, config.data)
    with part("summaries"):
        seen = summaries(panel, config.network.window, config.network.spans)
    with part("targets"):
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


def _command_line() -> None:
    arguments = argparse.ArgumentParser(add_help=False)
    arguments.add_argument("--timed", choices=TIMED)
    asked, _ = arguments.parse_known_args()
    if asked.timed:
        print(json.dumps(timed(asked.timed)))
    else:
        main(measure, "preparation")


if __name__ == "__main__":
    _command_line()
