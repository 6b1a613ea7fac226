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
    """Canonical bars of one delivery as rows of the store, sorted by symbol, session and time.

    Args:
        bars: (n_rows,) canonical bars.
        known_at: (n_rows,) datetime64[us] UTC.
        delivery: SHA-256 of the delivered file.
        sequence: Later deliveries have larger ones.
    """
    rows: pd.DataFrame = bars.reindex(columns=["symbol", "session", "timestamp", *VALUES])
    rows["session"] = rows["session"].dt.date
    rows["coverage"] = 1.0
    rows = rows.assign(known_at=pd.DatetimeIndex(known_at).tz_localize("UTC"), delivery=delivery, sequence=sequence)
    return rows.sort_values(["symbol", "session", "timestamp"], kind="stable", ignore_index=True)[list(COLUMNS)]


def sort_out(rows: pd.DataFrame, facts: pd.DataFrame) -> Sorted:
    """Compare each row with the fact that it follows: the largest `known_at` not after its own, stored or delivered.

    Args:
        rows: (n_rows,) rows of a delivery, as `in_order` gives them.
        facts: Stored rows that have the same symbols and sessions; others do no harm.

    Returns:
        (n_rows,) masks in the order of `rows`; each row is in exactly one.
    """
    both = pd.concat([facts, rows], ignore_index=True) if len(facts) else rows.reset_index(drop=True)
    stored = len(both) - len(rows)
    both = both.sort_values(["symbol", "session", "known_at", "sequence"], kind="stable")
    follows = both.duplicated(["symbol", "session"]).to_numpy()
    values = both[list(VALUES)].fillna({"coverage": 1.0}).to_numpy(np.float64)  # tables of before it was kept
    alike = np.zeros(len(both), bool)
    alike[1:] = ((values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))).all(axis=1)
    back = np.argsort(both.index.to_numpy())[stored:]
    follows, alike = follows[back], alike[back]
    return Sorted(~follows, follows & ~alike, follows & alike)


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
        facts.loc[facts["delivery"].isin(rows["delivery"]), [*key, "known_at"]], how="left", on=key
    )
    return rows.assign(known_at=stored["known_at"].fillna(pd.Timestamp(arrival).tz_convert("UTC").as_unit("us")))
