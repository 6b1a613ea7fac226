"""First question: is the candidate healthy? Checks on its own out-of-sample predictions.

A bounded head lies in [0, scale] by construction, so that alone proves nothing: a head stuck at its bound, one that
predicts the same for all, or one that is off by a factor passes every range check. Those are what is looked for here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from models.bootstrap import Statistic, ratio
from models.config import FUNCTIONALS, BoundedHead, Functional, Head, HeadLosses
from models.gate.evidence import Evidence, RowLoss, Rows, absolute_errors
from models.gate.influence import pearson, standard_deviation, weighed
from models.notation import fixed, percent, significant
from models.records import Check, Finding, Scale, above, at_least, at_most, within
from models.scores import FloatArray, at_ends, correlation, saturation, spread_ratio

CALIBRATED: Final[Mapping[Functional, tuple[float, float]]] = {
    "root mean square": (0.8, 1.25),
    "mean": (0.85, 1.2),
    "median": (0.45, 0.55),
}
"""Range of the calibration, see FUNCTIONAL_ASKS, for what a head's loss promises."""

SPREAD: Final[Mapping[BoundedHead, tuple[float, float]]] = {"volatility": (0.3, 1.0), "magnitude": (0.1, 1.0)}
"""Range of sd(ŷ) / sd(y). A perfect forecast of the magnitude explains a quarter of its variance at best."""

MAX_HIGH: Final = 0.005
"""Largest share of predictions above 0.9 × scale."""
MAX_LOW: Final = 0.05
"""Largest share of predictions below 0.005 × scale."""
MIN_CORRELATION: Final = 0.3
"""Volatility clusters so strongly that less means rows and predictions do not belong together."""
MIN_DIRECTION_SPREAD: Final = 0.001
"""Smallest sd of P(up): an AUC of 0.505 comes with about 0.004."""
MAX_FROM_PRIOR: Final = 0.1
"""Largest distance of the mean P(up) from the training rows' share of ups, where direction is relative: twice the sd
with which an AUC of 0.56 comes."""
MAX_FROM_PRIOR_ABSOLUTE: Final = 0.25
"""The same where direction is the market's as well: a whole month may be forecast to fall."""
MAX_DISAGREEMENT: Final = 1e-5
"""Largest difference, relative to a head's scale, of one row's output alone, in a batch and with later bars there."""

FUNCTIONAL_ASKS: Final[Mapping[Functional, str]] = {
    "root mean square": "mean(y² / ŷ²)",
    "mean": "mean(ŷ) / mean(y)",
    "median": "the share of y > ŷ",
}

FORECASTS: Final[Mapping[Head, str]] = {"direction": "p_up", "volatility": "volatility", "magnitude": "magnitude"}
"""Column of each head's predictions in the out-of-sample frame."""


def health_checks(
    evidence: Evidence,
    *,
    heads: Sequence[Head],
    scales: Mapping[str, Scale],
    losses: HeadLosses,
    trained_until: date,
    agreement: float,
) -> tuple[Check, ...]:
    """All checks of the group `health`, in reading order.

    Args:
        evidence: The candidate's own out-of-sample rows; the recipe folds have scales and a past of their own.
        heads: What the candidate predicts.
        scales: Of each bounded head.
        losses: What each bounded head was fitted with, and so what it promises.
        trained_until: Last label end of anything that the candidate was fitted on.
        agreement: Largest difference, relative to scale, between one row's outputs alone, in a batch and with later
            bars present.
    """
    bounded = [
        check
        for head in ("volatility", "magnitude")
        if head in heads
        for check in _bounded_head(head, evidence, scales[head], FUNCTIONALS[getattr(losses, head)])
    ]
    return (
        _finite(evidence, heads),
        _out_of_sample(evidence, trained_until),
        _agreement(agreement),
        *_direction(evidence),
        *bounded,
    )


