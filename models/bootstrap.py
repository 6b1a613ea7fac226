"""Intervals from a circular bootstrap over blocks of sessions.

Rows of one session share the market's move, and rows of neighbouring sessions share part of their target, so neither
may be drawn alone: an interval that takes them for independent covers 48 % instead of 95 %. Whole sessions are drawn,
in blocks of consecutive ones, with all their symbols (Politis and Romano 1992).

A replicate is therefore nothing but a row of integer weights, how often each session was drawn, and a statistic is a
function from weights (n_replicates, n_sessions) to values (n_replicates,). Its value on weights of one is the estimate
itself; two statistics on the same weights are paired. Everything that depends on rows is summed by session once, so
that a replicate costs a dot product, whatever the number of symbols.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from models.scores import FloatArray, IntArray, session_aucs

Statistic = Callable[[FloatArray], FloatArray]
"""(n_replicates, n_sessions) weights → (n_replicates,) values."""

MIN_BLOCKS = 2
"""With fewer whole blocks every replicate is nearly the sample itself: there is no interval."""


class Interval(NamedTuple):
    """An estimate and the ends of its two-sided interval."""

    value: float
    low: float
    high: float


def block_length(horizon_sessions: int) -> int:
    """Sessions in a block: twice as long as targets overlap, at least ten."""
    return max(10, 2 * horizon_sessions)


@dataclass(frozen=True)
class Resamples:
    """Weights of the sessions in each replicate, drawn once and used for all statistics that shall be paired."""

    weights: FloatArray
    """(n_replicates, n_sessions) how often each session was drawn; rows sum to n_sessions."""
    block: int
    """Sessions in a block."""

    @classmethod
    def draw(cls, n_sessions: int, *, block: int, n_replicates: int, seed: int = 0) -> "Resamples":
        """Draw blocks that wrap around the end, so that every session is as likely as any other."""
        random = np.random.default_rng(seed)
        starts = random.integers(n_sessions, size=(n_replicates, -(-n_sessions // block), 1))
        drawn = (starts + np.arange(block)) % n_sessions
        flat = drawn.reshape(n_replicates, -1)[:, :n_sessions] + n_sessions * np.arange(n_replicates)[:, None]
        counts = np.bincount(flat.ravel(), minlength=n_replicates * n_sessions)
        return cls(counts.reshape(n_replicates, n_sessions).astype(float), block)

    def interval(self, statistic: Statistic, confidence: float) -> Interval:
        """Expanded percentile interval (Hesterberg 2015); NaN ends below two whole blocks.

        Replicates vary around the sample and not around the truth, which makes them too narrow by sqrt((b − 1) / b)
        for b blocks, as a variance divided by n instead of n − 1. Further percentiles make up for it, so the interval
        never leaves the statistic's range and rises whenever all replicates rise.
        """
        n_sessions = self.weights.shape[1]
        value = float(statistic(np.ones((1, n_sessions)))[0])
        blocks = n_sessions / self.block
        if blocks < MIN_BLOCKS:
            return Interval(value, math.nan, math.nan)
        tail = float(ndtr(ndtri((1.0 - confidence) / 2.0) * math.sqrt(blocks / (blocks - 1.0))))
        low, high = np.quantile(statistic(self.weights), [tail, 1.0 - tail])
        return Interval(value, float(low), float(high))


def mean_over_rows(values: FloatArray, session: IntArray, n_sessions: int) -> Statistic:
    """Mean of a number per row; a single NaN makes it NaN throughout.

    Args:
        values: (n,) the losses of the rows that have a target.
        session: (n,) number of each row's session, in [0, n_sessions).
        n_sessions: Columns of the weights.
    """
    sums = np.bincount(session, weights=values, minlength=n_sessions)
    counts = np.bincount(session, minlength=n_sessions).astype(float)

    def mean(weights: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore"):
            means: FloatArray = (weights @ sums) / (weights @ counts)
        return means

    return mean


def pooled_auc(label: FloatArray, score: FloatArray, session: IntArray, n_sessions: int) -> Statistic:
    """AUC over all rows together; NaN throughout when a score is NaN or a class is missing.

    The pairs (up row, down row) that are in the right order are counted once for each pair of sessions. With weights w
    the area is then wᵀ wins w / (w·ups)(w·downs), exactly.

    Args:
        label: (n,) 1 up, 0 down, NaN none.
        score: (n,) P(up) or any score of the same order.
        session: (n,) number of each row's session, in [0, n_sessions).
        n_sessions: Columns of the weights.
    """
    known = ~np.isnan(label)
    score, up, session = score[known], label[known] == 1.0, session[known]
    if np.isnan(score).any():
        return _undefined
    ups = np.bincount(session[up], minlength=n_sessions).astype(float)
    downs = np.bincount(session[~up], minlength=n_sessions).astype(float)
    wins = _wins(score, up, session, n_sessions)

    def area(weights: FloatArray) -> FloatArray:
        won = np.einsum("rt,rt->r", weights @ wins, weights)
        with np.errstate(invalid="ignore"):
            areas: FloatArray = won / ((weights @ ups) * (weights @ downs))
        return areas

    return area


def mean_session_auc(label: FloatArray, score: FloatArray, session: IntArray, n_sessions: int) -> Statistic:
    """Mean of the sessions' own AUCs; sessions with a single class are left out. Arguments as of `pooled_auc`."""
    known = ~np.isnan(label)
    if np.isnan(score[known]).any():
        return _undefined
    areas = session_aucs(label[known], score[known], session[known])
    return mean_over_rows(np.asarray(areas, dtype=np.float64), areas.index.to_numpy(np.int64), n_sessions)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """First minus second on the same replicates."""
    return lambda weights: first(weights) - second(weights)


def ratio(first: Statistic, second: Statistic) -> Statistic:
    """First over second on the same replicates."""

    def over(weights: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return first(weights) / second(weights)

    return over


def _wins(score: FloatArray, up: np.typing.NDArray[np.bool_], session: IntArray, n_sessions: int) -> FloatArray:
    """(n_sessions, n_sessions): up rows of the one above down rows of the other; ties count one half."""
    levels, level = np.unique(score, return_inverse=True)
    wins = np.zeros((n_sessions, n_sessions))
    down_levels, down_session = level[~up], session[~up]
    by_session = np.argsort(down_session, kind="stable")
    edges = np.searchsorted(down_session[by_session], np.arange(n_sessions + 1))
    for other in range(n_sessions):
        rows = by_session[edges[other] : edges[other + 1]]
        here = np.bincount(down_levels[rows], minlength=len(levels))
        below = np.cumsum(here) - 0.5 * here
        wins[:, other] = np.bincount(session[up], weights=below[level[up]], minlength=n_sessions)
    return wins


def _undefined(weights: FloatArray) -> FloatArray:
    return np.full(len(weights), np.nan)
