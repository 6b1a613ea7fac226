"""Does the gate's 90 % interval hold the truth in 90 % of cases, and how often does a model without skill pass?

Many simulated panels with a common market, scores that persist and targets that overlap, of models whose AUC in the
long run is known. On each the gate's own interval and checks, and beside them DeLong's interval, which takes all rows
for independent. A model without skill here forecasts volatility and magnitude well and knows nothing of the direction.

Run: `python -m benchmarks.coverage`, with `--panels 200` of each case and `--null-panels 0` for a sooner answer.
"""

import argparse
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import binomtest, rankdata

from benchmarks.measuring import machine, on_all_cores
from benchmarks.simulated_evidence import MarketSettings, SimulatedMarket
from models.bootstrap import Interval
from models.config import GateConfig, Head
from models.gate.evidence import Evidence
from models.gate.skill import skill_report
from models.scores import FloatArray

CONFIG: Final = GateConfig()
HEADS: Final[tuple[Head, ...]] = ("direction", "volatility", "magnitude")
SKILLED: Final = 0.53
UNSKILLED: Final = 0.5
FIRST_NULL: Final = 1_000_000
"""Seed of the first panel without skill: none of them takes part in the coverage."""

PANEL: Final = MarketSettings()
PANELS: Final[Mapping[str, MarketSettings]] = {
    "relative": PANEL,
    "absolute": replace(PANEL, relative=False),
    "relative, nothing common, scores without memory": replace(PANEL, market_share=0.0, common_share=0.0, memory=0.0),
    "relative, no common part of the score": replace(PANEL, common_share=0.0),
    "relative, most of the score in common": replace(PANEL, common_share=0.6),
    "relative, longer memory (0.97)": replace(PANEL, memory=0.97),
    "relative, 21 sessions ahead": replace(PANEL, reach=21),
    "relative, 120 sessions": replace(PANEL, sessions=120),
    "relative, 60 sessions": replace(PANEL, sessions=60),
    "absolute, 60 sessions": replace(PANEL, sessions=60, relative=False),
}


class Held(NamedTuple):
    """One panel: where the truth lay."""

    ours: Interval
    iid: Interval
    block: int


class Passed(NamedTuple):
    """One panel without skill: what let it through."""

    direction_auc: bool
    direction: bool
    """That, and the excess over volatility alone."""
    skill: bool
    """All checks of the group."""


def intervals(settings: MarketSettings, auc: float, seed: int) -> Held:
    """Both intervals of one model on one market.

    Args:
        settings: Of the market.
        auc: The model's, in the long run.
        seed: Of the market and of the model.
    """
    evidence = _evidence(settings, auc, seed)
    ours = evidence.interval(evidence.auc("p_up"))
    return Held(ours, iid_interval(evidence, CONFIG.confidence), evidence.block)


def iid_interval(evidence: Evidence, confidence: float) -> Interval:
    """DeLong, DeLong and Clarke-Pearson (1988): as if all rows were independent.

    The mean of the sessions' areas gets the mean of their variances, as if sessions were independent too.

    Args:
        evidence: With `direction` and `p_up`.
        confidence: Two-sided.
    """
    up, score = evidence.column("direction") == 1.0, evidence.column("p_up")
    if evidence.relative:
        groups = [np.arange(len(score))]
    else:
        groups = np.split(np.arange(len(score)), np.flatnonzero(np.diff(evidence.session)) + 1)
    areas = [_delong(up[rows], score[rows]) for rows in groups if 1 < up[rows].sum() < len(rows) - 1]
    value = float(np.mean([area for area, _ in areas]))
    error = math.sqrt(sum(variance for _, variance in areas)) / len(areas)
    reach = float(ndtri((1.0 + confidence) / 2.0)) * error
    return Interval(value, value - reach, value + reach)


def null_checks(settings: MarketSettings, seed: int) -> Passed:
    """What the gate says of the skill of a model that knows nothing of the direction.

    Args:
        settings: Of the market.
        seed: Of the market and of the model.
    """
    report = skill_report(_evidence(settings, UNSKILLED, seed), CONFIG, HEADS)
    passed = {check.name: check.passed for check in report.checks}
    auc = passed["direction_auc"]
    return Passed(auc, auc and passed["direction_over_volatility"], all(passed.values()))


