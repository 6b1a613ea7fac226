"""The targets that the gate reads: finished, and the same when they are computed a second time."""

from typing import Final

import numpy as np
import pandas as pd

from models.dataset import Dataset
from models.leaks.causality import SAME, SESSIONS_AGAIN, largest_difference
from models.leaks.sample import Sample
from models.notation import count, significant
from models.panel import BAR_COLUMNS, Panel
from models.records import Check, at_most
from models.target_checks import second_computation_error
from models.targets import label_reach

_CLOSE_CALL: Final = 1e-9
"""A return over the horizon smaller than this is neither up nor down."""


def label_checks(dataset: Dataset, sample: Sample, evidence: pd.DataFrame) -> tuple[Check, ...]:
    """Of all rows whether their horizon is over, of some judged ones their targets.

    Args:
        dataset: The night's.
        sample: Of it.
        evidence: The out-of-sample frame.
    """
    judged = _judged(dataset, evidence)
    return (
        _finished_labels(dataset),
        _targets_again(dataset, judged[judged["symbol"].isin(sample.judged)]),
        _directions_again(dataset, judged),
    )


def _finished_labels(dataset: Dataset) -> Check:
    """Rows whose horizon runs past the end of their series and that have a target all the same."""
    panel, reach = dataset.panel, label_reach(dataset.config.targets)
    left = panel.offsets[panel.series + 1] - 1 - np.arange(len(panel.series))
    targets = np.column_stack([dataset.targets.volatility, dataset.targets.magnitude, dataset.targets.direction])
    padded = int(np.sum((left < reach) & ~np.isnan(targets).all(axis=1)))
    why = (
        f"{count(padded)} of the rows in the last {reach} sessions of {count(len(panel.symbols))} series have a "
        f"target, though their horizon is not over"
    )
    return at_most("finished_labels", "leak", padded, 0, why)


def _targets_again(dataset: Dataset, judged: pd.DataFrame) -> Check:
    """The target contract asks this of the training rows; here it is asked of what the gate reads."""
    found = judged[judged["row"].notna()]
    rows = found["row"].to_numpy(np.int64)
    plain = second_computation_error(dataset.panel, dataset.targets, rows, dataset.config.targets)
    told = [
        largest_difference(found[f"{head}_target"].to_numpy(float), getattr(dataset.targets, head)[rows])
        for head in plain
    ]
    worst = max(*plain.values(), *told) if len(found) == len(judged) else float("inf")
    why = (
        f"volatility and magnitude of {count(len(judged))} judged rows, computed bar by bar from their own series, "
        f"differ by {significant(worst, 2)} at most"
    )
    return at_most("targets_again", "leak", worst if len(judged) else float("nan"), SAME, why)


def _directions_again(dataset: Dataset, judged: pd.DataFrame) -> Check:
    """From prices that are looked up by series and session; what rounding alone decides is left out."""
    wrong = 0
    for day, rows in judged.groupby("session"):
        totals = _plain_totals(dataset, pd.Timestamp(str(day)))
        total = rows["symbol"].map(totals).to_numpy(float)
        told, close_call = rows["direction"].to_numpy(float), np.abs(total) < _CLOSE_CALL
        up = np.where(np.isnan(total), np.nan, (total > 0).astype(float))
        wrong += int(np.sum(~(close_call | (told == up) | (np.isnan(told) & np.isnan(up)))))
    days = ", ".join(f"{day:%Y-%m-%d}" for day in judged["session"].unique())
    why = f"{count(wrong)} of {count(len(judged))} judged directions differ from a second computation: sessions {days}"
    return at_most("directions_again", "leak", wrong if len(judged) else float("nan"), 0, why)


def _judged(dataset: Dataset, evidence: pd.DataFrame) -> pd.DataFrame:
    """Evidence of a few sessions, with the `row` of the panel that each is about; NaN where there is none."""
    days = np.unique(evidence["session"].to_numpy("datetime64[D]"))
    looked_at = (
        days[np.unique(np.linspace(0, max(len(days) - 1, 0), SESSIONS_AGAIN).astype(int))] if len(days) else days
    )
    panel = dataset.panel
    rows = np.flatnonzero(np.isin(panel.session, np.searchsorted(panel.sessions, looked_at)) & panel.present)
    at = pd.DataFrame(
        {"session": panel.session_of(rows).astype("datetime64[s]"), "symbol": panel.symbol_of(rows), "row": rows}
    )
    chosen = evidence[np.isin(evidence["session"].to_numpy("datetime64[D]"), looked_at)]
    keyed = at.astype({"session": chosen["session"].dtype, "symbol": chosen["symbol"].dtype})
    return chosen.merge(keyed, on=["session", "symbol"], how="left")


def _plain_totals(dataset: Dataset, day: pd.Timestamp) -> "pd.Series[float]":
    """Log return over the horizon by symbol, less the median where direction is relative; without gaps only."""
    panel, config = dataset.panel, dataset.config.targets
    position = int(np.searchsorted(panel.sessions, np.datetime64(day.date(), "D")))
    first = position + (config.entry != "close")
    prices = [_prices(panel, session, "close") for session in range(first, position + label_reach(config) + 1)]
    if config.entry == "next_open":
        prices.insert(0, _prices(panel, first, "open"))
    whole = pd.concat(prices, axis=1, join="inner")
    total = np.log(whole.to_numpy(float)[:, -1]) - np.log(whole.to_numpy(float)[:, 0])
    if panel.relative and config.direction == "relative":
        of_universe = np.isin(whole.index, panel.series[(panel.session == position) & panel.member])
        total = total - np.median(total[of_universe])
    return pd.Series(total, index=panel.symbols[whole.index.to_numpy(np.int64)])


def _prices(panel: Panel, session: int, name: str) -> "pd.Series[float]":
    """One price of a session, by series."""
    rows = np.flatnonzero((panel.session == session) & panel.present)
    return pd.Series(panel.bars[rows, BAR_COLUMNS.index(name)].astype(np.float64), index=panel.series[rows])
