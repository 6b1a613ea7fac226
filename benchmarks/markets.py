"""Whole nights on synthetic markets with and without a direction to be found: how often does the gate let one through?

Every stage of a night runs but registry and report: ingest with its contract, targets, recipe folds, candidate,
evidence, gate; nothing serves before, so a candidate must be healthy and skilled. A null market has volatility that can
be forecast and no direction; a planted one has a direction of known strength besides.

Run: `python -m benchmarks.markets`, with `--markets 30` of each kind.
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.measuring import machine
from models.config import RetrainConfig, StorageConfig
from models.quiet import load_tensorflow
from models.records import Verdict
from models.synthetic import MarketSettings, SyntheticMarket, synthetic_market

SYMBOLS: Final = 120
SESSIONS: Final = 750
EDGES: Final = {"null": 0.0, "planted": 0.07}
DIRECTION: Final = ("direction_auc", "direction_over_volatility")


class Night(NamedTuple):
    """What the gate said of one market."""

    verdict: Verdict
    best_auc: float
    """Of the best possible forecast on the very rows of the evidence."""


def night_on(settings: MarketSettings, home: Path) -> Night:
    """All stages up to the gate, as a night runs them."""
    from tasks.evaluate import evaluate
    from tasks.gate import judge
    from tasks.ingest import bring_in
    from tasks.snapshot import identify_night
    from tasks.targets import recompute_targets
    from tasks.train import fit_candidate

    market = synthetic_market(settings)
    config = RetrainConfig(storage=StorageConfig(home=str(home)))
    delivered = home.with_suffix(".parquet")
    market.bars.assign(timestamp=market.bars["session"].dt.date).drop(columns="session").to_parquet(delivered)
    bring_in(str(delivered), config, None, datetime.now(UTC))
    night = identify_night(None, config, datetime.now(UTC))
    recompute_targets.fn(night, config)
    candidate = fit_candidate.fn(night.night_id, config.storage, None)
    verdict = judge.fn(night, candidate, evaluate.fn(night, candidate, config), config)
    return Night(verdict, best_auc(market, home / "nights" / night.night_id / "candidate" / "evidence.parquet"))


def best_auc(market: SyntheticMarket, evidence: Path) -> float:
    """What nobody can beat on these rows but by luck."""
    from models.scores import direction_auc

    rows = pd.read_parquet(evidence).merge(market.best, on=["session", "symbol"])
    return direction_auc(rows["direction"], rows["alpha"])


def passes(nights: list[Night], names: tuple[str, ...] | None = None) -> str:
    """Nights in which these checks passed, or that were promoted, with the 95 % interval of the share."""
    passed = sum(
        night.verdict.verdict == "promote"
        if names is None
        else all(check.passed for check in night.verdict.checks if check.name in names)
        for night in nights
    )
    between = binomtest(passed, len(nights)).proportion_ci(0.95)
    return f"{passed} of {len(nights)} ({between.low:.0%} to {between.high:.0%})"


def failed(nights: list[Night]) -> str:
    """How often each check failed."""
    names = pd.Series([check.name for night in nights for check in night.verdict.failed], dtype=str).value_counts()
    return ", ".join(f"{name} {n}" for name, n in names.items()) or "none"


def main() -> None:
    """Print a row for each kind of market."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.markets", description=__doc__.partition("\n")[0])
    arguments.add_argument("--markets", type=int, default=30, help="of each kind")
    arguments.add_argument("--only", choices=EDGES, help="one kind, so that two processes share the work")
    asked = arguments.parse_args()
    n_markets, edges = asked.markets, {kind: EDGES[kind] for kind in ([asked.only] if asked.only else EDGES)}
    load_tensorflow()
    settings = MarketSettings(symbols=SYMBOLS, sessions=SESSIONS)
    print(
        f"{machine()}; {SYMBOLS} symbols × {SESSIONS} sessions; alpha AR(1) {settings.memory}, log volatility AR(1) "
        f"{settings.persistence}, market's volatility {settings.market_volatility} beside {settings.volatility} of a "
        f"symbol, t({settings.tail:g}) returns\n"
    )
    print("| market | edge | best AUC | AUC reached | direction checks passed | promoted | failed checks | s a night |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, edge in edges.items():
        began, nights = time.perf_counter(), []
        for seed in range(n_markets):
            with tempfile.TemporaryDirectory(prefix="market-") as directory:
                drawn = settings.model_copy(update={"edge": edge, "seed": 1000 + seed})
                nights.append(night_on(drawn, Path(directory, "home")))
            print(f"{kind} {seed}: {nights[-1].verdict.reason}", file=sys.stderr, flush=True)
        reached = np.array([night.verdict.metrics["direction_auc"] for night in nights], float)
        best = np.array([night.best_auc for night in nights])
        each = (time.perf_counter() - began) / n_markets
        print(
            f"| {kind} | {edge} | {best.mean():.4f} | {reached.mean():.4f} (sd {reached.std():.4f}) | "
            f"{passes(nights, DIRECTION)} | {passes(nights)} | {failed(nights)} | {each:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
