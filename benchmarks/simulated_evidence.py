"""Out-of-sample frames whose truth is known: all that the gate reads, without bars, a network or a training.

Daily returns have a market's part and an own part, and the own part follows a signal a little. A model's score is some
of that signal, an error, and a part that all symbols of a session have alike; each is AR(1), so scores persist, labels
overlap by the horizon, and everything is jointly Gaussian. A score's correlation with the own forward return, and with
it the AUC that it has in the long run, is therefore known in closed form. Forecasts of volatility and magnitude are the
truth times a lognormal error of known size.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import digamma, ndtr, ndtri

from models.calendar import Calendar
from models.records import Scale
from models.scores import FloatArray

CALENDAR: Final = Calendar("XNYS")
FIRST: Final = np.datetime64("2010-01-04")
"""The first simulated session."""

P_UP_SPREAD: Final = 0.1
"""Log odds per unit of a score: P(up) then varies by 0.025."""
DAILY_VOLATILITY: Final = 0.012
LEVEL_SPREAD: Final = 0.4
"""sd of the log volatility between symbols."""
CLUSTER_SPREAD: Final = 0.25
"""sd of the log volatility of the market, and again of each symbol, over time."""
CLUSTER_MEMORY: Final = 0.97
SCALES: Final = {"volatility": 0.2, "magnitude": 0.6}

OWN_ERROR: Final = 0.12
"""Of a model's forecasts of volatility and magnitude: sd of the logarithm."""
HAR_ERROR: Final = 0.2
EWMA_ERROR: Final = 0.3

_NODES: Final = 64


@dataclass(frozen=True)
class MarketSettings:
    """Size of a simulated panel, and how much its rows have to do with each other."""

    sessions: int = 250
    symbols: int = 60
    reach: int = 5
    """Sessions that a label looks ahead."""
    relative: bool = True
    """Direction against the session's median; else against zero."""
    market_share: float = 0.3
    """Of the variance of a daily return."""
    common_share: float = 0.3
    """Of the variance of a score: what all symbols of a session have alike."""
    memory: float = 0.9
    """AR(1) coefficient of the signal and of each part of a score."""
    signal: float = 0.15
    """Correlation of the signal with the own forward return; no score's can be larger."""


def gaussian_auc(correlation: float, threshold: float = 0.0) -> float:
    """AUC of one of two standard normal variables for whether the other exceeds a threshold.

    At threshold 0 that is 1/2 + (2/π) asin(ρ/√2). Elsewhere P(x₁ > x₂ | y₁ > c > y₂), by quadrature over both y.

    Args:
        correlation: ρ, in (−1, 1).
        threshold: c, in standard deviations.
    """
    share, weights = _uniform_nodes()
    below = float(ndtr(threshold))
    up, down = ndtri(below + share * (1.0 - below)), ndtri(share * below)
    wins = ndtr(correlation * (up[:, None] - down) / math.sqrt(2.0 * (1.0 - correlation**2)))
    return float(weights @ wins @ weights)


def true_auc(correlation: float, settings: MarketSettings) -> float:
    """AUC in the long run of a score that has this correlation with the own forward return.

    The relative label compares with a median that each symbol moves itself, by about a share 1/n, as it does a mean.
    The absolute one compares with what the market did, and averages the sessions' areas over that.

    Args:
        correlation: Of the score, with its common part and all, with the own part of the return over the horizon.
        settings: Of the panel.
    """
    if settings.relative:
        return 0.5 + 2.0 / math.pi * math.asin(correlation * math.sqrt((1.0 - 1.0 / settings.symbols) / 2.0))
    within = correlation / math.sqrt(1.0 - settings.common_share)
    beside = math.sqrt(settings.market_share / (1.0 - settings.market_share))
    moves, weights = _normal_nodes()
    areas = [gaussian_auc(within, -beside * move) for move in moves if abs(move) * beside < 6.0]
    kept = np.abs(moves) * beside < 6.0
    return float(np.average(areas, weights=weights[kept]))


@cache
def _uniform_nodes() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1.0) / 2.0, weights / 2.0


@cache
def _normal_nodes() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES // 2)
    return nodes, weights


@cache
def correlation_of(auc: float, settings: MarketSettings) -> float:
    """The correlation that reaches this AUC.

    Raises:
        ValueError: the signal itself does not reach it.
    """
    most = settings.signal * math.sqrt(1.0 - settings.common_share)
    if not abs(auc - 0.5) <= true_auc(most, settings) - 0.5:
        raise ValueError(
            f"No score can have an AUC of {auc} where the signal itself reaches {true_auc(most, settings):.4f}; "
            f"raise MarketSettings.signal ({settings.signal})."
        )
    return float(brentq(lambda correlation: true_auc(correlation, settings) - auc, -most, most, xtol=1e-9))