def contract_held(findings: Sequence[Finding]) -> Check:
    """Whether the contract of predictions holds for the candidate's own, as it must for what is served."""
    broken = [found for found in findings if not found.held]
    why = f"{len(findings)} rules of the predictions' contract hold" if findings and not broken else ""
    return Check(
        name="contract",
        group="health",
        value=float(len(broken)) if findings else None,
        bound=0.0,
        passed=bool(findings) and not broken,
        asks="at most",
        why=why or "; ".join(f"{found.rule}: {found.why}" for found in broken) or "the contract was not checked",
    )


def _finite(evidence: Evidence, heads: Sequence[Head]) -> Check:
    finite = np.mean([np.isfinite(evidence.column(FORECASTS[head])) for head in heads], axis=0)
    share = float(np.mean(finite))
    check = at_least("finite", "health", share, 1.0, f"{percent(share, 2)} of the predictions are finite numbers")
    return weighed(check, evidence, lambda rows: rows.mean(finite))


def _out_of_sample(evidence: Evidence, trained_until: date) -> Check:
    first = evidence.frame["session"].min()
    days = (first - pd.Timestamp(trained_until)).days
    why = f"judged from {first:%Y-%m-%d} on; the last label that training saw ended on {trained_until}"
    return above("out_of_sample", "health", days, 0, why)


def _agreement(difference: float) -> Check:
    why = f"alone, in a batch and with later bars present, one row's outputs differ by {significant(difference, 2)}"
    return at_most("agreement", "health", difference, MAX_DISAGREEMENT, f"{why} of their scale at most")


def _direction(evidence: Evidence) -> tuple[Check, ...]:
    p_up = evidence.column("p_up")
    inside = _inside(p_up, 1.0)
    share, spread = float(np.mean(inside)), float(np.std(p_up))
    mean, prior = float(np.mean(p_up)), float(np.mean(evidence.column("p_up_prior")))
    in_range = at_least("direction_in_range", "health", share, 1.0, f"{percent(share, 2)} of P(up) lie in [0, 1]")
    why = f"P(up) varies by {fixed(spread)} (sd) between rows; a constant ranks nothing"
    varied = at_least("direction_spread", "health", spread, MIN_DIRECTION_SPREAD, why)
    far = MAX_FROM_PRIOR if evidence.relative else MAX_FROM_PRIOR_ABSOLUTE
    why = f"P(up) is {fixed(mean, 3)} on average; of the training rows {fixed(prior, 3)} went up"
    near = at_most("direction_near_prior", "health", abs(mean - prior), far, why)
    return (
        weighed(in_range, evidence, lambda rows: rows.mean(inside)),
        weighed(varied, evidence, lambda rows: standard_deviation(rows, p_up)),
        near,
    )


def _bounded_head(head: BoundedHead, evidence: Evidence, scale: Scale, promised: Functional) -> tuple[Check, ...]:
    return (
        *_range(head, evidence, scale.scale),
        *_dispersion(head, evidence),
        _calibrated(head, evidence, promised),
        _beats_median(head, evidence, scale.median),
    )


def _range(head: BoundedHead, evidence: Evidence, scale: float) -> tuple[Check, ...]:
    forecast = evidence.column(head)
    inside, ends = _inside(forecast, scale), saturation(forecast, scale)
    share = float(np.mean(inside))
    checks = (
        at_least(
            f"{head}_in_range",
            "health",
            share,
            1.0,
            f"{percent(share, 2)} of the predictions lie in [0, {significant(scale)}]",
        ),
        at_most(
            f"{head}_not_stuck_high",
            "health",
            ends.high,
            MAX_HIGH,
            f"{percent(ends.high, 2)} of the predictions lie above 0.9 × scale",
        ),
        at_most(
            f"{head}_not_stuck_low",
            "health",
            ends.low,
            MAX_LOW,
            f"{percent(ends.low, 2)} of the predictions lie below 0.005 × scale",
        ),
    )
    counted = (inside, *at_ends(forecast, scale))
    return tuple(_weighed_share(check, evidence, share) for check, share in zip(checks, counted, strict=True))


