"""What straight lines already know; the heads start from them, and the network learns only what they do not.

Volatility and magnitude start from a ridge of the log target volatility on the filter bank's log volatilities, which
is as good as most networks (a heterogeneous autoregression in logs, Corsi 2009, with more horizons). Direction starts
from a ridge of up or down on all summaries: where so little can be known, a network that has to find the line as well
loses a good part of it to noise. Both are there in a second.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.config import FUNCTIONALS, BoundedHead, HeadLosses
from models.features import VARIANCES, summary_names
from models.panel import Float32Array, FloatArray, IntArray
from models.targets import Targets

CLIP: Final = 8.0
"""Standardised summaries beyond this many standard deviations say no more than that."""
_RIDGE: Final = 1e-3
"""Penalty per row on standardised columns: enough for neighbouring spans, which are nearly collinear."""
DIRECTION_RIDGES: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Penalties for direction, from nearly none to nearly no line; the validation sessions choose."""
_FLOOR: Final = 1e-4
"""A realised volatility below one basis point counts as this; its logarithm would be an outlier, or not exist."""
_BLOCK: Final = 8192
"""Rows in float64 at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Standardisation:
    """Mean and standard deviation of each summary over the training rows."""

    mean: FloatArray
    sd: FloatArray
    """(n,) positive; 1 for a summary that never moves."""

    @classmethod
    def of(cls, summaries: Float32Array, rows: IntArray) -> "Standardisation":
        """Measured in float64, without a copy of all rows."""
        total = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(summaries, rows))
        mean = total / len(rows)
        square = sum(np.square(block - mean).sum(axis=0) for block in _blocks(summaries, rows))
        sd = np.sqrt(square / len(rows))
        return cls(mean, np.where(sd > 1e-9, sd, 1.0))

    def blocks(self, summaries: Float32Array, rows: IntArray) -> Iterator[FloatArray]:
        """The rows as the network sees them, a block at a time."""
        for block in _blocks(summaries, rows):
            yield np.clip((block - self.mean) / self.sd, -CLIP, CLIP)


@dataclass(frozen=True)
class Offset:
    """log forecast of each bounded head = summaries · slopes + intercept of the head."""

    slopes: FloatArray
    """(n_summaries,) zero for all that is no log volatility."""
    intercepts: Mapping[BoundedHead, float]


@dataclass(frozen=True)
class DirectionLine:
    """log odds of up = standardised summaries · slopes."""

    slopes: FloatArray
    penalty: float
    """The one of the ridges that the validation sessions chose."""


def fit_offset(
    summaries: Float32Array,
    targets: Targets,
    rows: IntArray,
    scaling: Standardisation,
    spans: tuple[int, ...],
    losses: HeadLosses,
) -> Offset:
    """Fit the line on training rows and calibrate it for what each head's loss teaches it to predict.

    Args:
        summaries: (M, n) of all rows.
        targets: Of all rows.
        rows: Training rows, all with targets.
        scaling: Of the training rows.
        spans: Of the filter bank.
        losses: Decide the functional of each head.
    """
    names = summary_names(spans)
    chosen = np.array([name.rsplit("_", 1)[0] in VARIANCES for name in names])
    y = np.log(np.maximum(targets.volatility[rows], _FLOOR))
    mean, sd = scaling.mean[chosen], scaling.sd[chosen]
    standardised = ((block[:, chosen] - mean) / sd for block in _blocks(summaries, rows))
    gram, cross = _normal_equations(standardised, y - y.mean())
    slopes = np.zeros(len(names))
    slopes[chosen] = _ridge(gram, cross, _RIDGE) / sd
    line = np.concatenate([block @ slopes for block in _blocks(summaries, rows)])
    heads: tuple[BoundedHead, ...] = ("volatility", "magnitude")
    intercepts = {
        head: _level(getattr(targets, head)[rows], line, FUNCTIONALS[getattr(losses, head)]) for head in heads
    }
    return Offset(slopes, intercepts)


def fit_direction_line(
    summaries: Float32Array,
    direction: FloatArray,
    train: IntArray,
    validation: IntArray,
    scaling: Standardisation,
    penalties: Sequence[float] = DIRECTION_RIDGES,
) -> DirectionLine:
    """Fit a line for the direction on training rows, as strongly held back as suits the validation rows.

    A linear model of the probability, times four: for odds this close to even it is the logistic one.

    Args:
        summaries: (M, n) of all rows.
        direction: (M,) 1 up, 0 down, NaN none.
        train: Training rows.
        validation: Rows that choose the penalty; not looked at where there is but one.
        scaling: Of the training rows.
        penalties: To choose from.
    """
    train, validation = (rows[~np.isnan(direction[rows])] for rows in (train, validation))
    gram, cross = _normal_equations(scaling.blocks(summaries, train), direction[train] - 0.5)
    lines = [DirectionLine(4 * _ridge(gram, cross, penalty), penalty) for penalty in penalties]
    if len(lines) == 1:
        return lines[0]
    seen = np.concatenate(list(scaling.blocks(summaries, validation)))
    return min(lines, key=lambda line: _cross_entropy(direction[validation], seen @ line.slopes))


def _blocks(summaries: Float32Array, rows: IntArray) -> Iterator[FloatArray]:
    for start in range(0, len(rows), _BLOCK):
        yield summaries[rows[start : start + _BLOCK]].astype(np.float64)


def _normal_equations(blocks: Iterator[FloatArray], y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of z zᵀ and of z y over the rows."""
    parts, start = [], 0
    for z in blocks:
        parts.append((z.T @ z, z.T @ y[start : start + len(z)]))
        start += len(z)
    grams, crosses = zip(*parts, strict=True)
    return np.sum(grams, axis=0) / start, np.sum(crosses, axis=0) / start


def _ridge(gram: FloatArray, cross: FloatArray, penalty: float) -> FloatArray:
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(gram)), cross), np.float64)


def _cross_entropy(up: FloatArray, log_odds: FloatArray) -> float:
    return float((np.logaddexp(0.0, log_odds) - up * log_odds).mean())


def _level(target: FloatArray, line: FloatArray, functional: str) -> float:
    """Intercept at which exp(line + intercept) keeps the promise of the functional over these rows."""
    ratio = target * np.exp(-line)
    if functional == "root mean square":
        return float(0.5 * np.log(np.mean(ratio**2)))
    if functional == "median":
        return float(np.log(np.median(ratio)))
    return float(np.log(target.mean() / np.exp(line).mean()))
