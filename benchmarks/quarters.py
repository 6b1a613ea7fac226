"""What the gate says of real stocks: a night at the end of each quarter of 2010 to 2013, one after the other.

Every night sees what was known then and meets the champion that the nights before it left. Its AUC is computed a second
time by scikit-learn from the frame that the night stored, and its interval a second time by drawing blocks of sessions
with other random numbers.

Run: `python -m benchmarks.quarters`, with `--symbols 120` for every fourth symbol or so.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.measuring import gold_panel, machine
from benchmarks.night import nocturne
from models.bootstrap import block_length
from models.calendar import Calendar
from models.config import DataConfig
from models.notation import fixed
from tests.real_prefect import server

YEARS: Final = range(2010, 2014)
REPLICATES: Final = 200
CONFIDENCE: Final = 0.90
COLUMNS: Final = (
    "night",
    "verdict",
    "AUC (90 %)",
    "the same, computed again",
    "AUC over volatility alone",
    "QLIKE / log-HAR",
    "failed",
    "took",
)
SETTINGS: Final = ("--set", "gate.first_champion=healthy")


class Again(NamedTuple):
    """AUC and the ends of its interval, computed apart from the gate."""

    auc: float
    low: float
    high: float


def nights(n_symbols: int | None, sessions: Sequence[date] | None = None) -> Iterator[dict[str, Any]]:
    """The result of each night, the quarters' last ones when none are named, with `again` beside it."""
    with tempfile.TemporaryDirectory(prefix="quarters-") as directory:
        home = Path(directory, "home")
        files = [thinned(file, Path(directory), n_symbols) for file in gold_panel()]
        nocturne(home, "ingest", *map(str, files))
        with server(Path(directory, "prefect")) as running:
            for session in sessions or quarter_ends():
                arguments = ("retrain", "--session", str(session), *SETTINGS)
                result = nocturne(home, *arguments, PREFECT_API_URL=f"{running.url}/api")
                evidence = home / "nights" / result["night_id"] / "candidate" / "evidence.parquet"
                yield {**result, "again": second_computation(pd.read_parquet(evidence))}


def thinned(file: Path, directory: Path, n_symbols: int | None) -> Path:
    """The file itself, or a copy with so many of its symbols, evenly spread over the alphabet."""
    if n_symbols is None:
        return file
    bars = pd.read_parquet(file)
    names = np.sort(bars["symbol"].unique())
    kept = names[np.linspace(0, len(names) - 1, n_symbols).astype(int)]
    bars[bars["symbol"].isin(kept)].to_parquet(directory / file.name)
    return directory / file.name


def quarter_ends() -> list[date]:
    """The last session of each quarter."""
    calendar = Calendar.of(DataConfig())
    ends = pd.date_range(f"{YEARS.start}-01-01", f"{YEARS.stop - 1}-12-31", freq="QE")
    return [calendar.session_at_or_before(end.date()) for end in ends]


def second_computation(frame: pd.DataFrame) -> Again:
    """By scikit-learn, row by row, with a weight for each row's session."""
    known = frame.dropna(subset="direction").sort_values("session")
    session = np.unique(known["session"], return_inverse=True)[1]
    label, score = known["direction"].to_numpy(), known["p_up"].to_numpy()
    random, n = np.random.default_rng(2024), session[-1] + 1
    block = block_length(5)
    areas = []
    for _ in range(REPLICATES):
        starts = random.integers(n, size=-(-n // block))
        drawn = ((starts[:, None] + np.arange(block)) % n).ravel()[:n]
        weights = np.bincount(drawn, minlength=n)[session]
        areas.append(roc_auc_score(label, score, sample_weight=weights))
    low, high = np.quantile(areas, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Again(float(roc_auc_score(label, score)), float(low), float(high))


def row(night: dict[str, Any]) -> str:
    """One line of the table."""
    metrics, again = night["metrics"], night["again"]
    relative = metrics["volatility_qlike"] / metrics["volatility_qlike_har"]
    failed = [check["name"] for check in night["checks"] if not check["passed"]]
    cells = (
        night["session"],
        night["verdict"],
        f"{fixed(metrics['direction_auc'])} ({fixed(metrics['direction_auc_low'])} to "
        f"{fixed(metrics['direction_auc_high'])})",
        f"{fixed(again.auc)} ({fixed(again.low)} to {fixed(again.high)})",
        f"{fixed(metrics['direction_excess'])} (from {fixed(metrics['direction_excess_low'])})",
        fixed(relative, 3),
        ", ".join(failed) or "none",
        f"{night['timings']['total']:.0f} s, of it folds {night['timings'].get('folds', 0):.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table as it grows."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.quarters", description=__doc__.partition("\n")[0])
    arguments.add_argument("--symbols", type=int, help="only so many of the panel's symbols")
    n_symbols = arguments.parse_args().symbols
    print(f"{machine()}; pooksoft_sp500_daily, {n_symbols or 'all'} symbols\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for night in nights(n_symbols):
        print(row(night), flush=True)


if __name__ == "__main__":
    main()