def _evidence(settings: MarketSettings, auc: float, seed: int) -> Evidence:
    market = SimulatedMarket.draw(settings, seed)
    frame = market.frame(market.forecasts(auc, seed))
    return Evidence.of(frame, CONFIG, reach=settings.reach, relative=settings.relative)


def _delong(up: np.typing.NDArray[np.bool_], score: FloatArray) -> tuple[float, float]:
    """Area and its variance."""
    ranks, n_up, n_down = rankdata(score), int(up.sum()), int((~up).sum())
    above = (ranks[up] - rankdata(score[up])) / n_down
    below = 1.0 - (ranks[~up] - rankdata(score[~up])) / n_up
    return float(above.mean()), float(above.var(ddof=1) / n_up + below.var(ddof=1) / n_down)


def share(passed: Iterable[bool], confidence: float = 0.95) -> str:
    """A share with the exact interval of Clopper and Pearson.

    Args:
        passed: One a panel.
        confidence: Of that interval.
    """
    cases = list(passed)
    between = binomtest(sum(cases), len(cases)).proportion_ci(confidence)
    return f"{100 * sum(cases) / len(cases):.1f} % ({100 * between.low:.1f} to {100 * between.high:.1f})"


def covers(interval: Interval, truth: float) -> bool:
    """Whether it holds the truth; one without ends does not."""
    return interval.low <= truth <= interval.high


def coverage_row(name: str, auc: float, held: Sequence[Held]) -> str:
    """One line of the first table."""
    values = np.array([one.ours.value for one in held])
    half_ours, half_iid = (
        np.median([(of.high - of.low) / 2 for of in which]) for which in zip(*(one[:2] for one in held), strict=True)
    )
    cells = (
        name,
        f"{auc:.2f}",
        f"{values.mean():.4f} (sd {values.std(ddof=1):.4f})",
        f"{np.median([one.block for one in held]):.0f}",
        f"{half_ours:.4f}",
        share(covers(one.ours, auc) for one in held),
        f"{100 * np.mean([auc < one.ours.low for one in held]):.1f} %",
        f"{100 * np.mean([auc > one.ours.high for one in held]):.1f} %",
        f"{half_iid:.4f}",
        share(covers(one.iid, auc) for one in held),
    )
    return f"| {' | '.join(cells)} |"


def print_coverage(n_panels: int) -> None:
    """The first table, as it grows."""
    print(
        "| panel | true AUC | measured | block | half width | covers | truth below | truth above | DeLong's half width "
        "| covers |\n" + "|---" * 10 + "|"
    )
    cases = [(name, SKILLED) for name in PANELS] + [("relative", UNSKILLED), ("absolute", UNSKILLED)]
    for name, auc in cases:
        held = on_all_cores(partial(intervals, PANELS[name], auc), range(n_panels))
        print(coverage_row(name, auc, held), flush=True)


def print_null(n_panels: int) -> None:
    """The second table: models without skill."""
    print("\n| without skill | `direction_auc` passes | both direction checks | all of skill |\n" + "|---" * 4 + "|")
    for name in ("relative", "absolute"):
        seeds = range(FIRST_NULL, FIRST_NULL + n_panels)
        passed = on_all_cores(partial(null_checks, PANELS[name]), seeds)
        cells = (share(one[of] for one in passed) for of in range(len(Passed._fields)))
        print(f"| {n_panels}, {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.partition("\n")[0])
    arguments.add_argument("--panels", type=int, default=400, help="of each case of the coverage")
    arguments.add_argument("--null-panels", type=int, default=1000, help="without skill, of each target")
    chosen, started = arguments.parse_args(), time.perf_counter()
    print(
        f"{machine()}; {PANEL.sessions} sessions × {PANEL.symbols} symbols, {PANEL.reach} ahead, market "
        f"{PANEL.market_share} of a return's variance, {PANEL.common_share} of a score's in common, memory "
        f"{PANEL.memory}; {CONFIG.bootstrap_replicates} replicates, {100 * CONFIG.confidence:.0f} % intervals; in "
        "brackets exact 95 % intervals of the shares\n"
    )
    if chosen.panels:
        print_coverage(chosen.panels)
    if chosen.null_panels:
        print_null(chosen.null_panels)
    print(f"\nTook {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
