"""Synthetic markets whose best possible forecasts are known.

Each symbol has a slow alpha s (an AR(1)) that moves its return against the market in the next session. Nobody sees s:
the opening gap shows x = s + noise, so memory is needed, and how much it can find is known (a Kalman filter). The log
volatility is another AR(1), seen through the day's range. Both filters are exact for what the bars show of them, up to
the little that past returns add.

Formulas: docs/model.md, 'A market with a known answer'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError, model_validator
from scipy.signal import lfilter
from scipy.special import psi

from models.calendar import Calendar
from models.config import RetrainConfig, Section
from models.errors import ConfigError
from models.panel import BoolArray, FloatArray, build_panel
from models.records import Record
from models.scores import direction_auc, qlike
from models.targets import compute_targets

_GAP: Final = 0.5
"""Standard deviation of the opening gap in units of the symbol's own daily volatility."""
_RANGE: Final = 2.5
"""Median range of a day in units of its volatility: wide enough to hold open and close on nearly all days."""
_LEVEL_SPREAD: Final = 0.3
"""Standard deviation of the symbols' mean log volatilities."""
_STUCK_SESSIONS: Final = 8
_PRICES: Final = ("open", "high", "low", "close")
_SPLIT_RATIO: Final = 2.0


class MarketSettings(Section):
    """What a synthetic market is made of. The defaults are the reference market of the benchmarks."""

    symbols: int = Field(200, ge=2, le=20_000)
    """Symbols, each with a bar of every session unless gaps or delistings are asked for."""
    sessions: int = Field(1500, ge=30, le=8000)
    """Sessions of the exchange."""
    first: str = Field("2003-01-02", pattern=r"^\d{4}-\d{2}-\d{2}$")
    """The first session is the exchange's first on or after this day."""
    exchange: str = "XNYS"
    """Calendar name of exchange-calendars."""
    seed: int = Field(1, ge=0)
    """Of all that is drawn: the same settings give the same market."""
    edge: float = Field(0.1, ge=0, lt=1)
    """Correlation of alpha with the next session's own return; 0 is a market without direction."""
    memory: float = Field(0.9, ge=0, lt=1)
    """AR(1) coefficient of alpha."""
    noise: float = Field(4.0, ge=0)
    """Variance of what hides alpha in the opening gap, in units of alpha's own variance."""
    volatility: float = Field(0.015, gt=0, lt=0.2)
    """Median daily volatility of the symbols."""
    persistence: float = Field(0.97, ge=0, lt=1)
    """AR(1) coefficient of log volatility."""
    restless: float = Field(0.06, ge=0, le=1)
    """Daily standard deviation of what is new in log volatility."""
    range_noise: float = Field(0.25, ge=0, le=1)
    """Standard deviation of the log range around log volatility."""
    market_volatility: float = Field(0.006, ge=0, lt=0.2)
    """Daily volatility of the market's factor, which moves all symbols alike."""
    tail: float | None = Field(5.0, gt=2.05)
    """Degrees of freedom of the returns' t distribution; None is Gaussian, as the closed forms assume."""
    gaps: float = Field(0.0, ge=0, le=0.5)
    """Share of bars that are absent."""
    splits: int = Field(0, ge=0)
    """Symbols with an unadjusted two-for-one split."""
    stuck: int = Field(0, ge=0)
    """Symbols whose price stands still for eight sessions."""
    delistings: int = Field(0, ge=0)
    """Symbols that end in the second half."""

    @model_validator(mode="after")
    def _enough_symbols(self) -> "MarketSettings":
        wanted = self.splits + self.stuck + self.delistings
        if wanted > self.symbols:
            raise ValueError(f"splits + stuck + delistings = {wanted}: each needs a symbol, there are {self.symbols}")
        return self


@dataclass(frozen=True)
class SyntheticMarket:
    """Bars, and the best that anybody could say about them."""

    settings: MarketSettings
    bars: pd.DataFrame
    """Canonical columns `symbol, session, open, high, low, close, volume, timestamp`, sorted by symbol and session."""
    best: pd.DataFrame
    """`symbol, session, alpha, volatility` of every bar, absent ones too. alpha ranks the relative direction as well as
    anybody can, volatility is the best forecast of the realised one; so the ceiling of any rows is their score."""
    faults: pd.DataFrame
    """`kind, symbol, session` of each split, stuck price and delisting: its first session, or the last one traded."""


