"""The preparation of a night as one would write it in pandas: the same numbers, by groupby, shift, ewm and rolling."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from models.bar_sequence import BarSequence
from models.cleaning import judge, segment_starts
from models.config import DataConfig, NetworkConfig, RetrainConfig, TargetsConfig
from models.features import FEATURES, LEVELS, RETURNS, VARIANCES, decays
from models.panel import BAR_COLUMNS, PRICES
from models.percentiles import round_up

_PARKINSON: Final = 1 / (4 * np.log(2))
_FLOOR: Final = 1e-8


@dataclass(frozen=True)
class Prepared:
    """What a night learns from: one row a session of a series, absent bars included."""

    summaries: pd.DataFrame
    targets: pd.DataFrame
    """direction, volatility, magnitude; NaN where there is none."""
    usable: "pd.Series[bool]"
    scales: dict[str, float]


def prepare(bars: pd.DataFrame, config: RetrainConfig) -> Prepared:
    """Summaries, targets and the scales of the bounded heads from canonical bars, sorted by symbol and session."""
    rows = dense_rows(bars, config.data)
    features = bar_features(rows)
    summaries = filter_bank(features, rows["series"], config.network)
    targets = targets_of(rows, config.targets, len(bars["symbol"].unique()) >= config.data.min_universe)
    usable = usable_rows(rows, targets, config)
    scales = {head: scale_of(targets.loc[usable, head]) for head in ("volatility", "magnitude")}
    return Prepared(summaries, targets, usable, scales)


def dense_rows(bars: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Cleaned bars of each series on every session between its first and its last.

    What is suspect is decided by `models.cleaning`, of all bars at once as pandas would: it is not what the two are
    compared in.
    """
    axis = pd.factorize(bars["session"], sort=True)[0]
    market = market_return(bars, axis, data)
    codes = pd.factorize(bars["symbol"])[0]
    sequence = BarSequence(
        codes,
        axis,
        bars[list(PRICES)].to_numpy(np.float64),
        bars["volume"].to_numpy(np.float64),
        np.asarray(market.reindex(axis), np.float64),
    )
    judged = judge(bars, sequence, data)
    believed = judged.believed
    rows = pd.DataFrame(np.column_stack([believed.prices, believed.volume]), columns=list(BAR_COLUMNS))
    rows = rows.astype(np.float32).astype(np.float64)
    rows["present"] = 1.0
    rows["axis"] = axis[judged.kept]
    rows["series"] = np.cumsum(segment_starts(bars, judged, data)) - 1
    rows = rows.set_index(["series", "axis"])[[*BAR_COLUMNS, "present"]].reindex(_every_session(rows)).reset_index()
    rows["present"] = rows["present"].fillna(0.0)
    rows["market"] = rows["axis"].map(market)
    return rows


def market_return(bars: pd.DataFrame, axis: "np.ndarray[Any, Any]", data: DataConfig) -> "pd.Series[float]":
    """Median log return from one session to the next, by position of the session."""
    sessions = range(int(axis.max()) + 1)
    if bars["symbol"].nunique() < data.min_universe:
        return pd.Series(0.0, sessions)
    rows = pd.DataFrame({"symbol": bars["symbol"], "axis": axis, "close": np.log(bars["close"])})
    before = rows.groupby("symbol", sort=False)[["axis", "close"]].shift()
    returns = rows["close"] - before["close"]
    if "split_ratio" in bars:
        returns += np.log(bars["split_ratio"].where(bars["split_ratio"] > 0, 1.0))
    believed = returns.where((rows["axis"] - before["axis"] == 1) & (returns.abs() <= -np.log1p(-data.jump_limit)))
    by_session = believed.groupby(rows["axis"])
    median = by_session.median().where(by_session.count() >= data.min_universe, 0.0)
    return median.reindex(sessions).astype(np.float32).astype(np.float64)


