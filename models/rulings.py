"""What people have said of corporate actions, and what there is to say something about.

A ruling is one more row with the time at which it was made: a past night does not see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from models.bar_columns import judged_bars
from models.config import DataConfig
from models.errors import ConfigError
from models.locations import Locations
from models.records import Record
from models.tables import Table

NO_ACTION: Final = 1.0
"""The ratio of a ruling that a move was genuine."""
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_ACTIONS: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.date32()),
        ("ratio", pa.float64()),
        ("known_at", _MOMENT),
        ("actor", pa.string()),
        ("reason", pa.string()),
    ]
)


class Ruling(Record):
    """One answer of a person."""

    symbol: str
    session: date
    ratio: float
    """New shares for one old; 1 where there was no action."""
    known_at: datetime
    actor: str
    reason: str


class ActionSeen(Record):
    """A corporate action, or what looks like one, in the bars as known."""

    symbol: str
    session: date
    state: Literal["suspect", "contradicted", "applied", "dismissed"]
    ratio: float | None
    """New shares for one old: as applied, or for a suspect the simple ratio that is near; None where none is."""
    fall: float
    """Close before ÷ open."""


class ActionsSeen(Record):
    """Those of some bars, by symbol and session."""

    actions: tuple[ActionSeen, ...]

    @property
    def open_questions(self) -> "ActionsSeen":
        """Those that a person can settle."""
        return ActionsSeen(actions=tuple(a for a in self.actions if a.state in ("suspect", "contradicted")))


@dataclass(frozen=True)
class Rulings:
    """The append-only table of what people have said."""

    locations: Locations

    @property
    def _table(self) -> Table:
        return Table(self.locations.table("actions"), _ACTIONS)

    def add(self, ruling: Ruling) -> Ruling:
        """Append it. Of two about the same session the later one counts.

        Raises:
            StoreError: the table cannot be written.
        """
        self._table.append(pa.Table.from_pylist([ruling.model_dump()], schema=_ACTIONS))
        return ruling

    def on(self, bars: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
        """These bars with a column `ruling` (NaN where nobody has said anything), if anybody has."""
        rows = self._table.read(where=ds.field("known_at") <= pa.scalar(as_of, _MOMENT)).to_pandas()
        if rows.empty:
            return bars
        rows = rows.sort_values("known_at").drop_duplicates(["symbol", "session"], keep="last")
        rows["session"] = pd.to_datetime(rows["session"]).astype("datetime64[s]")
        rows["symbol"] = rows["symbol"].astype("str")
        ruled = bars.merge(rows[["symbol", "session", "ratio"]], on=["symbol", "session"], how="left")
        if ruled["ratio"].isna().all():
            return bars
        return ruled.rename(columns={"ratio": "ruling"})


def actions_seen(bars: pd.DataFrame, data: DataConfig) -> ActionsSeen:
    """What a night makes of these bars: suspects first of all, and what was applied.

    Args:
        bars: Canonical bars as known, sorted by symbol and session.
        data: As of a night.
    """
    actions = _actions(bars, data) if len(bars) else ()
    return ActionsSeen(actions=tuple(sorted(actions, key=lambda action: (action.symbol, action.session))))


def suspect_ratio(seen: ActionsSeen, bars: pd.DataFrame, symbol: str, session: date) -> float:
    """The ratio of a suspect, for whoever confirms it without naming one.

    Raises:
        ConfigError: there is no such bar, or nothing that tells the ratio.
    """
    refuse_unknown_bar(bars, symbol, session)
    for action in seen.actions:
        if (action.symbol, action.session) == (symbol, session) and action.ratio not in (None, NO_ACTION):
            return action.ratio
    raise ConfigError(
        f"The ratio of {symbol} on {session} is not known: prices are near no simple ratio there, or nothing is "
        f"suspect. Name it, for example `nocturne splits confirm {symbol} {session} 3/2`."
    )


def refuse_unknown_bar(bars: pd.DataFrame, symbol: str, session: date) -> None:
    """A ruling is about a bar that is there.

    Raises:
        ConfigError: it is not.
    """
    if not ((bars["symbol"] == symbol) & (bars["session"] == pd.Timestamp(session))).any():
        raise ConfigError(
            f"There is no bar of {symbol} on {session}, so nothing can be said of it. `nocturne splits list` names "
            f"what is suspect; a split counts from the first session that trades at the new price."
        )


def _actions(bars: pd.DataFrame, data: DataConfig) -> Iterator[ActionSeen]:
    judged = judged_bars(bars, data)
    factors = judged.factors
    suspect = np.full(len(bars), np.nan)
    suspect_rows = np.flatnonzero(judged.kept)[judged.suspects.rows]
    suspect[suspect_rows] = judged.suspects.ratio
    told = {
        "suspect": suspect_rows,
        "contradicted": np.flatnonzero(factors.contradicted),
        "applied": np.flatnonzero(factors.price != 1),
        "dismissed": np.flatnonzero(factors.dismissed),
    }
    stated = bars["split_ratio"].to_numpy(np.float64) if "split_ratio" in bars else np.full(len(bars), np.nan)
    ratios = {"suspect": suspect, "contradicted": stated, "applied": factors.price, "dismissed": np.ones(len(bars))}
    opened, close = bars["open"].to_numpy(np.float64), bars["close"].to_numpy(np.float64)
    joins = (bars["symbol"] == bars["symbol"].shift()).to_numpy()
    for state, rows in told.items():
        for row in rows.tolist():
            ratio = float(ratios[state][row])
            yield ActionSeen.model_validate(
                {
                    "symbol": bars["symbol"].iloc[row],
                    "session": bars["session"].iloc[row].date(),
                    "state": state,
                    "ratio": ratio if np.isfinite(ratio) else None,
                    "fall": round(float(close[row - 1] / opened[row]), 4) if joins[row] else 1.0,
                }
            )
