"""What must be true of the targets before anything is trained on them. Here the numbers; the limits are a contract.

A bounded head hides broken targets by sitting in silence at its bound, so they are looked at first: in absolute
terms, against the last nights, by a second computation that shares no code with the first, and on a panel whose
answer is known: symbol k at the constant price 10^k has exactly zero volatility and magnitude, unless a return runs
from one symbol to another.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from models.config import DataConfig, TargetsConfig
from models.panel import IntArray, Panel, build_panel
from models.records import Scale
from models.targets import Targets, compute_targets, label_reach

TargetRule = Callable[[Panel, TargetsConfig], Targets]

_SAMPLE: Final = 200


def target_facts(
    panel: Panel,
    targets: Targets,
    training_rows: IntArray,
    scales: Mapping[str, Scale],
    config: TargetsConfig,
    history: Sequence[Mapping[str, float | None]] = (),
    rule: TargetRule = compute_targets,
) -> dict[str, float]:
    """One number for each check of the targets' contract.

    Args:
        panel: The night's panel.
        targets: Its targets, as they will be trained on.
        training_rows: Rows that training reads.
        scales: Of the bounded heads, from these rows.
        config: Horizon, entry and limits.
        history: Facts of the last nights, from the ledger.
        rule: What computed the targets; the constant-price panel is put through the same.
    """
    second = second_computation_error(panel, targets, training_rows, config)
    constant = constant_price_error(config, rule)
    facts = {"up_share": float(np.nanmean(targets.direction[training_rows]))}
    for head, scale in scales.items():
        values = getattr(targets, head)[training_rows]
        facts |= {
            f"{head}_p99": scale.percentiles["p99"],
            f"{head}_mean": scale.mean,
            f"{head}_zero_share": float(np.mean(values == 0)),
            f"{head}_drift": _drift(head, scale.mean, history),
            f"{head}_clipped_share": scale.clipped_share,
            f"{head}_second_computation": second[head],
            f"{head}_constant_price": constant[head],
        }
    return facts


def second_computation_error(panel: Panel, targets: Targets, rows: IntArray, config: TargetsConfig) -> dict[str, float]:
    """Largest difference from a plain computation of a sample of rows, bar by bar; infinite where only one has a value.

    It looks each bar up by (symbol, session), so it cannot step into a neighbouring series by position.
    """
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    closes, opens = _prices_by_key(panel, sample)
    worst = {"volatility": 0.0, "magnitude": 0.0}
    for row in sample:
        returns = _plain_returns(panel, int(row), closes, opens, config)
        complete = all(map(math.isfinite, returns))  # the standard deviation of a NaN is an error in Python 3.11
        deviation = statistics.stdev(returns) if complete else math.nan
        plain = {"volatility": deviation, "magnitude": abs(math.fsum(returns))}
        for head, value in plain.items():
            error = abs(value - getattr(targets, head)[row])
            worst[head] = max(worst[head], error if math.isfinite(error) else math.inf)
    return worst


def constant_price_error(config: TargetsConfig, rule: TargetRule = compute_targets) -> dict[str, float]:
    """Largest target on the constant-price panel, NaN if it has none; exactly 0 when no return crosses symbols."""
    sessions = pd.bdate_range("2001-01-01", periods=label_reach(config) + 20).to_numpy("datetime64[s]")
    symbols = [f"CONSTANT{k}" for k in range(1, 7)]
    bars = pd.DataFrame(
        {
            "symbol": pd.Series(np.repeat(symbols, len(sessions)), dtype="str"),
            "session": np.tile(sessions, len(symbols)),
        }
    )
    price = np.repeat(10.0 ** np.arange(1, len(symbols) + 1), len(sessions))
    bars = bars.assign(open=price, high=price, low=price, close=price, volume=1e6)
    still = DataConfig(min_universe=1, suspect_bars="keep")  # prices that stand still are the point, not a stale run
    targets = rule(build_panel(bars, still), config)
    worst = {head: getattr(targets, head) for head in ("volatility", "magnitude")}
    return {head: float(np.nanmax(values)) if np.isfinite(values).any() else math.nan for head, values in worst.items()}


def _prices_by_key(panel: Panel, rows: IntArray) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
    """Close and open by (series, session position), of the series in question."""
    wanted = np.flatnonzero(np.isin(panel.series, np.unique(panel.series[rows])) & panel.present)
    keys = list(zip(panel.series[wanted].tolist(), panel.session[wanted].tolist(), strict=True))
    closes = dict(zip(keys, panel.bars[wanted, 3].tolist(), strict=True))
    return closes, dict(zip(keys, panel.bars[wanted, 0].tolist(), strict=True))


def _plain_returns(
    panel: Panel,
    row: int,
    closes: Mapping[tuple[int, int], float],
    opens: Mapping[tuple[int, int], float],
    config: TargetsConfig,
) -> list[float]:
    series, session = int(panel.series[row]), int(panel.session[row])
    start = session + (config.entry == "next_close")
    prices = [closes.get((series, start + step), math.nan) for step in range(config.horizon_sessions + 1)]
    if config.entry == "next_open":
        prices[0] = opens.get((series, session + 1), math.nan)
    return [math.log(later / earlier) for earlier, later in pairwise(prices)]


def _drift(head: str, mean: float, history: Sequence[Mapping[str, float | None]]) -> float:
    """Tonight's mean over the median of the last nights' means; NaN when there is none to compare with."""
    means = [known for night in history if (known := night.get(f"{head}_mean")) is not None]
    return mean / statistics.median(means) if means else math.nan
