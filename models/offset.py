"""What a straight line on log volatilities already knows; the bounded heads start from it.

A ridge of the log target volatility on the log volatilities of the filter bank is as good as most networks, and it is
there in a tenth of a second (a heterogeneous autoregression in logs, Corsi 2009, with more horizons). The network then
learns only what the line does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.config import FUNCTIONALS, BoundedHead, HeadLosses
from models.features import VARIANCES, summary_names
from models.panel import Float32Array, FloatArray, IntArray
from models.targets import Targets

_RIDGE: Final = 1e-3
"""Penalty per row on standardised columns: enough for neighbouring spans, which are nearly collinear."""
_FLOOR: Final = 1e-4
"""A realised volatility below one basis point counts as this; its logarithm would be an outlier, or not exist."""


@dataclass(frozen=True)
class Offset:
    """log forecast of each head = summaries · slopes + intercept of the head."""

    slopes: FloatArray
    """(n_summaries,) zero for all that is no log volatility."""
    intercepts: Mapping[BoundedHead, float]


def fit_offset(
    summaries: Float32Array, targets: Targets, rows: IntArray, spans: tuple[int, ...], losses: HeadLosses
) -> Offset:
    """Fit the line on training rows and calibrate it for what each head's loss teaches it to predict.

    Args:
        summaries: (M, n) of all rows.
        targets: Of all rows.
        rows: Training rows, all with targets.
        spans: Of the filter bank.
        losses: Decide the functional of each head.
    """
    names = summary_names(spans)
    chosen = np.array([name.rsplit("_", 1)[0] in VARIANCES for name in names])
    x = summaries[rows][:, chosen].astype(np.float64)
    y = np.log(np.maximum(targets.volatility[rows], _FLOOR))
    mean, sd = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = (x - mean) / sd
    gram = z.T @ z / len(z) + _RIDGE * np.eye(z.shape[1])
    slopes = np.linalg.solve(gram, z.T @ (y - y.mean()) / len(z)) / sd
    line = x @ slopes
    heads: tuple[BoundedHead, ...] = ("volatility", "magnitude")
    intercepts = {
        head: _level(getattr(targets, head)[rows], line, FUNCTIONALS[getattr(losses, head)]) for head in heads
    }
    everywhere = np.zeros(len(names))
    everywhere[chosen] = slopes
    return Offset(everywhere, intercepts)


def _level(target: FloatArray, line: FloatArray, functional: str) -> float:
    """Intercept at which exp(line + intercept) keeps the promise of the functional over these rows."""
    ratio = target * np.exp(-line)
    if functional == "root mean square":
        return float(0.5 * np.log(np.mean(ratio**2)))
    if functional == "median":
        return float(np.log(np.median(ratio)))
    return float(np.log(target.mean() / np.exp(line).mean()))