@dataclass(frozen=True)
class _Paths:
    """Latent states and returns, each (sessions, symbols)."""

    alpha: FloatArray
    level: FloatArray
    """(symbols,) mean log volatility."""
    log_volatility: FloatArray
    own: FloatArray
    """Volatility of the return against the market."""
    returns: FloatArray


def synthetic_market(settings: MarketSettings | None = None, horizon: int = 5) -> SyntheticMarket:
    """Draw a market.

    Args:
        settings: Default: the reference market.
        horizon: Sessions that the best volatility forecast looks ahead.
    """
    settings = settings or MarketSettings()
    rng = np.random.default_rng(settings.seed)
    paths = _paths(settings, rng)
    shown_alpha = paths.alpha + settings.noise**0.5 * rng.standard_normal(paths.alpha.shape)
    shown_log = paths.log_volatility + settings.range_noise * rng.standard_normal(paths.alpha.shape)
    columns = _prices(paths, shown_alpha / (1 + settings.noise) ** 0.5, shown_log, rng)
    columns["volume"] = rng.lognormal(13.0, 0.5, paths.alpha.shape)
    kept, faults = _spoil(columns, settings, rng)
    keys = _keys(settings)
    faults["session"] = keys["session"].to_numpy()[faults.pop("at")]
    bars = keys.assign(**{name: values.T.ravel() for name, values in columns.items()})[kept.T.ravel()]
    best = keys.assign(
        alpha=_filtered_alpha(shown_alpha, settings).T.ravel(),
        volatility=_best_volatility(shown_log, paths.level, settings, horizon).T.ravel(),
    )
    timestamp = bars["session"].dt.tz_localize("UTC").astype("datetime64[us, UTC]")
    return SyntheticMarket(settings, bars.assign(timestamp=timestamp).reset_index(drop=True), best, faults)


class WrittenMarket(Record):
    """A market that was written to a file, and the ceilings for whoever learns from it."""

    path: str
    bars: int
    symbols: int
    first: date
    last: date
    best_direction_auc: float
    """Over five sessions, on the market's own bars."""
    best_volatility_qlike: float
    faults: tuple[str, ...]
    """`kind symbol session` of each."""


def write_market(path: str, changes: Mapping[str, object]) -> WrittenMarket:
    """Draw a market, write it as a delivery and tell the best that anybody could forecast of it.

    Args:
        path: Parquet file to write: `symbol, timestamp, open, high, low, close, volume`.
        changes: Settings that differ from the reference market's.

    Raises:
        ConfigError: a setting is out of its range, or the file cannot be written.
    """
    try:
        market = synthetic_market(MarketSettings.model_validate(changes))
        delivered = market.bars.assign(timestamp=market.bars["session"].dt.date)
        delivered[["symbol", "timestamp", *_PRICES, "volume"]].to_parquet(path, index=False)
    except (ValueError, OSError) as error:
        raise ConfigError(f"No synthetic market in {path}: {_in_words(error)}") from error
    auc, best = _ceilings(market)
    return WrittenMarket(
        path=path,
        bars=len(market.bars),
        symbols=market.settings.symbols,
        first=market.bars["session"].min().date(),
        last=market.bars["session"].max().date(),
        best_direction_auc=round(auc, 4),
        best_volatility_qlike=round(best, 4),
        faults=tuple(f"{fault.kind} {fault.symbol} {fault.session:%Y-%m-%d}" for fault in market.faults.itertuples()),
    )


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
    return str(error)


def _ceilings(market: SyntheticMarket) -> tuple[float, float]:
    """AUC and QLIKE of the best forecasts on the market's own targets, where the horizon meets no gap and no split."""
    config = RetrainConfig()
    panel = build_panel(market.bars, config.data)
    targets = compute_targets(panel, config.targets)
    rows = np.flatnonzero(targets.known & panel.present)
    at = pd.DataFrame({"symbol": panel.symbol_of(rows), "session": panel.session_of(rows), "row": rows})
    best = at.merge(market.best, on=["symbol", "session"])
    auc = direction_auc(targets.direction[best["row"]], best["alpha"].to_numpy())
    return auc, qlike(targets.volatility[best["row"]], best["volatility"].to_numpy())


