"""Forecasts that a candidate must match: what the class shares, volatility alone and a single feature can tell.

Each is fitted on the training rows of the model that it stands beside and reads, for a row, only bars of its series up
to that row. An absent bar contributes nothing: averages run over the last present sessions, and a return across an
absence is left out. What does not depend on the training rows is computed once, however many models there are.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from models.panel import BoolArray, Float32Array, Panel, log_returns
from models.scores import ZERO_VOLATILITY, FloatArray, IntArray
from models.targets import Targets

HAR_SESSIONS: Final = (1, 5, 22)
"""Day, week and month of the heterogeneous autoregression (Corsi 2009)."""

EWMA_DECAY: Final = 0.94
"""RiskMetrics' decay of daily squared returns."""

REVERSAL_SESSIONS: Final = 5

Parts = Sequence[tuple[IntArray, IntArray]]
"""(training rows, rows to forecast) of each model; no session of the latter in two parts."""


def baselines(
    panel: Panel,
    targets: Targets,
    parts: Parts,
    summaries: Float32Array | None = None,
    names: Sequence[str] = (),
) -> pd.DataFrame:
    """The baseline columns of the out-of-sample frame.

    Args:
        panel: All series; M rows.
        targets: Of all rows.
        parts: Of each model that the frame holds rows of.
        summaries: (M, n) of the filter bank, among which the best single feature is looked for.
        names: (n,) of the summaries.

    Returns:
        The rows of all parts, one part after the other, RangeIndex, float64 unless stated. `volatility_har` (log-HAR)
        and `volatility_ewma` (the exponential average), both so calibrated on the training rows that mean(y² / ŷ²) = 1,
        as QLIKE asks. `magnitude_ewma`, a multiple of that average with the training rows' mean. `p_up_prior`, the
        training rows' share of ups. `p_up_volatility_only`, P(up) of a logistic model that sees volatility and nothing
        else. `reversal`, minus the log return of the last five sessions. `best_feature`, the rank within its session of
        the summary that ordered the training rows best, centred, its sign as it was there; `best_feature_name` (str).
        NaN for a row before the first return of its series; the last two are NaN and empty without summaries.
    """
    features = _features(panel)
    ranking = None if summaries is None else _Ranking.of(panel, targets, parts, summaries)
    forecasts = []
    for training_rows, rows in parts:
        best = _no_feature(len(rows))
        if ranking is not None and summaries is not None:
            best = ranking.best_feature(panel, training_rows, rows, summaries, names)
        forecasts.append(pd.concat([_forecast(features, targets, training_rows, rows), best], axis=1))
    return pd.concat(forecasts, ignore_index=True)


class _Features(NamedTuple):
    """What the forecasts read, of every row of the panel."""

    logs: FloatArray
    """(M, 4) log volatility of the last day, week and month, and of the exponential average."""
    ewma: FloatArray
    """(M,) exponentially weighted volatility, daily."""
    reversal: FloatArray
    """(M,) minus the log return of the last five sessions."""


def _features(panel: Panel) -> _Features:
    variance = _daily_variance(panel)
    averages = [_mean_over_present(panel, variance, sessions) for sessions in HAR_SESSIONS]
    ewma = np.sqrt(_decayed_mean(panel, log_returns(panel) ** 2))
    logs = 0.5 * np.log(np.maximum(np.column_stack([*averages, ewma**2]), ZERO_VOLATILITY**2))
    return _Features(logs, ewma, _reversal(panel))


def _forecast(features: _Features, targets: Targets, training_rows: IntArray, rows: IntArray) -> pd.DataFrame:
    logs, ewma = features.logs, features.ewma
    return pd.DataFrame(
        {
            "volatility_har": _log_har(logs[:, : len(HAR_SESSIONS)], targets.volatility, training_rows, rows),
            "volatility_ewma": _scaled_to_root_mean_square(
                np.exp(logs[:, -1]), targets.volatility, training_rows, rows
            ),
            "magnitude_ewma": _scaled_to_mean(ewma, targets.magnitude, training_rows, rows),
            "p_up_prior": _prior(targets.direction[training_rows], len(rows)),
            "p_up_volatility_only": _logistic(logs, targets.direction, training_rows, rows),
            "reversal": features.reversal[rows],
        }
    )