def bar_features(rows: pd.DataFrame) -> pd.DataFrame:
    """The features of each bar and its presence; zero where the bar is absent."""
    before = rows[["close", "volume"]].groupby(rows["series"], sort=False).shift()
    both = before["close"].notna() & rows["close"].notna()
    total = np.log(rows["close"] / before["close"])
    overnight = np.log(rows["open"] / before["close"])
    market = rows["market"].where(both)
    traded = both & (rows["volume"] > 0) & (before["volume"] > 0)
    volume_change = np.log(rows["volume"].where(traded) / before["volume"])
    spread: Any = np.log(rows["high"] / rows["low"])
    body = np.log(rows["close"] / rows["open"])
    location = (np.log(rows["close"] / rows["low"]) + np.log(rows["close"] / rows["high"])) / spread.where(spread > 0)
    features = pd.DataFrame(
        {
            "return": total,
            "relative_return": total - market,
            "overnight_return": overnight,
            "market_return": market,
            "close_location": location,
            "volume_change": volume_change,
            "squared_return": total**2,
            "range_variance": _PARKINSON * spread**2,
            "garman_klass": (0.5 * spread**2 - (2 * np.log(2) - 1) * body**2).clip(lower=0.0),
            "squared_overnight": overnight**2,
            "squared_market": market**2,
        }
    )
    return features.fillna(0.0).assign(present=rows["present"])


def filter_bank(features: pd.DataFrame, series: "pd.Series[int]", network: NetworkConfig) -> pd.DataFrame:
    """Every feature averaged by every filter over its finite window, as unit-free summaries."""
    by_series: Any = features.groupby(series, sort=False)
    has_before = by_series.cumcount() >= network.window
    parts: dict[int, pd.DataFrame] = {}
    volatility = pd.Series(dtype=np.float64)
    for span, decay in reversed([*zip(network.spans, decays(network.spans), strict=True)]):
        endless = by_series.ewm(span=span).sum().set_axis(features.index)
        before = endless.shift(network.window).where(has_before, 0.0)
        summed = endless - float(decay) ** network.window * before
        average = summed[list(FEATURES)].div(summed["present"].clip(lower=1e-30), axis=0)
        if not parts:
            volatility = (average["squared_return"] + _FLOOR) ** 0.5
        parts[span] = _unit_free(average, volatility).add_suffix(f"_{span}")
    return pd.concat(parts.values(), axis=1)


def _unit_free(average: pd.DataFrame, volatility: "pd.Series[float]") -> pd.DataFrame:
    variances = average[list(VARIANCES)].clip(lower=0.0) + _FLOOR
    parts = [
        average[list(RETURNS)].div(volatility, axis=0),
        average[list(LEVELS)],
        variances.apply(np.log) * 0.5,
    ]
    return pd.concat(parts, axis=1).astype(np.float32)


def targets_of(rows: pd.DataFrame, config: TargetsConfig, relative: bool) -> pd.DataFrame:
    """Volatility, magnitude and direction over the sessions after each row's close."""
    close = np.log(rows["close"])
    returns = close.groupby(rows["series"], sort=False).diff()
    by_series = returns.groupby(rows["series"], sort=False)
    ahead = pd.concat([by_series.shift(-step) for step in range(1, config.horizon_sessions + 1)], axis=1)
    total = ahead.sum(axis=1, skipna=False)
    excess = total
    if config.direction == "relative" and relative:
        excess = total - total.groupby(rows["axis"]).transform("median")
    return pd.DataFrame(
        {
            "direction": (excess > 0).astype(np.float64).where(excess.notna() & (excess != 0)),
            "volatility": ahead.std(axis=1, ddof=1, skipna=False),
            "magnitude": total.abs(),
        }
    )


def usable_rows(rows: pd.DataFrame, targets: pd.DataFrame, config: RetrainConfig) -> "pd.Series[bool]":
    """Rows with enough of their window and all of their horizon present."""
    window, by_series = config.network.window, rows["present"].groupby(rows["series"], sort=False)
    seen = by_series.rolling(window, min_periods=1).sum().set_axis(rows.index)
    enough = seen >= np.ceil(config.data.min_present * window - 1e-9)
    usable: pd.Series[bool] = (rows["present"] > 0) & enough & targets["volatility"].notna()
    return usable


def scale_of(values: "pd.Series[float]") -> float:
    """max(3 × p99, 1.5 × p99.9), rounded up to two digits."""
    at = values.quantile([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
    return round_up(max(3 * at[0.99], 1.5 * at[0.999]))


def _every_session(rows: pd.DataFrame) -> pd.MultiIndex:
    ends = rows.groupby("series", sort=False)["axis"].agg(["first", "last"])
    counts = ends["last"] - ends["first"] + 1
    series = np.repeat(ends.index.to_numpy(), counts)
    starts = np.repeat((ends["first"] - counts.cumsum() + counts).to_numpy(), counts)
    return pd.MultiIndex.from_arrays([series, starts + np.arange(len(series))], names=["series", "axis"])