def best_auc(settings: MarketSettings, horizon: int) -> float:
    """Area under the ROC curve of the best forecast of the relative direction over `horizon` sessions.

    1/2 + (2/π) asin(ρ/√2) with ρ the correlation of the filtered alpha with the return over the horizon; exact for
    Gaussian noise and a volatility that does not change within the horizon.
    """
    ahead = settings.memory ** np.arange(horizon)
    pairs = sum((horizon - lag) * settings.memory**lag for lag in range(1, horizon))
    spread = (horizon + 2 * settings.edge**2 * pairs) ** 0.5
    known = (1 - _steady(settings.memory, 1 - settings.memory**2, settings.noise).after) ** 0.5
    correlation = settings.edge * ahead.sum() * known / spread
    return float(0.5 + 2 / np.pi * np.arcsin(correlation / 2**0.5))


def best_qlike(settings: MarketSettings, horizon: int) -> float:
    """QLIKE of the best forecast of the realised volatility over `horizon` sessions: 2v + log(ν/2) − ψ(ν/2).

    v is the variance of the mean log volatility ahead given the ranges so far, ν = horizon − 1 (Patton 2011 for the
    loss; the last two terms are the noise of a sample variance). Exact for small v and Gaussian noise.
    """
    after = _steady(settings.persistence, settings.restless**2, settings.range_noise**2).after
    steps = np.arange(1, horizon + 1)
    kept = (settings.persistence**steps).mean()
    news = [(settings.persistence ** np.arange(horizon - j)).sum() / horizon for j in range(horizon)]
    v = kept**2 * after + settings.restless**2 * np.square(news).sum()
    half = (horizon - 1) / 2
    return float(2 * v + np.log(half) - psi(half))


@dataclass(frozen=True)
class _Steady:
    """A scalar Kalman filter that has run for long."""

    gain: float
    after: float
    """Variance of the state once the newest observation is known."""


def _steady(memory: float, news: float, noise: float) -> _Steady:
    """Steady state of x' = memory × x + N(0, news), seen with N(0, noise)."""
    b = noise * (1 - memory**2) - news
    before = (-b + (b**2 + 4 * news * noise) ** 0.5) / 2
    if before == 0:
        return _Steady(0.0, 0.0)
    gain = before / (before + noise)
    return _Steady(gain, (1 - gain) * before)


def _filtered(seen: FloatArray, memory: float, steady: _Steady) -> FloatArray:
    """Kalman mean after each observation, (sessions, symbols), started at the long-run mean of zero."""
    filtered: FloatArray = lfilter([steady.gain], [1.0, -memory * (1 - steady.gain)], seen, axis=0)
    return filtered


def _filtered_alpha(shown: FloatArray, settings: MarketSettings) -> FloatArray:
    steady = _steady(settings.memory, 1 - settings.memory**2, settings.noise)
    return _filtered(shown, settings.memory, steady)


def _best_volatility(shown: FloatArray, level: FloatArray, settings: MarketSettings, horizon: int) -> FloatArray:
    """Root of the expected mean variance of the sessions ahead, (sessions, symbols)."""
    memory, news = settings.persistence, settings.restless**2
    steady = _steady(memory, news, settings.range_noise**2)
    mean = _filtered(shown - level, memory, steady)
    variance: FloatArray = np.zeros_like(mean)
    for step in range(1, horizon + 1):
        kept = memory**step
        unknown = kept**2 * steady.after + news * (1 - kept**2) / (1 - memory**2)
        variance += np.exp(2 * (level + kept * mean + unknown)) / horizon
    forecast: FloatArray = np.sqrt(variance)
    return forecast


