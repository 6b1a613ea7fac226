"""Scale-free bar features and their causal exponential summaries.

Written once for two places: NumPy computes them along whole series (once per series and night), Keras computes them
inside the exported network for one window. Both run this same code, so training and serving cannot differ.
"""

from types import ModuleType
from typing import Any, Final

import numpy as np

from models.blocks import in_blocks
from models.panel import INPUT_COLUMNS, Float32Array, FloatArray, IntArray, Panel

RETURNS: Final = ("return", "relative_return", "overnight_return", "market_return")
"""Signed log returns; a summary is divided by the volatility at the longest span."""
LEVELS: Final = ("close_location", "volume_change")
"""Signed and already without a unit."""
VARIANCES: Final = ("squared_return", "range_variance", "garman_klass", "squared_overnight", "squared_market")
"""Daily variances; a summary is half its logarithm, a log volatility."""
FEATURES: Final = (*RETURNS, *LEVELS, *VARIANCES)

ALIGNMENT: Final = 64
"""Bytes: the address of the summaries is a multiple of it."""
_PARKINSON: Final = 1 / (4 * np.log(2))
_VARIANCE_FLOOR: Final = 1e-8
"""A daily volatility of one basis point; keeps the logarithm finite for a price that never moves."""
_TINY: Final = 1e-30


def bar_features(ops: ModuleType, previous: Any, current: Any) -> dict[str, Any]:
    """Features of each bar, zero where a bar is absent; returns are zero at the first bar after a gap.

    Args:
        ops: `numpy` or `keras.ops`.
        previous: (…, 7) float64 input columns of the bar before.
        current: (…, 7) float64 input columns of the bar itself.

    Returns:
        (…) float64 of each of `FEATURES`, in their order, without any price level: multiplying all prices by a
        constant changes nothing.
    """
    opened, high, low, close = (ops.maximum(current[..., i], _TINY) for i in range(4))
    volume, market, present = current[..., 4], current[..., 5], current[..., 6]
    previous_close, previous_volume = ops.maximum(previous[..., 3], _TINY), previous[..., 4]
    known, both = present > 0, (present > 0) & (previous[..., 6] > 0)
    zero = ops.zeros_like(close)

    total = ops.where(both, ops.log(close / previous_close), zero)
    overnight = ops.where(both, ops.log(opened / previous_close), zero)
    market = ops.where(both, market, zero)
    traded = both & (volume > 0) & (previous_volume > 0)
    volume_change = ops.where(traded, ops.log(ops.maximum(volume, _TINY) / ops.maximum(previous_volume, _TINY)), zero)
    spread = ops.log(high / low)
    body = ops.log(close / opened)
    location = ops.where(spread > 0, (ops.log(close / low) + ops.log(close / high)) / ops.maximum(spread, _TINY), zero)
    garman_klass = ops.maximum(0.5 * spread**2 - (2 * np.log(2) - 1) * body**2, 0.0)
    features = {
        "return": total,
        "relative_return": total - market,
        "overnight_return": overnight,
        "market_return": market,
        "close_location": location,
        "volume_change": volume_change,
        "squared_return": total**2,
        "range_variance": _PARKINSON * spread**2,
        "garman_klass": garman_klass,
        "squared_overnight": overnight**2,
        "squared_market": market**2,
    }
    return {name: ops.where(known, features[name], zero) for name in FEATURES}


def scale_free(ops: ModuleType, averages: Any) -> Any:
    """Unit-free summaries from the filtered features.

    Args:
        ops: `numpy` or `keras.ops`.
        averages: (n, n_features, n_spans) float64 exponential averages, spans ascending.

    Returns:
        (n, n_features × n_spans) float64, feature-major.
    """
    split = len(RETURNS)
    volatility = ops.sqrt(averages[..., FEATURES.index("squared_return"), -1] + _VARIANCE_FLOOR)
    returns = averages[..., :split, :] / volatility[..., None, None]
    levels = averages[..., split : split + len(LEVELS), :]
    variances = 0.5 * ops.log(ops.maximum(averages[..., split + len(LEVELS) :, :], 0.0) + _VARIANCE_FLOOR)
    parts = ops.concatenate([returns, levels, variances], axis=-2)
    return ops.reshape(parts, (-1, parts.shape[-2] * parts.shape[-1]))


def decays(spans: tuple[int, ...]) -> FloatArray:
    """(n_spans,) factor per session: 1 − 2 / (span + 1), as in pandas' `ewm(span=…)`."""
    return 1.0 - 2.0 / (np.asarray(spans, np.float64) + 1.0)