def persistent(random: np.random.Generator, shape: tuple[int, ...], memory: float) -> FloatArray:
    """AR(1) along the first axis, of variance one from the first value on."""
    noise = random.normal(size=shape)
    fresh = math.sqrt(1.0 - memory**2)
    noise[0] /= fresh
    series: FloatArray = lfilter([fresh], [1.0, -memory], noise, axis=0)
    return series


@dataclass(frozen=True, eq=False)
class SimulatedMarket:
    """What happened, what simpler forecasts said of it, and what models of any skill would have said."""

    settings: MarketSettings
    days: npt.NDArray[np.datetime64]
    """(n_sessions + reach + 1,) sessions of the calendar: those of the rows and those that their labels look at."""
    rows: pd.DataFrame
    """`session, symbol`, the realised targets and the columns of `models.baselines`, by session and then symbol."""
    signal: FloatArray
    """(n_sessions, n_symbols) what there is to know of the direction, of variance one."""
    error: FloatArray
    """(n_sessions, n_symbols) what all models get wrong alike."""
    common: FloatArray
    """(n_sessions, 1) what a score says of all symbols of a session at once."""
    sigma: FloatArray
    """(n_sessions, n_symbols) true daily volatility, as a fraction."""

    @classmethod
    def draw(cls, settings: MarketSettings, seed: int) -> "SimulatedMarket":
        """A market by its seed."""
        random = np.random.default_rng(seed)
        shape, reach = (settings.sessions, settings.symbols), settings.reach
        signal = persistent(random, (settings.sessions + 2 * reach + 1, settings.symbols), settings.memory)
        returns = _returns(random, signal, settings)
        sigma = _volatility(random, shape)
        start = np.searchsorted(CALENDAR.sessions, FIRST)
        days = CALENDAR.sessions[start : start + settings.sessions + reach + 1]
        columns = _realised(returns, sigma, settings) | _baselines(random, returns, sigma, settings)
        rows = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
        rows.insert(0, "session", np.repeat(days[: settings.sessions].astype("datetime64[s]"), settings.symbols))
        rows.insert(1, "symbol", np.tile([f"S{one:03d}" for one in range(settings.symbols)], settings.sessions))
        return cls(
            settings=settings,
            days=days,
            rows=rows.assign(p_up_prior=0.5, best_feature_name="return_5"),
            signal=signal[reach : reach + settings.sessions],
            error=persistent(random, shape, settings.memory),
            common=persistent(random, (settings.sessions, 1), settings.memory),
            sigma=sigma,
        )

    def forecasts(self, auc: float, seed: int, shared: float = 0.9) -> dict[str, FloatArray]:
        """What a model of this AUC says: `p_up`, `volatility` and `magnitude`, each (n_sessions, n_symbols).

        Args:
            auc: In the long run.
            seed: Of its own errors.
            shared: Share of its errors' variance that it has in common with all other models of this market.
        """
        random, settings = np.random.default_rng([seed, 1]), self.settings
        visible = math.sqrt(1.0 - settings.common_share)
        known = correlation_of(auc, settings) / (settings.signal * visible)
        own = persistent(random, self.signal.shape, settings.memory)
        error = math.sqrt(shared) * self.error + math.sqrt(1.0 - shared) * own
        score = visible * (known * self.signal + math.sqrt(1.0 - known**2) * error)
        score = score + math.sqrt(settings.common_share) * self.common
        mistaken = OWN_ERROR * random.normal(size=self.signal.shape)
        return {
            "p_up": 1.0 / (1.0 + np.exp(-P_UP_SPREAD * score)),
            "volatility": _forecast_of_volatility(self.sigma, mistaken, OWN_ERROR),
            "magnitude": _forecast_of_magnitude(self.sigma, mistaken, OWN_ERROR, settings.reach),
        }

    def frame(self, predicted: dict[str, FloatArray], version: str = "candidate") -> pd.DataFrame:
        """The frame of one model on all sessions."""
        columns = {name: values.ravel() for name, values in predicted.items()}
        return self.rows.assign(**columns, version=version, fold=0)


def scales(rows: pd.DataFrame) -> dict[str, Scale]:
    """Those that go with the simulated volatility and magnitude.

    Args:
        rows: Of a market.
    """
    return {
        head: Scale.model_validate(
            {
                "head": head,
                "scale": scale,
                "proposed": scale,
                "mean": rows[f"{head}_target"].mean(),
                "median": rows[f"{head}_target"].median(),
                "percentiles": {},
                "clipped_share": float((rows[f"{head}_target"] > scale).mean()),
                "rows": len(rows),
            }
        )
        for head, scale in SCALES.items()
    }


