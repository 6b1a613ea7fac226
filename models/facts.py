"""Facts: which delivered rows say something new. A row is compared with the fact that it follows in `known_at`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.casting import Times
from models.delivery import OPTIONAL
from models.panel import BAR_COLUMNS

VALUES: Final = (*BAR_COLUMNS, *OPTIONAL, "coverage")
COLUMNS: Final = ("symbol", "session", "timestamp", "known_at", "delivery", "sequence", *VALUES)


@dataclass(frozen=True)
class Sorted:
    """Where each row of a delivery goes."""

    accepted: npt.NDArray[np.bool_]
    """The first that is known of its symbol and session."""
    revised: npt.NDArray[np.bool_]
    """Says something else than the fact before it."""
    duplicate: npt.NDArray[np.bool_]
    """Says the same."""


def in_order(bars: pd.DataFrame, known_at: Times, delivery: str, sequence: int) -> pd.DataFrame:
    """Canonical bars of one delivery as rows of the store, sorted by session, symbol and time.

    By session first: then a reader of a few sessions passes over the other parts of a file.

    Args:
        bars: (n_rows,) canonical bars.
        known_at: (n_rows,) datetime64[us] UTC.
        delivery: SHA-256 of the delivered file.
        sequence: Later deliveries have larger ones.
    """
    rows: pd.DataFrame = bars.reindex(columns=["symbol", "session", "timestamp", *VALUES])
    moments = pd.DatetimeIndex(known_at).tz_localize("UTC")
    rows = rows.assign(known_at=moments, delivery=delivery, sequence=sequence, coverage=1.0)
    time = rows["timestamp"].to_numpy("datetime64[us]").view(np.int64)
    order = np.lexsort((time, pd.factorize(rows["symbol"], sort=True)[0], _days(rows)))
    return rows.iloc[order].reset_index(drop=True)[list(COLUMNS)]


def sort_out(rows: pd.DataFrame, facts: pd.DataFrame) -> Sorted:
    """Compare each row with the fact that it follows: the largest `known_at` not after its own, stored or delivered.

    Args:
        rows: (n_rows,) rows of a delivery, as `in_order` gives them.
        facts: Stored rows that have the same symbols and sessions; others do no harm.

    Returns:
        (n_rows,) masks in the order of `rows`; each row is in exactly one.
    """
    both = pd.concat([facts, rows], ignore_index=True) if len(facts) else rows
    stored = len(both) - len(rows)
    symbol, day = pd.factorize(both["symbol"])[0], _days(both)
    known_at = both["known_at"].to_numpy("datetime64[us]").view(np.int64)
    order = np.lexsort((both["sequence"].to_numpy(), known_at, day, symbol))
    behind, before = order[1:], order[:-1]
    same_key = (symbol[behind] == symbol[before]) & (day[behind] == day[before])
    behind, before = behind[same_key], before[same_key]
    values = [both[name].to_numpy(np.float64) for name in VALUES] if len(behind) else []
    follows, alike = np.zeros(len(both), bool), np.zeros(len(both), bool)
    follows[behind] = True
    alike[behind] = np.logical_and.reduce([_equal(of[behind], of[before]) for of in values]) if values else True
    follows, alike = follows[stored:], alike[stored:]
    return Sorted(~follows, follows & ~alike, follows & alike)


def _days(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    return rows["session"].to_numpy("datetime64[D]").view(np.int64)


def _equal(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Missing is equal to missing."""
    equal: npt.NDArray[np.bool_] = (one == other) | (np.isnan(one) & np.isnan(other))
    return equal


def dated_by_arrival_where_contradicted(rows: pd.DataFrame, facts: pd.DataFrame, arrival: datetime) -> pd.DataFrame:
    """A load of history is taken as known at each bar's close, save where a stored fact says otherwise.

    Such a row is a later restatement: dated at its close it would change what earlier nights read, or lie unread
    behind a fact that was delivered after the close.

    Args:
        rows: (n_rows,) rows of the load, known at their closes.
        facts: As for `sort_out`.
        arrival: When the load came, with a time zone.
    """
    moment = pd.Timestamp(arrival).tz_convert("UTC").as_unit("us")
    contradicted = sort_out(rows, facts).revised | sort_out(rows.assign(known_at=moment), facts).revised
    return rows.assign(known_at=rows["known_at"].mask(contradicted, moment))


def repeated_on_arrival(rows: pd.DataFrame, facts: pd.DataFrame, arrival: datetime) -> pd.DataFrame:
    """Rows of a load of history as it is read again: what was not stored of it repeated a fact when it came.

    Args:
        rows: (n_rows,) rows of the load, known at their closes.
        facts: (n_facts,) stored rows, this load's own among them.
        arrival: When the load came, with a time zone.
    """
    key = ["symbol", "session"]
    stored = rows[key].merge(
        facts.loc[facts["delivery"].isin(rows["delivery"].unique()), [*key, "known_at"]], how="left", on=key
    )
    return rows.assign(known_at=stored["known_at"].fillna(pd.Timestamp(arrival).tz_convert("UTC").as_unit("us")))
