"""What a checked delivery adds to the store, and what becomes of each of its rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calendar import Calendar
from models.facts import COLUMNS, Sorted, dated_by_arrival_where_contradicted, sort_out
from models.session_bars import KEY, bars_at, moments

PART_COLUMNS: Final = (*(name for name in COLUMNS if name != "coverage"), "minutes")
"""Of an intraday bar as the store keeps it."""


@dataclass(frozen=True)
class Stored:
    """What the store holds around a delivery: other rows do no harm."""

    facts: pd.DataFrame
    """Bars of the same symbols and sessions."""
    parts: pd.DataFrame
    """Intraday bars of these, from which some of the facts were made."""


@dataclass(frozen=True)
class Intake:
    """What a delivery adds."""

    fates: Sorted
    """(n_rows,) what became of each delivered row; those of one session bar share its fate."""
    bars: pd.DataFrame
    """Facts: what the delivery says that is new, and bars of later moments that are others with it."""
    revised: pd.DataFrame
    """Those of `bars` that follow a fact and contradict it."""
    parts: pd.DataFrame
    """The delivered intraday bars, to make session bars of again; none where daily bars came."""


def of_daily_bars(rows: pd.DataFrame, stored: Stored, load: datetime | None, calendar: Calendar) -> Intake:
    """Daily bars. Where they come between two intraday deliveries, what the later one said is a fact after all.

    Args:
        rows: (n_rows,) as `in_order` gives them.
        stored: What is there.
        load: Arrival of a load of history; None for other deliveries.
        calendar: Hours of the exchange.
    """
    if load is not None and len(stored.facts):
        rows = dated_by_arrival_where_contradicted(rows, stored.facts, load)
    fates = sort_out(rows, stored.facts)
    new = rows[~fates.duplicate]
    bars, revised = [new], [rows[fates.revised]]
    if len(stored.parts) and len(new):
        later = bars_at(moments(new, stored.parts), stored.parts, calendar)
        later = later[sort_out(later, pd.concat([stored.facts, new], ignore_index=True)).revised]
        bars.append(later)
        revised.append(later)
    no_parts = pd.DataFrame(columns=list(PART_COLUMNS))
    return Intake(fates, pd.concat(bars, ignore_index=True), pd.concat(revised), no_parts)


def of_intraday_bars(
    rows: pd.DataFrame, minutes: float, stored: Stored, load: datetime | None, calendar: Calendar
) -> Intake:
    """Intraday bars: each session's bar is made again of all its parts, at this moment and at every later one.

    Args:
        rows: (n_rows,) as `in_order` gives them, `timestamp` the start of each.
        minutes: Length of each.
        stored: What is there.
        load: Arrival of a load of history; None for other deliveries.
        calendar: Hours of the exchange.
    """
    repeated = rows.duplicated(["symbol", "timestamp", "known_at"]).to_numpy()
    rows = rows.assign(minutes=minutes)[list(PART_COLUMNS)]
    if load is not None and len(stored.facts):
        rows = _dated_by_arrival(rows, repeated, stored, load, calendar)
    parts = rows[~repeated]
    bars = _with(stored.parts, parts, calendar)
    sorting = sort_out(bars, stored.facts)
    return Intake(
        fates=_shared(sorting, bars, rows, repeated),
        bars=bars[~sorting.duplicate].reset_index(drop=True),
        revised=bars[sorting.revised],
        parts=parts,
    )


def _with(stored: pd.DataFrame, parts: pd.DataFrame, calendar: Calendar) -> pd.DataFrame:
    together = pd.concat([stored, parts], ignore_index=True) if len(stored) else parts
    return bars_at(moments(parts, together), together, calendar).reindex(columns=list(COLUMNS))


def _dated_by_arrival(
    rows: pd.DataFrame, repeated: npt.NDArray[np.bool_], stored: Stored, load: datetime, calendar: Calendar
) -> pd.DataFrame:
    """A load of history is known at each session's close, save where facts contradict it or say it already."""
    bars = _with(stored.parts, rows[~repeated], calendar)
    own = bars.merge(rows[[*KEY, "known_at"]].drop_duplicates(), on=[*KEY, "known_at"])
    dated = dated_by_arrival_where_contradicted(own, stored.facts, load)
    moved = (dated["known_at"] != own["known_at"]) | sort_out(own, stored.facts).duplicate
    arrived = rows[KEY].merge(own.loc[moved, KEY].assign(arrived=True), how="left", on=KEY)["arrived"].notna()
    moment = pd.Timestamp(load).tz_convert("UTC").as_unit("us")
    return rows.assign(known_at=rows["known_at"].mask(arrived.to_numpy(), moment))


def _shared(sorting: Sorted, bars: pd.DataFrame, rows: pd.DataFrame, repeated: npt.NDArray[np.bool_]) -> Sorted:
    """The fate of each row: its bar's; a row that the delivery repeats word for word is a duplicate."""
    key = [*KEY, "known_at"]
    place = rows[key].merge(bars[key].assign(bar=np.arange(len(bars))), how="left", on=key)["bar"].to_numpy(np.int64)
    return Sorted(
        sorting.accepted[place] & ~repeated,
        sorting.revised[place] & ~repeated,
        sorting.duplicate[place] | repeated,
    )
