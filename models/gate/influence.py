"""What weighs most in a check that failed: the sessions and the symbols without which it would be nearer to its bound.

A session or a symbol weighs as much as the statistic changes when its rows are left out (the jackknife's influence).
Where a check reads an end of an interval, the end is moved as far as the estimate: a bootstrap without each of them
would cost a thousand times as much, and one session or symbol of many hardly changes how wide an interval is.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from models.bootstrap import Statistic, influence
from models.gate.evidence import Evidence, Rows
from models.records import Check, Influence, Weighs
from models.scores import FloatArray

Measure = Callable[[Rows], Statistic]
"""The statistic that a check rests on, over whatever groups the rows fall into."""

HEAVIEST: Final = 5
"""Sessions, and symbols, that are named."""

ROUNDING: Final = 1e-9
"""A smaller part of what is missing is arithmetic and no influence."""


def weighed(check: Check, rows: Evidence, measure: Measure) -> Check:
    """The check as it is if it passed; else with what weighs most in it.

    Args:
        check: Made from `rows` and `measure`.
        rows: The evidence that it looked at.
        measure: The statistic whose value, or interval's end, is the value of the check.
    """
    change = check.change
    if change is None:
        return check
    by_session, by_symbol = rows.session_names, rows.by_symbol
    weighs = Weighs(
        sessions=_heaviest(check, change, by_session, influence(measure(rows), len(by_session))),
        symbols=_heaviest(check, change, by_symbol.names, influence(measure(by_symbol), len(by_symbol.names))),
    )
    return check.model_copy(update={"weighs": weighs})


def _heaviest(check: Check, change: float, names: Sequence[str], owed: FloatArray) -> tuple[Influence, ...]:
    """Those without which the value would move furthest the way that it would have to go."""
    without = float(check.value or 0.0) - owed
    gained = np.where(np.isfinite(owed), -np.copysign(1.0, change) * owed, 0.0)
    heaviest = np.argsort(-gained, kind="stable")[:HEAVIEST]
    return tuple(
        Influence(name=names[one], value_without=float(without[one]))
        for one in heaviest
        if gained[one] > ROUNDING * abs(change)
    )


def standard_deviation(rows: Rows, values: FloatArray) -> Statistic:
    """Standard deviation of (n,) numbers; rows of NaN are left out."""
    centred = values - np.nanmean(values) if np.isfinite(values).any() else values
    mean, square = rows.mean(centred), rows.mean(centred**2)

    def deviation(weights: FloatArray) -> FloatArray:
        spread: FloatArray = np.sqrt(np.maximum(square(weights) - mean(weights) ** 2, 0.0))
        return spread

    return deviation


def pearson(rows: Rows, first: FloatArray, second: FloatArray) -> Statistic:
    """Pearson's correlation of (n,) and (n,) numbers; rows of NaN in either are left out."""
    both = np.isfinite(first) & np.isfinite(second)
    ours, theirs = (np.where(both, values - np.mean(values[both]), np.nan) for values in (first, second))
    product, mean_ours, mean_theirs = rows.mean(ours * theirs), rows.mean(ours), rows.mean(theirs)
    sd_ours, sd_theirs = standard_deviation(rows, ours), standard_deviation(rows, theirs)

    def together(weights: FloatArray) -> FloatArray:
        covariance = product(weights) - mean_ours(weights) * mean_theirs(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlated: FloatArray = covariance / (sd_ours(weights) * sd_theirs(weights))
        return correlated

    return together