def qlike_of(error: float, reach: int) -> float:
    """Expected QLIKE of the true volatility times a lognormal error, for a standard deviation of `reach` returns.

    The floor log(ν/2) − ψ(ν/2), with ν = reach − 1, is what the target's own sampling costs the true volatility.

    Args:
        error: sd of the logarithm.
        reach: Returns of which the target is the standard deviation.
    """
    freedom = (reach - 1) / 2.0
    return math.log(freedom) - float(digamma(freedom)) + 2.0 * error**2


def _returns(random: np.random.Generator, signal: FloatArray, settings: MarketSettings) -> FloatArray:
    """(n_sessions + 2 reach + 1, n_symbols) of variance one; each own part follows the signal of the day before."""
    lags = np.arange(settings.reach)
    along = float((settings.memory**lags).sum())
    around = float((2.0 * (settings.reach - lags[1:]) * settings.memory ** lags[1:]).sum())
    weight = math.sqrt(settings.signal**2 * settings.reach / (along**2 - settings.signal**2 * around))
    own = math.sqrt(1.0 - weight**2) * random.normal(size=signal.shape)
    own[1:] += weight * signal[:-1]
    market = random.normal(size=(len(signal), 1))
    returns: FloatArray = math.sqrt(settings.market_share) * market + math.sqrt(1.0 - settings.market_share) * own
    return returns


def _volatility(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    level = LEVEL_SPREAD * random.normal(size=(1, shape[1]))
    market = CLUSTER_SPREAD * persistent(random, (shape[0], 1), CLUSTER_MEMORY)
    own = CLUSTER_SPREAD * persistent(random, shape, CLUSTER_MEMORY)
    sigma: FloatArray = DAILY_VOLATILITY * np.exp(level + market + own)
    return sigma


def _realised(returns: FloatArray, sigma: FloatArray, settings: MarketSettings) -> dict[str, FloatArray]:
    """Directions of returns of equal variance, so that a wild symbol has no other chances than a calm one."""
    ahead = _windows(returns, settings, start=1)
    total, later = ahead.sum(axis=-1), _windows(returns, settings, start=2).sum(axis=-1)
    return {
        "direction": _direction(total, settings),
        "direction_next_close": _direction(later, settings),
        "volatility_target": sigma * ahead.std(axis=-1, ddof=1),
        "magnitude_target": sigma * np.abs(total),
    }


def _direction(total: FloatArray, settings: MarketSettings) -> FloatArray:
    middle = np.median(total, axis=1, keepdims=True) if settings.relative else 0.0
    return np.where(total == middle, np.nan, (total > middle).astype(float))


def _baselines(
    random: np.random.Generator, returns: FloatArray, sigma: FloatArray, settings: MarketSettings
) -> dict[str, FloatArray]:
    reversal = -_windows(returns, settings, start=1 - settings.reach).sum(axis=-1)
    har, ewma = (error * random.normal(size=sigma.shape) for error in (HAR_ERROR, EWMA_ERROR))
    return {
        "p_up_volatility_only": 1.0 / (1.0 + np.exp(-P_UP_SPREAD * np.log(sigma / DAILY_VOLATILITY))),
        "reversal": reversal,
        "best_feature": reversal,
        "volatility_har": _forecast_of_volatility(sigma, har, HAR_ERROR),
        "volatility_ewma": _forecast_of_volatility(sigma, ewma, EWMA_ERROR),
        "magnitude_ewma": _forecast_of_magnitude(sigma, ewma, EWMA_ERROR, settings.reach),
    }


def _windows(returns: FloatArray, settings: MarketSettings, start: int) -> FloatArray:
    """(n_sessions, n_symbols, reach) returns of as many days, the first of them `start` days after each session."""
    windows: FloatArray = np.lib.stride_tricks.sliding_window_view(returns, settings.reach, axis=0)
    return windows[settings.reach + start :][: settings.sessions]


def _forecast_of_volatility(sigma: FloatArray, mistaken: FloatArray, error: float) -> FloatArray:
    """Calibrated as QLIKE asks: mean(y² / ŷ²) = 1."""
    forecast: FloatArray = sigma * np.exp(mistaken + error**2)
    return forecast


def _forecast_of_magnitude(sigma: FloatArray, mistaken: FloatArray, error: float, reach: int) -> FloatArray:
    """Calibrated in the mean."""
    forecast: FloatArray = sigma * math.sqrt(2.0 * reach / math.pi) * np.exp(mistaken - error**2 / 2.0)
    return forecast