class _Ranking(NamedTuple):
    """How well each summary orders the symbols of a session by direction, in some of the sessions trained on."""

    sessions: IntArray
    """(k,) positions on the session axis."""
    wins: FloatArray
    """(k, n) pairs (up, down) of the session in which the up has the larger summary; ties count one half."""
    pairs: FloatArray
    """(k,) all its pairs."""

    @classmethod
    def of(cls, panel: Panel, targets: Targets, parts: Parts, summaries: Float32Array) -> "_Ranking":
        """Rank one session in `targets.reach`: the labels of those between tell little that is new."""
        ranked = np.zeros(len(panel.session), bool)
        for training_rows, _ in parts:
            ranked[training_rows] = True
        ranked &= (panel.session % targets.reach == 0) & ~np.isnan(targets.direction)
        rows = np.flatnonzero(ranked)
        rows = rows[np.argsort(panel.session[rows], kind="stable")]
        sessions, first = np.unique(panel.session[rows], return_index=True)
        wins, pairs = np.zeros((len(sessions), summaries.shape[1])), np.zeros(len(sessions))
        for position, (start, stop) in enumerate(zip(first, [*first[1:], len(rows)], strict=True)):
            of_session = rows[start:stop]
            wins[position], pairs[position] = _wins(summaries[of_session], targets.direction[of_session] == 1.0)
        return cls(sessions.astype(np.int64), wins, pairs)

    def best_feature(
        self, panel: Panel, training_rows: IntArray, rows: IntArray, summaries: Float32Array, names: Sequence[str]
    ) -> pd.DataFrame:
        """`best_feature, best_feature_name` of the rows, chosen in the sessions of the training rows."""
        own = np.isin(self.sessions, panel.session[training_rows])
        pairs = self.pairs[own].sum()
        if not pairs > 0:
            return _no_feature(len(rows))
        edge = self.wins[own].sum(axis=0) / pairs - 0.5
        chosen = int(np.argmax(np.abs(edge)))
        values = pd.Series(summaries[rows, chosen].astype(float)).groupby(panel.session[rows])
        rank = values.rank(pct=True)
        centred = rank - rank.groupby(panel.session[rows]).transform("mean")
        name = names[chosen] if edge[chosen] > 0 else f"minus {names[chosen]}"
        return pd.DataFrame(
            {"best_feature": np.sign(edge[chosen]) * centred.to_numpy(float), "best_feature_name": name}
        )


def _wins(values: Float32Array, up: BoolArray) -> tuple[FloatArray, float]:
    """Pairs (up, down) that each column has in the right order, and all pairs (Mann-Whitney)."""
    ups = float(up.sum())
    ranks = rankdata(values, axis=0)
    return ranks[up].sum(axis=0) - ups * (ups + 1) / 2, ups * (len(up) - ups)


def _no_feature(n_rows: int) -> pd.DataFrame:
    return pd.DataFrame({"best_feature": np.full(n_rows, np.nan), "best_feature_name": np.full(n_rows, "", object)})


def _prior(direction: FloatArray, n_rows: int) -> FloatArray:
    known = direction[~np.isnan(direction)]
    return np.full(n_rows, np.mean(known) if len(known) else 0.5)


def _daily_variance(panel: Panel) -> FloatArray:
    """(M,) variance of each day: Garman and Klass (1980) plus the squared overnight gap; NaN where absent."""
    opening, high, low, close = np.where(panel.present[:, None], panel.bars[:, :4], np.nan).T.astype(float)
    within = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / opening) ** 2
    gap = np.nan_to_num(log_returns(panel) - np.log(close / opening))  # 0 after an absence and at a series' start
    variance: FloatArray = np.maximum(within, 0.0) + gap**2
    return variance


