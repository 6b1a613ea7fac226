"""What the report shows of the out-of-sample frame beyond the gate's numbers: curves, bins and tables by group.

Nothing here decides anything; the gate has its own scores.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]

_SCORE_BINS = 256


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve on a common grid; `low` and `high` bound it point by point."""

    false_positive: FloatArray
    """(n_points,) share of downs called up, 0 to 1, ascending."""
    true_positive: FloatArray
    """(n_points,) share of ups called up."""
    low: FloatArray
    high: FloatArray

    @property
    def area(self) -> float:
        return float(np.trapezoid(self.true_positive, self.false_positive))


def directed(evidence: pd.DataFrame, score: str = "p_up") -> pd.DataFrame:
    """Rows that have both a direction and a score; none where a column is missing."""
    if not {"direction", score} <= set(evidence.columns):
        return evidence.iloc[:0]
    return evidence[evidence["direction"].notna() & evidence[score].notna()]


def roc_curve(
    evidence: pd.DataFrame,
    score: str = "p_up",
    *,
    block_sessions: int = 10,
    confidence: float = 0.9,
    replicates: int = 200,
    seed: int = 1,
) -> RocCurve | None:
    """ROC of one score with a band from a circular bootstrap over blocks of sessions.

    Scores are cut into 256 bins of equal mass, so that a replicate is one matrix product.

    Args:
        evidence: Out-of-sample frame.
        score: Column that ranks the rows, larger meaning up.
        block_sessions: Length of a block; at least twice the horizon, since labels overlap.
        confidence: Two-sided, point by point.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        The curve, or None when a class or the score is missing.
    """
    rows = directed(evidence, score)
    if rows.empty or rows["direction"].nunique() < 2:
        return None
    ups, downs = _counts_by_session(rows, score)
    weights = np.vstack([np.ones(len(ups)), _multiplicities(len(ups), block_sessions, replicates, seed)])
    true_positive, false_positive = _cumulative(weights @ ups), _cumulative(weights @ downs)
    grid = np.linspace(0.0, 1.0, _SCORE_BINS + 1)
    curves = np.array([np.interp(grid, x, y) for x, y in zip(false_positive, true_positive, strict=True)])
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(curves[1:], [tail, 1 - tail], axis=0)
    return RocCurve(grid, curves[0], low, high)


def reliability(evidence: pd.DataFrame, n_bins: int = 10) -> pd.DataFrame:
    """Predicted P(up) against the share of ups, in bins of equal mass.

    Returns:
        One row per bin: `predicted`, `realised`, `standard_error`, `rows`. The standard error treats a session as
        one draw (rows of one session move together); labels that overlap between sessions make it a little small.
    """
    rows = directed(evidence)
    if rows.empty:
        return pd.DataFrame(columns=["predicted", "realised", "standard_error", "rows"], dtype="float64")
    bins = pd.qcut(rows["p_up"].rank(method="average"), n_bins, labels=False, duplicates="drop").rename("bin")
    bins = bins.fillna(0)  # a constant forecast has no edges: all of it is one bin
    grouped = rows.groupby(bins)
    realised = grouped["direction"].mean()
    residual = rows["direction"] - bins.map(realised)
    by_session = residual.groupby([bins, rows["session"]]).sum()
    spread = by_session.pow(2).groupby(level=0).sum().pow(0.5)
    return pd.DataFrame(
        {
            "predicted": grouped["p_up"].mean(),
            "realised": realised,
            "standard_error": spread / grouped.size(),
            "rows": grouped.size(),
        }
    ).reset_index(drop=True)


def auc_by(evidence: pd.DataFrame, key: str) -> pd.Series:
    """AUC of P(up) inside each group (Mann-Whitney, ties count half); NaN where a group has one class only."""
    rows = directed(evidence)
    up = rows["direction"] == 1
    ranks = rows.groupby(key, observed=True)["p_up"].rank()
    n_up = up.groupby(rows[key], observed=True).sum()
    n_down = (~up).groupby(rows[key], observed=True).sum()
    rank_sum = ranks.where(up, 0.0).groupby(rows[key], observed=True).sum()
    pairs = (n_up * n_down).astype("float64")
    return ((rank_sum - n_up * (n_up + 1) / 2) / pairs.where(pairs > 0)).rename("auc")


def by_group(evidence: pd.DataFrame, key: str) -> pd.DataFrame:
    """How each group of rows fared, most rows first and, among equals, the largest volatility error first.

    Returns:
        Indexed by group: `rows`, `auc`, and for each bounded head in the frame `<head>_mae`, `<head>` (mean
        predicted) and `<head>_target` (mean realised), all over rows that have the target.
    """
    table = pd.DataFrame({"rows": evidence.groupby(key, observed=True).size(), "auc": auc_by(evidence, key)})
    for head in bounded_heads(evidence):
        target = f"{head}_target"
        rows = evidence.loc[evidence[target].notna(), [key, head, target]]
        rows = rows.assign(error=(rows[head] - rows[target]).abs())
        means = rows.groupby(key, observed=True)[[head, target, "error"]].mean()
        table = table.join(means.rename(columns={"error": f"{head}_mae"}))
    table.index.name = key
    order = ["rows", "volatility_mae"] if "volatility_mae" in table else ["rows"]
    return table.sort_index().sort_values(order, ascending=False, kind="stable")


def bounded_heads(evidence: pd.DataFrame) -> list[str]:
    """Bounded heads that the frame has both predictions and targets of."""
    return [head for head in ("volatility", "magnitude") if {head, f"{head}_target"} <= set(evidence.columns)]


def _counts_by_session(rows: pd.DataFrame, score: str) -> tuple[FloatArray, FloatArray]:
    """(n_sessions, n_bins) counts of ups and of downs, highest scores first; equal scores share a bin."""
    position = rows[score].rank(ascending=False).to_numpy() - 0.5
    bins = (position / len(rows) * _SCORE_BINS).astype(np.int64)
    session, sessions = pd.factorize(rows["session"], sort=True)
    cells, shape = session * _SCORE_BINS + bins, (len(sessions), _SCORE_BINS)
    up = rows["direction"].to_numpy() == 1
    ups = np.bincount(cells[up], minlength=shape[0] * shape[1]).reshape(shape)
    downs = np.bincount(cells[~up], minlength=shape[0] * shape[1]).reshape(shape)
    return ups.astype(np.float64), downs.astype(np.float64)


def _multiplicities(n_sessions: int, block_sessions: int, replicates: int, seed: int) -> FloatArray:
    """(replicates, n_sessions): how often each session is drawn."""
    block = min(block_sessions, n_sessions)
    n_blocks = -(-n_sessions // block)
    starts = np.random.default_rng(seed).integers(n_sessions, size=(replicates, n_blocks, 1))
    drawn = ((starts + np.arange(block)) % n_sessions).reshape(replicates, -1)[:, :n_sessions]
    cells = np.arange(replicates)[:, None] * n_sessions + drawn
    counts = np.bincount(cells.ravel(), minlength=replicates * n_sessions)
    return counts.reshape(replicates, n_sessions).astype(np.float64)


def _cumulative(counts: FloatArray) -> FloatArray:
    """Cumulative shares along the bins, starting at 0; a replicate without the class is NaN."""
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return np.pad(np.cumsum(shares, axis=1), ((0, 0), (1, 0)))