def _paths(settings: MarketSettings, rng: np.random.Generator) -> _Paths:
    shape = (settings.sessions, settings.symbols)
    alpha = _autoregression(settings.memory, (1 - settings.memory**2) ** 0.5, shape, rng)
    level = np.log(settings.volatility) + _LEVEL_SPREAD * rng.standard_normal(settings.symbols)
    log_volatility = level + _autoregression(settings.persistence, settings.restless, shape, rng)
    market = settings.market_volatility
    own = np.sqrt(np.maximum(np.exp(2 * log_volatility) - market**2, (0.2 * market) ** 2))
    shock = rng.standard_normal(shape) if settings.tail is None else _student(settings.tail, shape, rng)
    known = np.vstack([np.zeros(settings.symbols), alpha[:-1]])
    returns = own * (settings.edge * known + (1 - settings.edge**2) ** 0.5 * shock)
    return _Paths(alpha, level, log_volatility, own, returns + market * rng.standard_normal((settings.sessions, 1)))


def _student(freedom: float, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    shocks: FloatArray = rng.standard_t(freedom, shape) * ((freedom - 2) / freedom) ** 0.5
    return shocks


def _autoregression(memory: float, news: float, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """An AR(1) from its long-run distribution on, (sessions, symbols)."""
    shocks = news * rng.standard_normal(shape)
    shocks[0] /= (1 - memory**2) ** 0.5
    path: FloatArray = lfilter([1.0], [1.0, -memory], shocks, axis=0)
    return path


def _prices(paths: _Paths, gap: FloatArray, shown_log: FloatArray, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Open, high, low and close: the gap shows alpha, the range shows volatility."""
    close = np.log(50.0) + paths.returns.cumsum(axis=0)
    opened = close - paths.returns + _GAP * paths.own * gap
    slack = np.maximum(_RANGE * np.exp(shown_log) - np.abs(close - opened), 0.0)
    above = slack * rng.random(slack.shape)
    logs = {
        "open": opened,
        "high": np.maximum(opened, close) + above,
        "low": np.minimum(opened, close) - (slack - above),
        "close": close,
    }
    return {name: np.exp(values) for name, values in logs.items()}


def _keys(settings: MarketSettings) -> pd.DataFrame:
    names = [f"S{k:05d}" for k in range(settings.symbols)]
    symbol = pd.Series(np.repeat(names, settings.sessions), dtype="str")
    return pd.DataFrame({"symbol": symbol, "session": np.tile(_sessions(settings), settings.symbols)})


def _sessions(settings: MarketSettings) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    known = Calendar(settings.exchange).sessions
    first = int(np.searchsorted(known, np.datetime64(settings.first)))
    sessions = known[first : first + settings.sessions].astype("datetime64[s]")
    if len(sessions) < settings.sessions:
        raise ValueError(
            f"The calendar {settings.exchange} has {len(sessions)} sessions from {settings.first} on, "
            f"{settings.sessions} were asked for. Start earlier or ask for fewer."
        )
    return sessions


def _spoil(
    columns: dict[str, FloatArray], settings: MarketSettings, rng: np.random.Generator
) -> tuple[BoolArray, pd.DataFrame]:
    """Do to the prices what goes wrong in a real market, each fault on a symbol of its own.

    Returns:
        Which bars are there, (sessions, symbols), and the faults as `kind, symbol, at`.
    """
    kept = rng.random((settings.sessions, settings.symbols)) >= settings.gaps
    kinds = ["split"] * settings.splits + ["stuck"] * settings.stuck + ["delisting"] * settings.delistings
    faults = []
    for kind, symbol in zip(kinds, rng.permutation(settings.symbols), strict=False):
        at = int(rng.integers(settings.sessions // 2, settings.sessions - 10))
        if kind == "split":
            columns["volume"][at:, symbol] *= _SPLIT_RATIO
        elif kind == "delisting":
            kept[at + 1 :, symbol] = False
        standing = columns["close"][at - 1, symbol]
        for price in _PRICES:
            if kind == "split":
                columns[price][at:, symbol] /= _SPLIT_RATIO
            elif kind == "stuck":
                columns[price][at : at + _STUCK_SESSIONS, symbol] = standing
        faults.append({"kind": kind, "symbol": f"S{symbol:05d}", "at": at})
    return kept, pd.DataFrame(faults, columns=["kind", "symbol", "at"]).astype({"at": int})
