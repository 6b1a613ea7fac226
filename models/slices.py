"""How parts of the out-of-sample evidence fared, each with its interval: sector, liquidity, volatility, recency.

A description for people. The gate asks all rows at once and reads none of this.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bootstrap import Interval, ratio
from models.config import GateConfig
from models.gate.evidence import Evidence
from models.panel import FloatArray, IntArray, Panel
from models.scores import qlike_losses
from models.universe import TRADED_SESSIONS

SECTORS_SHOWN: Final = 12
"""Sectors with the most rows; the others stand together."""
RECENT: Final = 0.25
"""Last share of the sessions."""

Mask = npt.NDArray[np.bool_]


class Slice(NamedTuple):
    """Some rows of the evidence and what the gate would have measured on them alone."""

    kind: str
    """What the evidence was cut by."""
    name: str
    rows: int
    sessions: int
    auc: Interval
    """Of direction."""
    to_har: Interval
    """QLIKE of volatility over that of log-HAR."""


def slices(
    evidence: pd.DataFrame,
    config: GateConfig,
    *,
    reach: int,
    relative: bool,
    sectors: Mapping[str, str] | None = None,
) -> tuple[Slice, ...]:
    """All rows, then each part of them, measured as the gate measures: same scores, blocks and intervals.

    Blocks are of consecutive sessions of the slice itself: where a slice has gaps in time, what lies on both sides of a
    gap counts as neighbours.

    Args:
        evidence: Out-of-sample frame; `session, symbol, direction, p_up` and what a cut reads: `dollar_volume` for
            liquidity, `volatility_har` for the regime. A cut whose column is missing is left out.
        config: Replicates and confidence.
        reach: Sessions that one label looks ahead.
        relative: Whether direction is relative to the session's median.
        sectors: Symbol → sector, where the source has them.
    """
    return tuple(
        _measured(kind, name, Evidence.of(evidence[chosen], config, reach=reach, relative=relative))
        for kind, name, chosen in _parts(evidence, sectors)
        if chosen.any()
    )


def dollar_volume(panel: Panel, rows: IntArray) -> FloatArray:
    """Median close × volume of the last `TRADED_SESSIONS` sessions of a row's own series, absent ones left out.

    Args:
        panel: All series.
        rows: (n,) present rows.

    Returns:
        (n,) in the currency of the prices, known once the row's session has closed.
    """
    if not len(rows):
        return np.empty(0)
    read = np.flatnonzero(panel.present & (panel.session > panel.session[rows].min() - TRADED_SESSIONS))
    traded = panel.bars[read, 3].astype(np.float64) * panel.bars[read, 4]
    frame = pd.DataFrame({"series": panel.series[read], "traded": traded})
    medians = frame.groupby("series")["traded"].rolling(TRADED_SESSIONS, min_periods=1).median()
    known: FloatArray = medians.to_numpy(np.float64)[np.searchsorted(read, rows)]
    return known


def _measured(kind: str, name: str, part: Evidence) -> Slice:
    own, har = (part.mean_loss(qlike_losses, "volatility_target", head) for head in ("volatility", "volatility_har"))
    auc, to_har = part.interval(part.auc("p_up")), part.interval(ratio(own, har))
    return Slice(kind, name, len(part.frame), part.n_sessions, auc, to_har)


def _parts(evidence: pd.DataFrame, sectors: Mapping[str, str] | None) -> Iterator[tuple[str, str, Mask]]:
    """What it was cut by, the part's name, and its rows."""
    if evidence.empty:
        return
    yield "all", "all rows", np.full(len(evidence), True)
    if sectors:
        yield from _by_sector(evidence["symbol"], sectors)
    if "dollar_volume" in evidence:
        by_session = evidence["dollar_volume"].groupby(evidence["session"])
        third = _third(by_session.rank(method="first"), by_session.transform("count"))
        for part, name in enumerate(("least traded third", "middle third", "most traded third")):
            yield "liquidity", name, (third == part).to_numpy()
    if "volatility_har" in evidence:
        level = evidence.groupby("session")["volatility_har"].median()
        third = evidence["session"].map(_third(level.rank(method="first"), level.count()))
        for part, name in enumerate(("calm sessions", "ordinary sessions", "volatile sessions")):
            yield "volatility", name, (third == part).to_numpy()
    days = np.unique(evidence["session"].to_numpy())
    recent = evidence["session"].to_numpy() >= days[-max(round(RECENT * len(days)), 1)]
    yield "time", "older sessions", ~recent
    yield "time", f"last {max(round(RECENT * len(days)), 1)} sessions", recent


def _by_sector(symbol: "pd.Series[str]", sectors: Mapping[str, str]) -> Iterator[tuple[str, str, Mask]]:
    sector = symbol.map(dict(sectors)).fillna("unknown")
    names = list(sector.value_counts(sort=True).index)
    shown, others = names[:SECTORS_SHOWN], names[SECTORS_SHOWN:]
    for name in sorted(shown):
        yield "sector", str(name), (sector == name).to_numpy()
    yield "sector", f"{len(others)} other sectors", sector.isin(others).to_numpy()


def _third(rank: "pd.Series[float]", of: "pd.Series[int] | int") -> "pd.Series[float]":
    """0, 1 or 2 by rank among so many; NaN without a rank."""
    return (rank - 1) * 3 // of
