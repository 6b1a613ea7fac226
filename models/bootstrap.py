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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit

from models.scores import FloatArray, IntArray, pairs_won, session_aucs

Statistic = Callable[[FloatArray], FloatArray]
"""(n_replicates, n_sessions) weights → (n_replicates,) values."""

MIN_BLOCKS: Final = 2
"""With fewer whole blocks every replicate is nearly the sample itself: there is no interval."""

MIN_BLOCK: Final = 10
"""Sessions of the shortest block."""

BLOCKS_KEPT: Final = 10
"""Blocks that the data may not go below by asking for longer ones: a spread estimated from fewer is itself unsure."""


class Interval(NamedTuple):
    """An estimate and the ends of its two-sided interval."""

    value: float
    low: float
    high: float


def block_length(reach: int, series: Iterable[FloatArray] = ()) -> int:
    """Sessions in a block: as many as the series ask, at least ten and twice as many as targets overlap.

    Args:
        reach: Sessions that one label looks ahead.
        series: Each (n_sessions,) in order of time, what the sessions contribute to a statistic (`influence`). The
            slowest decides, as long as ten blocks remain.
    """
    shortest = max(MIN_BLOCK, 2 * reach)
    asked = (min(math.ceil(optimal_block(one)), len(one) // BLOCKS_KEPT) for one in series)
    return max([shortest, *asked])


def optimal_block(series: FloatArray) -> float:
    """Block length that makes the circular bootstrap's variance of a mean most accurate (Politis and White 2004).

    With the correction of Patton, Politis and White (2009). Autocovariances count up to twice the first lag from
    which a few autocorrelations in a row are within noise; beyond that lag they are tapered to zero.

    Args:
        series: (n,) in order of time.

    Returns:
        Between 0 and min(3 sqrt(n), n / 3), rounded up; 0 for a series that is constant, too short or not finite, which
        asks for nothing.
    """
    n = len(series)
    quiet = max(5, int(math.log10(max(n, 1))))
    longest_lag = math.ceil(math.sqrt(n)) + quiet
    if n <= longest_lag + 1 or not np.isfinite(series).all() or not np.ptp(series) > 0:
        return 0.0
    centred = series - series.mean()
    lags = np.arange(longest_lag + 1)
    products = np.array([centred[lag:] @ centred[: n - lag] for lag in lags])
    bandwidth = min(2 * _first_quiet_lag(centred, products, quiet), longest_lag)
    taper = np.clip(2.0 * (1.0 - lags / bandwidth), 0.0, 1.0)
    slope = 2.0 * (taper * lags) @ products
    long_run = 2.0 * taper @ products - products[0]
    longest = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    return float(min((1.5 * n * (slope / long_run) ** 2) ** (1.0 / 3.0), longest))


def _first_quiet_lag(centred: FloatArray, products: FloatArray, quiet: int) -> int:
    """The lag that opens the first `quiet` autocorrelations in a row within noise; the last lag where there is none."""
    n, longest_lag = len(centred), len(products) - 1
    ahead = np.cumsum(centred[::-1] ** 2)[::-1][1 : longest_lag + 1]
    behind = np.cumsum(centred**2)[::-1][1 : longest_lag + 1]
    correlation = products[:-1] / np.sqrt(ahead * behind)
    within = np.abs(correlation[1:]) < 2.0 * math.sqrt(math.log10(n) / n)
    runs = np.convolve(within, np.ones(quiet), mode="valid") == quiet
    return 1 + int(np.argmax(runs)) if runs.any() else longest_lag


_SESSIONS_AT_ONCE: Final = 8
"""Counted together when pairs are counted: more would be no sooner and need the memory."""


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
        for b blocks, as a variance divided by n instead of n − 1; and what is known of their spread comes from those
        few blocks, which Student's t with b − 1 degrees of freedom allows for. Further percentiles make up for both, so
        the interval never leaves the statistic's range and rises whenever all replicates rise.
        """
        n_sessions = self.weights.shape[1]
        value = float(statistic(np.ones((1, n_sessions)))[0])
        blocks = n_sessions / self.block
        if blocks < MIN_BLOCKS:
            return Interval(value, math.nan, math.nan)
        tail = float(ndtr(-self.standard_errors(confidence) * math.sqrt(blocks / (blocks - 1.0))))
        with np.errstate(invalid="ignore"):
            low, high = np.quantile(statistic(self.weights), [tail, 1.0 - tail])
        return Interval(value, float(low), float(high))

    def standard_errors(self, confidence: float) -> float:
        """How many lie between an estimate and an end of its interval: Student's quantile for so few blocks."""
        blocks = self.weights.shape[1] / self.block
        return float(stdtrit(blocks - 1.0, (1.0 + confidence) / 2.0))


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
    """AUC over all rows together; NaN throughout when a score is NaN, a label neither 0 nor 1, or a class is missing.

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
    if _unusable(label[known], score):
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
    if _unusable(label[known], score[known]):
        return _undefined
    areas = session_aucs(label[known], score[known], session[known])
    return mean_over_rows(np.asarray(areas, dtype=np.float64), areas.index.to_numpy(np.int64), n_sessions)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """First minus second on the same replicates."""
    return lambda weights: first(weights) - second(weights)


def ratio(first: Statistic, second: Statistic) -> Statistic:
    """First over second on the same replicates; NaN where the second is zero or infinite, which nothing can beat."""

    def over(weights: FloatArray) -> FloatArray:
        below = second(weights)
        usable = np.isfinite(below) & (below != 0.0)
        return np.where(usable, first(weights) / np.where(usable, below, 1.0), np.nan)

    return over


def influence(statistic: Statistic, n_sessions: int) -> FloatArray:
    """(n_sessions,) how much the statistic owes to each session: its value with all of them minus without that one."""
    whole = np.ones((1, n_sessions))
    with np.errstate(invalid="ignore"):
        changes: FloatArray = statistic(whole) - statistic(whole - np.eye(n_sessions))
    return changes


def pooled_auc_without(label: FloatArray, score: FloatArray, group: IntArray, n_groups: int) -> Statistic:
    """AUC over all rows together with one group of rows left out, exactly, without comparing groups in pairs.

    Args:
        label: (n,) 1 up, 0 down, NaN none.
        score: (n,) P(up) or any score of the same order.
        group: (n,) number of each row's group, in [0, n_groups).
        n_groups: Columns of the weights.

    Returns:
        For weights of one with at most one zero, as `influence` draws them.
    """
    known = ~np.isnan(label)
    if _unusable(label[known], score[known]):
        return _undefined
    label, score, group = label[known], score[known], group[known]
    up = label == 1.0
    won, own = pairs_won(label, score, np.zeros_like(group)), pairs_won(label, score, group)

    def by_group(rows: FloatArray) -> FloatArray:
        sums: FloatArray = np.bincount(group, weights=rows, minlength=n_groups).astype(float)
        return sums

    total, ups, downs = float(won[up].sum()), by_group(up.astype(float)), by_group((~up).astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        left = (total - by_group(won) + by_group(own * up)) / ((ups.sum() - ups) * (downs.sum() - downs))
        whole = np.float64(total) / (ups.sum() * downs.sum())
    return _left_out(float(whole), left)


def session_auc_without(
    label: FloatArray, score: FloatArray, session: IntArray, group: IntArray, n_groups: int
) -> Statistic:
    """Mean of the sessions' own AUCs with one group left out, exactly.

    Args:
        label: As of `pooled_auc_without`; so are `score`, `group`, `n_groups` and the result.
        score: As above.
        session: (n,) number of each row's session; a group has at most one row in each.
        group: As above.
        n_groups: As above.
    """
    known = ~np.isnan(label)
    if _unusable(label[known], score[known]):
        return _undefined
    label, score, session, group = label[known], score[known], session[known], group[known]
    up = label == 1.0
    won = pairs_won(label, score, session)
    ups, downs = (np.bincount(session, weights=side)[session] for side in (up.astype(float), (~up).astype(float)))
    total = np.bincount(session, weights=won * up)[session]
    pairs, pairs_left = ups * downs, (ups - up) * (downs - ~up)
    counted, counted_left = pairs > 0, pairs_left > 0
    area = np.divide(total, pairs, out=np.zeros_like(total), where=counted)
    area_left = np.divide(total - won, pairs_left, out=np.zeros_like(total), where=counted_left)
    mean = session_aucs(label, score, session)
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = np.bincount(group, weights=1.0 * counted - counted_left, minlength=n_groups)
        left = (mean.sum() + np.bincount(group, weights=area_left - area, minlength=n_groups)) / (len(mean) - lost)
    return _left_out(float(mean.mean()), left)


def _left_out(whole: float, without: FloatArray) -> Statistic:
    return lambda weights: np.where((weights == 0.0).any(axis=1), without[np.argmin(weights, axis=1)], whole)


def _wins(score: FloatArray, up: np.typing.NDArray[np.bool_], session: IntArray, n_sessions: int) -> FloatArray:
    """(n_sessions, n_sessions): up rows of the one above down rows of the other; ties count one half."""
    levels, level = np.unique(score, return_inverse=True)
    wins = np.zeros((n_sessions, n_sessions))
    if not up.any():
        return wins
    ups = np.flatnonzero(up)[np.argsort(session[up], kind="stable")]
    having_ups, first = np.unique(session[ups], return_index=True)
    down_level, down_session = level[~up], session[~up]
    for start in range(0, n_sessions, _SESSIONS_AT_ONCE):
        width = min(_SESSIONS_AT_ONCE, n_sessions - start)
        here = (down_session >= start) & (down_session < start + width)
        cells = down_level[here] * width + (down_session[here] - start)
        downs = np.bincount(cells, minlength=len(levels) * width).reshape(len(levels), width).astype(np.int32)
        below = 2 * np.cumsum(downs, axis=0, dtype=np.int32) - downs
        wins[having_ups, start : start + width] = 0.5 * np.add.reduceat(below[level[ups]], first, dtype=np.int64)
    return wins


def _unusable(label: FloatArray, score: FloatArray) -> bool:
    return bool(np.isnan(score).any() or not np.isin(label, (0.0, 1.0)).all())


def _undefined(weights: FloatArray) -> FloatArray:
    return np.full(len(weights), np.nan)