def _weighed_share(check: Check, evidence: Evidence, counted: FloatArray) -> Check:
    return weighed(check, evidence, lambda rows: rows.mean(counted))


def _dispersion(head: BoundedHead, evidence: Evidence) -> tuple[Check, ...]:
    target, forecast = evidence.column(f"{head}_target"), evidence.column(head)
    spread = spread_ratio(target, forecast)
    why = f"predictions vary {fixed(spread, 2)} times as much as what came (ratio of sd)"
    varied = within(f"{head}_spread", "health", spread, SPREAD[head], why)
    varied = weighed(varied, evidence, lambda rows: _spread(rows, target, forecast))
    if head == "magnitude":
        return (varied,)
    together = correlation(target, forecast)
    why = f"predicted and realised volatility correlate by {fixed(together, 2)}"
    correlated = at_least("volatility_correlation", "health", together, MIN_CORRELATION, why)
    return varied, weighed(correlated, evidence, lambda rows: pearson(rows, target, forecast))


def _spread(rows: Rows, target: FloatArray, forecast: FloatArray) -> Statistic:
    """`scores.spread_ratio` as a statistic."""
    predicted = np.where(np.isnan(target), np.nan, forecast)
    return ratio(standard_deviation(rows, predicted), standard_deviation(rows, target))


def _calibrated(head: BoundedHead, evidence: Evidence, promised: Functional) -> Check:
    """Fails when the whole interval lies outside: on a few sessions the market's own luck moves the point."""
    interval = evidence.interval(_calibration(head, evidence, promised))
    low, high = CALIBRATED[promised]
    nearest = float(np.clip(interval.value, low, high))
    value = float(np.clip(nearest, interval.low, interval.high))
    why = (
        f"the head promises the {promised}; {FUNCTIONAL_ASKS[promised]} is {fixed(interval.value, 3)}, interval "
        f"{fixed(interval.low, 3)} to {fixed(interval.high, 3)}, and some of it must lie within {low} to {high}"
    )
    check = within(f"{head}_calibration", "health", value, (low, high), why)
    return weighed(check, evidence, lambda rows: _calibration(head, rows, promised))


def _calibration(head: BoundedHead, rows: Rows, promised: Functional) -> Statistic:
    """`scores.calibration` as a statistic that can be resampled."""
    mean: Callable[[RowLoss], Statistic] = partial(rows.mean_loss, target=f"{head}_target", forecast=head)
    if promised == "mean":
        return ratio(mean(lambda target, forecast: forecast), mean(lambda target, forecast: target))
    if promised == "median":
        return mean(lambda target, forecast: (target > forecast).astype(float))
    return mean(_squared_ratio)


def _squared_ratio(target: FloatArray, forecast: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        squared: FloatArray = (target / forecast) ** 2
    return squared


def _beats_median(head: BoundedHead, evidence: Evidence, median: float) -> Check:
    """By its interval, as calibration is: some weeks lie so near the training median that nothing beats it there."""
    relative = evidence.interval(_mae_to_median(head, evidence, median))
    why = (
        f"MAE is {fixed(relative.value, 3)} times that of saying the training median, {significant(median, 3)}, each "
        f"time; the interval begins at {fixed(relative.low, 3)}"
    )
    check = at_most(f"{head}_mae_to_median", "health", relative.low, 1.0, why)
    return weighed(check, evidence, lambda rows: _mae_to_median(head, rows, median))


def _mae_to_median(head: BoundedHead, rows: Rows, median: float) -> Statistic:
    own = rows.mean_loss(absolute_errors, f"{head}_target", head)
    constant = rows.mean_loss(lambda target, forecast: np.abs(target - median), f"{head}_target", head)
    return ratio(own, constant)


def _inside(values: FloatArray, scale: float) -> FloatArray:
    """(n,) 1 where a prediction lies in [0, scale], else 0."""
    inside: FloatArray = ((values >= 0.0) & (values <= scale)).astype(float)
    return inside
