"""How complete a session is: of the symbols that usually deliver, how many did."""

from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from models.config import ContractConfig
from models.errors import DeliveryStopped
from models.notation import percent
from models.records import Snapshot

RECENT_SESSIONS: Final = 30
"""Sessions that say which symbols usually deliver."""
MIN_EARLIER_SESSIONS: Final = 5
"""With fewer sessions before it, nobody can say whether a session is complete."""


def share_of_usual(bars: pd.DataFrame, session: date) -> float:
    """Share of the usual symbols that have a bar of a session.

    Usual is a symbol with a bar in at least half of the last 30 sessions before that have any: neither a name that was
    delisted last month counts as missing, nor do thousands of names that a source sent for three days only.

    Args:
        bars: `symbol` and `session`; later sessions and repeated rows do no harm.
        session: The session in question.

    Returns:
        0 … 1; NaN with fewer than 5 sessions before it.
    """
    days = bars["session"].to_numpy("datetime64[D]")
    asked = np.datetime64(session, "D")
    earlier = np.unique(days[days < asked])[-RECENT_SESSIONS:]
    if len(earlier) < MIN_EARLIER_SESSIONS:
        return float("nan")
    recent = (days >= earlier[0]) & (days <= asked)
    pairs = pd.DataFrame({"symbol": bars["symbol"].to_numpy()[recent], "session": days[recent]}).drop_duplicates()
    there = pairs["session"].to_numpy() == asked
    counts = pairs.loc[~there, "symbol"].value_counts()
    usual = counts.index[2 * counts.to_numpy() >= len(earlier)]
    return float(usual.isin(pairs.loc[there, "symbol"]).mean()) if len(usual) else float("nan")


def coverage_of(bars: pd.DataFrame, session: date) -> float:
    """How much of a session the bars of its symbols cover: the median of their `coverage`.

    Args:
        bars: `session` and, where intraday bars came, `coverage`; daily bars cover all of theirs.
        session: The session in question.

    Returns:
        0 … 1; NaN without a bar of it.
    """
    of_it = bars["session"].to_numpy("datetime64[D]") == np.datetime64(session, "D")
    if not of_it.any():
        return float("nan")
    return float(np.median(bars["coverage"].to_numpy(np.float64)[of_it])) if "coverage" in bars else 1.0


def refuse_partial(session: date, coverage: float | None, contract: ContractConfig) -> None:
    """Do nothing, unless a session is partial and the level of completeness is stop.

    Raises:
        DeliveryStopped: it is; a model of half a session's close, high, low and volume is a model of something else.
    """
    if contract.levels.completeness == "stop" and (why := partial(session, coverage, contract)):
        raise DeliveryStopped(
            f"{why}. Nothing was trained; the champion stays. Deliver the rest and run the night again, or let it wait "
            f"or go on with --set contract.levels.completeness=wait or =warn."
        )


def partial(session: date, coverage: float | None, contract: ContractConfig) -> str:
    """Why a session is partial, in words; empty where it is not, or where nothing follows from it."""
    if contract.levels.completeness == "warn" or coverage is None or coverage >= contract.min_coverage:
        return ""
    return (
        f"{session} is partial: the intraday bars of half of its symbols cover at most {percent(coverage, 1)} of it, "
        f"and contract.min_coverage asks for {percent(contract.min_coverage, 0)}"
    )


def waits_for_the_rest(snapshot: Snapshot, contract: ContractConfig) -> str:
    """Why a night does not train yet, in words; empty where its session is complete enough or need not be."""
    if contract.levels.completeness == "wait" and (why := partial(snapshot.session, snapshot.coverage, contract)):
        return f"waiting: {why}. When the rest has come, run the night again"
    floor, share = contract.completeness_floor, snapshot.completeness
    if contract.levels.completeness != "wait" or share is None or share >= floor:
        return ""
    return (
        f"waiting: {percent(share, 1)} of the symbols that usually deliver have a bar of {snapshot.session}, and "
        f"contract.completeness_floor asks for {percent(floor, 0)}. When the rest has come, run the night again"
    )
