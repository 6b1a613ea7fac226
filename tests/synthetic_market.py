"""Synthetic bars for tests and benchmarks."""

import numpy as np
import pandas as pd

from models.calendar import Calendar


def market(
    n_symbols: int = 30, n_sessions: int = 160, edge: float = 0.0, seed: int = 1, restless: float = 0.12
) -> pd.DataFrame:
    """A market with a known answer: log-AR(1) volatility, a market factor, and a planted reversal of relative returns.

    Args:
        n_symbols: Symbols, each with a bar of every session.
        n_sessions: Sessions of XNYS from 2015-01-05 on.
        edge: Correlation of tomorrow's relative return with today's, negated; 0 is a market without direction.
        seed: Of all that is drawn.
        restless: Daily sd of the log volatility.
    """
    rng = np.random.default_rng(seed)
    log_volatility = np.zeros((n_sessions, n_symbols))
    for t in range(1, n_sessions):
        log_volatility[t] = 0.97 * log_volatility[t - 1] + restless * rng.standard_normal(n_symbols)
    volatility = 0.015 * np.exp(log_volatility)
    noise = rng.standard_normal((n_sessions, n_symbols))
    for t in range(1, n_sessions):
        noise[t] = np.sqrt(1 - edge**2) * noise[t] - edge * noise[t - 1]
    returns = volatility * noise + 0.008 * rng.standard_normal((n_sessions, 1))
    close = 50 * np.exp(returns.cumsum(axis=0))
    opened = close * np.exp(-returns + 0.3 * volatility * rng.standard_normal(returns.shape))
    reach = np.exp(0.5 * volatility * np.abs(rng.standard_normal((2, *returns.shape))))
    known = Calendar("XNYS").sessions
    first = np.searchsorted(known, np.datetime64("2015-01-05"))
    sessions = known[first : first + n_sessions].astype("datetime64[s]")
    bars = pd.DataFrame(
        {
            "symbol": pd.Series(np.repeat([f"S{k:03d}" for k in range(n_symbols)], n_sessions), dtype="str"),
            "session": np.tile(sessions, n_symbols),
            "open": opened.T.ravel(),
            "high": (np.maximum(opened, close) * reach[0]).T.ravel(),
            "low": (np.minimum(opened, close) / reach[1]).T.ravel(),
            "close": close.T.ravel(),
            "volume": rng.lognormal(13, 0.5, returns.size),
        }
    )
    return bars.assign(timestamp=bars["session"].dt.tz_localize("UTC").astype("datetime64[us, UTC]"))