def filter_weights(window: int, spans: tuple[int, ...]) -> FloatArray:
    """(window, n_spans) weight of each session of a window, oldest first; the newest has weight 1."""
    weights: FloatArray = decays(spans)[None, :] ** np.arange(window - 1, -1, -1)[:, None]
    return weights


def summaries(panel: Panel, window: int, spans: tuple[int, ...], block: int = 8192) -> Float32Array:
    """Summaries of every row, each over its own last `window` sessions, computed once along the series.

    Rows are taken in blocks of whole series, as few as will do: what lies between bars and result then stays in the
    processor's cache. Only the result stays in memory. Several blocks are computed at a time, to the same bits, since
    none depends on another.

    Returns:
        (M, n_features × n_spans) float32.
    """
    out = _aligned((len(panel.session), len(FEATURES) * len(spans)))

    def fill(rows: slice) -> None:
        out[rows] = scale_free(np, _averages(panel, rows.start, rows.stop, window, spans))

    in_blocks(fill, panel.offsets, block)
    return out


def summary_names(spans: tuple[int, ...]) -> tuple[str, ...]:
    """Name of each summary, in order: `relative_return_5`."""
    return tuple(f"{feature}_{span}" for feature in FEATURES for span in spans)


def _aligned(shape: tuple[int, int]) -> Float32Array:
    """An empty array that begins where TensorFlow wants it to, so that it can be used there without a copy."""
    n_bytes = shape[0] * shape[1] * 4
    raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % ALIGNMENT
    return raw[first : first + n_bytes].view(np.float32).reshape(shape)


def _averages(panel: Panel, start: int, stop: int, window: int, spans: tuple[int, ...]) -> FloatArray:
    """(stop − start, n_features, n_spans) float64 averages over the present bars of each window.

    In memory rows come last, so that every step runs along contiguous numbers.
    """
    signal, position = _signal(panel, start, stop)
    averages = np.empty((len(FEATURES), len(spans), stop - start))
    for column, decay in enumerate(decays(spans)):
        summed = _windowed(signal, decay, window, position)
        np.divide(summed[:-1], np.maximum(summed[-1], _TINY), out=averages[:, column])
    return averages.transpose(2, 0, 1)


def _signal(panel: Panel, start: int, stop: int) -> tuple[FloatArray, IntArray]:
    """(n_features + 1, n) features and presence of each bar, and (n,) its position in its series."""
    bounds = panel.offsets[slice(*np.searchsorted(panel.offsets, [start, stop + 1]))] - start
    position = np.arange(stop - start) - np.repeat(bounds[:-1], np.diff(bounds))
    inputs = np.empty((len(INPUT_COLUMNS), stop - start))
    inputs[:5] = panel.bars[start:stop].T
    inputs[6] = panel.present[start:stop]
    inputs[5] = panel.market_return[panel.session[start:stop]] * inputs[6]
    previous = np.roll(inputs, 1, axis=1)
    previous[:, position == 0] = 0.0
    return np.stack([*bar_features(np, previous.T, inputs.T).values(), inputs[6]]), position


def _windowed(signal: FloatArray, decay: float, window: int, position: IntArray) -> FloatArray:
    """(k, n) sum over the last `window` columns of the same series of decay^age × signal.

    Sums over 1, 2, 4, 8… columns are joined, each from two of half its length: the window costs its logarithm, and
    what lies before it is never in the sum.

    Args:
        signal: (k, n) of series one after another.
        decay: Factor per column.
        window: Columns.
        position: (n,) of each column in its series.
    """
    if decay == 0.0:
        return signal
    block, length = signal, 1
    while not window & length:
        block, length = _joined(block, block, decay**length, length, position), 2 * length
    summed, covered = block, length
    while covered < window:
        block, length = _joined(block, block, decay**length, length, position), 2 * length
        if window & length:
            summed, covered = _joined(summed, block, decay**covered, covered, position), covered + length
    return summed


def _joined(newer: FloatArray, older: FloatArray, weight: float, lag: int, position: IntArray) -> FloatArray:
    """newer + weight × older, `lag` columns ago; before a series' first column there is nothing."""
    young = np.flatnonzero(position < lag)
    if len(young) == len(position):
        return newer
    joined = np.empty_like(newer)
    np.multiply(older[:, :-lag], weight, out=joined[:, lag:])
    joined[:, lag:] += newer[:, lag:]
    joined[:, young] = newer[:, young]
    return joined