def _mean_over_present(panel: Panel, values: FloatArray, n_sessions: int) -> FloatArray:
    """(M,) mean of the last values of the series that are not NaN."""
    known = _known(panel, values)
    means = known.groupby("series")["value"].rolling(n_sessions, min_periods=1).mean()
    return _carried_forward(panel, known.index, means.to_numpy(float))


def _decayed_mean(panel: Panel, values: FloatArray) -> FloatArray:
    """(M,) exponentially weighted mean of the series' values that are not NaN."""
    known = _known(panel, values)
    means = known.groupby("series")["value"].ewm(alpha=1 - EWMA_DECAY).mean()
    return _carried_forward(panel, known.index, means.to_numpy(float))


def _known(panel: Panel, values: FloatArray) -> pd.DataFrame:
    frame = pd.DataFrame({"series": panel.series, "value": values})
    return frame[frame["value"].notna()]


def _carried_forward(panel: Panel, index: pd.Index, values: FloatArray) -> FloatArray:
    """(M,) the values at their rows, and on the rows between them the series' last."""
    column = pd.Series(values, index=index).reindex(range(len(panel.series)))
    carried: FloatArray = column.groupby(panel.series).ffill().to_numpy().astype(np.float64)
    return carried


def _log_har(features: FloatArray, target: FloatArray, training_rows: IntArray, rows: IntArray) -> FloatArray:
    """Least squares of log volatility on its own past averages, then calibrated for the root mean square."""
    fitted = _usable(features, target, training_rows)
    realised = np.maximum(target[fitted], ZERO_VOLATILITY)
    design = np.column_stack([np.ones(len(features)), features])
    coefficients = np.linalg.lstsq(design[fitted], np.log(realised))[0]
    return _scaled_to_root_mean_square(np.exp(design @ coefficients), target, training_rows, rows)


def _scaled_to_root_mean_square(
    forecast: FloatArray, target: FloatArray, training_rows: IntArray, rows: IntArray
) -> FloatArray:
    fitted = _usable(forecast[:, None], target, training_rows)
    realised = np.maximum(target[fitted], ZERO_VOLATILITY)
    root_mean_square: float = np.sqrt(np.mean((realised / forecast[fitted]) ** 2))
    calibrated: FloatArray = root_mean_square * forecast[rows]
    return calibrated


def _scaled_to_mean(forecast: FloatArray, target: FloatArray, training_rows: IntArray, rows: IntArray) -> FloatArray:
    fitted = _usable(forecast[:, None], target, training_rows)
    scaled: FloatArray = forecast[rows] * (np.mean(target[fitted]) / np.mean(forecast[fitted]))
    return scaled


def _logistic(features: FloatArray, label: FloatArray, training_rows: IntArray, rows: IntArray) -> FloatArray:
    """P(up) of a logistic regression; NaN rows of the features stay NaN."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = _usable(features, label, training_rows)
    predicted = np.full(len(rows), np.nan)
    known = ~np.isnan(features[rows]).any(axis=1)
    if len(np.unique(label[fitted])) < 2:
        predicted[known] = np.mean(label[fitted]) if len(fitted) else 0.5
        return predicted
    model = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky")).fit(
        features[fitted], label[fitted]
    )
    if known.any():
        predicted[known] = model.predict_proba(features[rows[known]])[:, 1]
    return predicted


def _usable(features: FloatArray, target: FloatArray, training_rows: IntArray) -> IntArray:
    complete = ~np.isnan(features[training_rows]).any(axis=1) & ~np.isnan(target[training_rows])
    usable: IntArray = training_rows[complete]
    return usable


def _reversal(panel: Panel) -> FloatArray:
    """(M,) minus the log return since five sessions ago, or since the series began; absences keep the last close."""
    close = np.where(panel.present, panel.bars[:, 3].astype(float), np.nan)
    logs = pd.Series(np.log(close)).groupby(panel.series)
    last = logs.ffill().to_numpy(float)
    position = np.arange(len(last))
    start = panel.offsets[panel.series]
    return last[np.maximum(position - REVERSAL_SESSIONS, start)] - last
