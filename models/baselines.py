"""Forecasts that a candidate must match: what volatility alone can tell, and what a single feature can.

Each is fitted on the candidate's own training rows and reads, for a row, only bars of its series up to that row. An
absent bar contributes nothing: averages run over the last present sessions, and a return across an absence is left out.
"""

import numpy as np
import pandas as pd

from models.panel import Panel, log_returns
from models.scores import ZERO_VOLATILITY, FloatArray, IntArray

HAR_SESSIONS = (1, 5, 22)
"""Day, week and month of the heterogeneous autoregression (Corsi 2009)."""

EWMA_DECAY = 0.94
"""RiskMetrics' decay of daily squared returns."""

REVERSAL_SESSIONS = 5


def baselines(
    panel: Panel,
    *,
    volatility: FloatArray,
    magnitude: FloatArray,
    direction: FloatArray,
    training_rows: IntArray,
    rows: IntArray,
) -> pd.DataFrame:
    """The baseline columns of the out-of-sample frame.

    Args:
        panel: All series; M rows.
        volatility: (M,) realised volatility, daily; NaN where there is no target.
        magnitude: (M,) absolute log return; NaN likewise.
        direction: (M,) 1 up, 0 down, NaN none.
        training_rows: Rows of the panel to fit on.
        rows: Rows of the panel to forecast.

    Returns:
        `rows` in their order, RangeIndex, float64: `volatility_har` (log-HAR, so calibrated on the training rows that
        mean(y² / ŷ²) = 1, as QLIKE asks), `magnitude_ewma` (multiple of EWMA volatility with the training rows' mean),
        `p_up_volatility_only` (P(up) of a logistic model that sees volatility and nothing else) and `reversal` (minus
        the log return of the last five sessions). NaN for a row before the first return of its series.
    """
    variance = _daily_variance(panel)
    averages = [_mean_over_present(panel, variance, sessions) for sessions in HAR_SESSIONS]
    ewma = np.sqrt(_decayed_mean(panel, log_returns(panel) ** 2))
    features = 0.5 * np.log(np.maximum(np.column_stack([*averages, ewma**2]), ZERO_VOLATILITY**2))
    return pd.DataFrame(
        {
            "volatility_har": _log_har(features[:, : len(HAR_SESSIONS)], volatility, training_rows, rows),
            "magnitude_ewma": _scaled_to_mean(ewma, magnitude, training_rows, rows),
            "p_up_volatility_only": _logistic(features, direction, training_rows, rows),
            "reversal": _reversal(panel)[rows],
        }
    )


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
    forecast = np.exp(design @ coefficients)
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
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[fitted], label[fitted])
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
