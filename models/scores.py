"""How good a forecast is: one definition of each score, for the gate, the report and the benchmarks alike.

Rows without a target (NaN) are left out of every score. A forecast that is NaN is never left out: it makes the score
NaN, and NaN passes no check.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ZERO_VOLATILITY = 1e-4
"""QLIKE takes a smaller target for this one (one basis point a day): the logarithm of a stuck price's zero is
infinite. The floor is absolute, so such a row still costs more the higher it was forecast. Forecasts are not floored:
one of zero scores infinity."""


class Saturation(NamedTuple):
    """Shares of a bounded head's predictions, each in [0, 1], that sit at an end of its range."""

    high: float
    """Above 0.9 × scale."""
    low: float
    """Below 0.005 × scale."""


def direction_auc(
    direction: npt.ArrayLike, p_up: npt.ArrayLike, session: npt.NDArray[np.generic] | None = None
) -> float:
    """Area under the ROC curve of P(up), in [0, 1]; 0.5 is no skill.

    Args:
        direction: (n,) 1 up, 0 down, NaN none.
        p_up: (n,) predicted probabilities; any score of the same order gives the same area.
        session: (n,) each row's session, for the absolute target: the mean of the sessions' areas, which a forecast of
            the market's own moves cannot raise. None, for the relative target: all rows pooled.

    Returns:
        NaN when a prediction is NaN or a class is missing.
    """
    label, score = _with_target(direction, p_up)
    if np.isnan(score).any() or len(np.unique(label)) < 2:
        return float("nan")
    if session is not None:
        return float(session_aucs(label, score, session[~np.isnan(np.asarray(direction, float))]).mean())
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(label, score))


def session_aucs(label: FloatArray, score: FloatArray, session: npt.NDArray[np.generic]) -> "pd.Series[float]":
    """AUC of each session that has both classes, indexed by session (Mann-Whitney, ties count one half).

    Args:
        label: (n,) 1 up, 0 down; no NaN.
        score: (n,) predicted probabilities or any score of the same order; no NaN.
        session: (n,) each row's session.
    """
    frame = pd.DataFrame({"session": session, "up": label == 1.0, "score": score})
    frame["rank"] = frame.groupby("session")["score"].rank()
    frame["rank_up"] = frame["rank"].where(frame["up"], 0.0)
    sums = frame.groupby("session").agg(up=("up", "sum"), rows=("up", "size"), rank_up=("rank_up", "sum"))
    down = sums["rows"] - sums["up"]
    areas: pd.Series[float] = (sums["rank_up"] - sums["up"] * (sums["up"] + 1) / 2) / (sums["up"] * down)
    return areas[(sums["up"] > 0) & (down > 0)]


def pairs_won(label: FloatArray, score: FloatArray, pool: npt.NDArray[np.generic]) -> FloatArray:
    """(n,) how many rows of the other class in its pool each row is in the right order with; ties count one half.

    Args:
        label: (n,) 1 up, 0 down; no NaN.
        score: (n,) any score of the same order as P(up); no NaN.
        pool: (n,) rows are compared with those of the same pool.
    """
    frame = pd.DataFrame({"pool": pool, "up": label == 1.0, "score": score})
    in_pool, in_class = frame.groupby("pool")["score"], frame.groupby(["pool", "up"])["score"]
    below = (in_pool.rank() - in_class.rank()).to_numpy(float)
    others = (in_pool.transform("size") - in_class.transform("size")).to_numpy(float)
    won: FloatArray = np.where(frame["up"], below, others - below)
    return won


def brier(direction: npt.ArrayLike, p_up: npt.ArrayLike) -> float:
    """Mean squared error of P(up), in [0, 1]; 0.25 is what a constant one half scores."""
    label, score = _with_target(direction, p_up)
    return _mean((score - label) ** 2)


def qlike_losses(target: npt.ArrayLike, forecast: npt.ArrayLike) -> FloatArray:
    """QLIKE of each row, y²/ŷ² − log(y²/ŷ²) − 1 ≥ 0 (Patton 2011); NaN where there is no target.

    Consistent for the root mean square: among constants it is smallest at sqrt(mean(y²)). It compares ratios, so a
    quiet and a wild symbol weigh the same. Targets below `ZERO_VOLATILITY` are taken as that.

    Args:
        target: (n,) realised volatility, daily, ≥ 0.
        forecast: (n,) predicted volatility, daily; 0 gives infinity.
    """
    floored = np.maximum(np.asarray(target, float), ZERO_VOLATILITY)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (floored / np.asarray(forecast, float)) ** 2
        losses: FloatArray = np.where(np.isinf(ratio), np.inf, ratio - np.log(ratio) - 1.0)
    return losses


def qlike(target: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Mean QLIKE over the rows with a target."""
    return _mean(qlike_losses(*_with_target(target, forecast)))


def mae(target: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Mean absolute error, in the target's unit."""
    realised, predicted = _with_target(target, forecast)
    return _mean(np.abs(predicted - realised))


def spread_ratio(target: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """sd(ŷ) / sd(y): 0 for a constant, at most about 1 for an honest forecast."""
    realised, predicted = _with_target(target, forecast)
    if not len(realised) or not np.ptp(realised) > 0:
        return float("nan")
    with np.errstate(invalid="ignore"):
        return float(np.std(predicted) / np.std(realised))


def correlation(target: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Pearson's correlation, in [−1, 1]; NaN for a constant."""
    realised, predicted = _with_target(target, forecast)
    if len(realised) < 2 or not (np.ptp(realised) > 0 and np.ptp(predicted) > 0):
        return float("nan")
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(realised, predicted)[0, 1])


def saturation(forecast: npt.ArrayLike, scale: float) -> Saturation:
    """Shares of the predictions near the ends of [0, scale]."""
    predicted = np.asarray(forecast, float)
    if not len(predicted) or np.isnan(predicted).any():
        return Saturation(float("nan"), float("nan"))
    high, low = at_ends(predicted, scale)
    return Saturation(high=float(np.mean(high)), low=float(np.mean(low)))


def at_ends(forecast: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    """(n,) and (n,): 1 where a prediction lies above 0.9 × scale, and where below 0.005 × scale, else 0."""
    share = forecast / scale
    return (share > 0.9).astype(float), (share < 0.005).astype(float)


def _with_target(target: npt.ArrayLike, forecast: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    realised, predicted = np.asarray(target, float), np.asarray(forecast, float)
    known = ~np.isnan(realised)
    return realised[known], predicted[known]


def _mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
