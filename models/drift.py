"""Whether tonight's numbers are distributed as those of the last sessions were.

Symbols of one session move together, so a session never looks like a sample of the others, and a test of equal
distributions would alarm every night. So tonight's distance from the last sessions is held against the distance that
each of those sessions has itself.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from models.config import RetrainConfig
from models.features import summaries, summary_names
from models.panel import BAR_COLUMNS, FloatArray, IntArray, build_panel, eligible
from models.records import Record

SESSIONS: Final = 60
"""Sessions that tonight is held against."""
FEWEST_SESSIONS: Final = 20
"""With fewer earlier sessions nobody can say what is usual."""
FEWEST_ROWS: Final = 20
"""Of a session: the distance of fewer is mostly luck."""
MOST_ROWS: Final = 200
"""Of a session: more cost time and change little."""
OF_THE_MARKET: Final = ("market_return_", "squared_market_")
"""Summaries with one number a session behind them: any move of the market would look like drift, or none."""
BEYOND: Final = 1.5
"""Tonight has drifted where its distance is more than so many times the largest of the earlier sessions'."""


class ColumnDrift(Record):
    """Distances of one column: the Kolmogorov-Smirnov statistic of a session against the earlier sessions together."""

    name: str
    tonight: float
    """0 … 1."""
    earlier: tuple[float, ...]
    """Of each earlier session."""

    @property
    def believed(self) -> float:
        """The largest distance that is no drift."""
        return BEYOND * max(self.earlier)

    @property
    def excess(self) -> float:
        """Tonight's distance in units of the largest that is believed."""
        return self.tonight / max(self.believed, 1e-9)


def drift(names: Sequence[str], values: FloatArray, session: IntArray, n_sessions: int) -> tuple[ColumnDrift, ...]:
    """Distances of the last session, and of those before it.

    Args:
        names: Of the columns.
        values: (n, k) one row a symbol and session, finite.
        session: (n,) position of each row's session.
        n_sessions: Tonight is the last of so many.

    Returns:
        One for each column; none where tonight or the sessions before are too few.
    """
    from scipy.stats import ks_2samp

    rows = [_evenly(np.flatnonzero(session == position)) for position in range(n_sessions)]
    tonight, earlier = rows[-1], [one for one in rows[:-1] if len(one) >= FEWEST_ROWS]
    if len(tonight) < FEWEST_ROWS or len(earlier) < FEWEST_SESSIONS:
        return ()
    pool = np.concatenate(earlier)

    def distances(column: FloatArray) -> list[float]:
        return [float(ks_2samp(column[one], column[pool], method="asymp").statistic) for one in (tonight, *earlier)]

    found = []
    for name, column in zip(names, values.T, strict=True):
        own, *others = np.round(distances(column), 5).tolist()
        found.append(ColumnDrift(name=name, tonight=own, earlier=tuple(others)))
    return tuple(found)


def _evenly(rows: IntArray) -> IntArray:
    """At most so many of the rows of a session, from all parts of the alphabet."""
    return rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64)] if len(rows) > MOST_ROWS else rows


def column_drift(bars: pd.DataFrame) -> tuple[ColumnDrift, ...]:
    """Of the delivered columns, as they stand in the store.

    Args:
        bars: Canonical bars of a night, sorted by symbol and session; its last session is tonight.
    """
    days = bars["session"].to_numpy("datetime64[D]")
    sessions = np.unique(days)[-SESSIONS - 1 :]
    recent = days >= sessions[0]
    values = bars.loc[recent, list(BAR_COLUMNS)].to_numpy(np.float64)
    return drift(BAR_COLUMNS, values, np.searchsorted(sessions, days[recent]), len(sessions))


def feature_drift(bars: pd.DataFrame, market: "pd.Series[float]", config: RetrainConfig) -> tuple[ColumnDrift, ...]:
    """Of what the network reads of each symbol, in the rows that it could be asked about.

    Args:
        bars: As of `column_drift`.
        market: The market's return by session.
        config: Of the night.
    """
    window, spans = config.network.window, config.network.spans
    axis = market.index.to_numpy("datetime64[D]")
    recent = market.iloc[-(SESSIONS + 1 + 2 * window) :]
    kept = bars[bars["session"].to_numpy("datetime64[D]") >= recent.index.to_numpy("datetime64[D]")[0]]
    panel = build_panel(kept, config.data, recent)
    sessions = axis[-SESSIONS - 1 :]
    first = len(panel.sessions) - len(sessions)
    rows = np.flatnonzero(eligible(panel, window, config.data.min_present) & (panel.session >= first))
    names = summary_names(spans)
    own = [number for number, name in enumerate(names) if not name.startswith(OF_THE_MARKET)]
    values = summaries(panel, window, spans)[rows][:, own].astype(np.float64)
    session = panel.session[rows].astype(np.int64) - first
    return drift([names[number] for number in own], values, session, len(sessions))
