"""How often does drift alarm on real sessions, and which faults of a whole session does it tell?

Run: `python -m benchmarks.drift`. Every twelfth session of a real panel from 2009 on, as it was and with one fault each
in all or half of its bars. The baseline is the two-sample test of Kolmogorov and Smirnov at 1 % against the
same earlier sessions, corrected for the number of columns (Bonferroni).
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from benchmarks.measuring import machine
from benchmarks.preparation import canonical_bars
from models.config import RetrainConfig
from models.drift import SESSIONS, ColumnDrift, column_drift, feature_drift
from models.panel import BAR_COLUMNS, FloatArray, build_panel

EVERY: Final = 12
FAULTY_EVERY: Final = 96
FIRST: Final = "2009-05-01"
LEVEL: Final = 0.01
CONFIG: Final = RetrainConfig()


def hundredth(values: FloatArray) -> FloatArray:
    return values * [1, 1, 1, 1, 0.01]


def half_volume(values: FloatArray) -> FloatArray:
    return values * [1, 1, 1, 1, 0.5]


def rounded_volume(values: FloatArray) -> FloatArray:
    return np.column_stack([values[:, :4], (values[:, 4] / 1e6).round() * 1e6])


def pence_in_half(values: FloatArray) -> FloatArray:
    changed = values.copy()
    changed[::2, :4] *= 100
    return changed


def only_closes(values: FloatArray) -> FloatArray:
    return values[:, [3, 3, 3, 3, 4]]


def one_further_down(values: FloatArray) -> FloatArray:
    """Each symbol has the bar of its neighbour in the alphabet: a shifted column of symbols."""
    return np.roll(values, 1, axis=0)


FAULTS: Final[dict[str, Callable[[FloatArray], FloatArray]]] = {
    "volume in hundreds": hundredth,
    "volume of half a session": half_volume,
    "volume rounded to millions": rounded_volume,
    "half of the prices × 100": pence_in_half,
    "the close in all four prices": only_closes,
    "bars one symbol further down": one_further_down,
}


def measured(bars: pd.DataFrame) -> tuple[tuple[ColumnDrift, ...], tuple[ColumnDrift, ...]]:
    """Distances of the last session's columns and features."""
    return column_drift(bars), feature_drift(bars, build_panel(bars, CONFIG.data).market, CONFIG)


def tested(bars: pd.DataFrame) -> bool:
    """Whether the plain test alarms on a delivered column."""
    sessions = np.sort(bars["session"].unique())[-SESSIONS - 1 :]
    tonight, before = bars[bars["session"] == sessions[-1]], bars[bars["session"].isin(sessions[:-1])]
    smallest = min(ks_2samp(tonight[name], before[name], method="asymp").pvalue for name in BAR_COLUMNS)
    return bool(smallest < LEVEL / len(BAR_COLUMNS))


def alarms(night: tuple[tuple[ColumnDrift, ...], tuple[ColumnDrift, ...]]) -> tuple[bool, bool]:
    columns, features = (any(one.excess > 1 for one in kind) for kind in night)
    return columns, features


def nights(bars: pd.DataFrame, every: int) -> list[pd.DataFrame]:
    """What a night of every so many sessions reads for this."""
    days = np.sort(bars["session"].unique())
    length = SESSIONS + 1 + 2 * CONFIG.network.window
    last = range(int(np.searchsorted(days, np.datetime64(FIRST))), len(days), every)
    session = bars["session"]
    return [bars[session.between(days[i - length + 1], days[i])].reset_index(drop=True) for i in last]


def with_fault(bars: pd.DataFrame, fault: Callable[[FloatArray], FloatArray]) -> pd.DataFrame:
    """The same with a fault in its last session."""
    tonight = (bars["session"] == bars["session"].max()).to_numpy()
    changed = bars[list(BAR_COLUMNS)].to_numpy(np.float64).copy()
    changed[tonight] = fault(changed[tonight])
    return bars.assign(**dict(zip(BAR_COLUMNS, changed.T, strict=True)))


def main() -> None:
    """Print a row for the sessions as they were and one for each fault."""
    bars = canonical_bars()
    print(
        f"{machine()}; pooksoft_sp500_daily, every {EVERY}th session from {FIRST} on; faults: every {FAULTY_EVERY}th\n"
    )
    print("| sessions | nights | a column has drifted | a feature has drifted | plain test alarms on a column |")
    print("|---|---|---|---|---|")
    cases: list[tuple[str, Callable[[FloatArray], FloatArray] | None]] = [("as they were", None), *FAULTS.items()]
    for name, fault in cases:
        shown = nights(bars, EVERY if fault is None else FAULTY_EVERY)
        shown = shown if fault is None else [with_fault(night, fault) for night in shown]
        found = np.array([alarms(measured(night)) for night in shown])
        plain = np.mean([tested(night) for night in shown])
        columns, features = found.mean(axis=0)
        print(f"| {name} | {len(shown)} | {columns:.0%} | {features:.0%} | {plain:.0%} |", flush=True)


if __name__ == "__main__":
    main()
