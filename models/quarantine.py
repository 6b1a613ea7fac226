"""Rows in quarantine, and what people have decided of them. The rows themselves stay there for ever.

A release is a delivery of its own: the very lines of the file, known from the moment of the release on, so that past
nights read what they read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import pandas as pd
import pyarrow as pa

from models.errors import ConfigError
from models.locations import Locations
from models.records import DeliveryRecord, Record
from models.tables import Table

State = Literal["waiting", "released", "dropped"]
FEWEST_DIGITS: Final = 6
"""Of a delivery's SHA-256, to name it by."""
_SETTLED: Final = pa.schema(
    [
        ("delivery", pa.string()),
        ("line", pa.int64()),
        ("state", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("actor", pa.string()),
        ("reason", pa.string()),
    ]
)


class QuarantinedRow(Record):
    """One delivered row that broke the contract."""

    line: int
    """Of the file, counted from 1."""
    rule: str
    state: State
    raw: str
    """As delivered, JSON."""


class QuarantinedGroup(Record):
    """Rows of one delivery that broke the same rule first."""

    delivery: str
    name: str
    received_at: datetime
    rule: str
    waiting: int
    released: int
    dropped: int
    first_line: int
    """Of those that wait, where any does."""


class Quarantined(Record):
    """What is in quarantine: by delivery and rule, and the rows where one delivery was asked for."""

    groups: tuple[QuarantinedGroup, ...]
    rows: tuple[QuarantinedRow, ...] = ()
    more: int = 0
    """Rows of that delivery that were asked for and are not shown."""


class Settlement(Record):
    """What a person decided of some rows in quarantine."""

    delivery: str
    name: str
    rows: int
    state: State
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True)
class Settled:
    """The append-only table of what people have decided."""

    locations: Locations

    @property
    def _table(self) -> Table:
        return Table(self.locations.table("settled"), _SETTLED)

    def add(self, settlement: Settlement, lines: Iterable[int]) -> None:
        """Append it. Of two about the same row the later one counts.

        Raises:
            StoreError: the table cannot be written.
        """
        said = settlement.model_dump(include={"delivery", "state", "at", "actor", "reason"})
        self._table.append(pa.Table.from_pylist([{**said, "line": line} for line in lines], schema=_SETTLED))

    def states(self, rows: pd.DataFrame) -> "pd.Series[str]":
        """(n_rows,) state of each row, by its `delivery` and `line`."""
        said = self._table.read(["delivery", "line", "state", "at"]).to_pandas().sort_values("at", kind="stable")
        latest = said.drop_duplicates(["delivery", "line"], keep="last").drop(columns="at")
        states = rows[["delivery", "line"]].merge(latest, how="left", on=["delivery", "line"])["state"]
        return states.fillna("waiting").set_axis(rows.index)


def named_delivery(deliveries: Iterable[DeliveryRecord], name: str) -> DeliveryRecord:
    """The accepted delivery with this SHA-256 or beginning of one.

    Raises:
        ConfigError: there is none, or more than one.
    """
    accepted = {one.delivery: one for one in deliveries if one.status == "accepted"}
    found = [one for sha256, one in accepted.items() if sha256.startswith(name.lower())]
    if len(name) < FEWEST_DIGITS or len(found) != 1:
        raise ConfigError(
            f"{name!r} names {len(found)} deliveries and has {len(name)} digits: it takes one delivery, by the first "
            f"{FEWEST_DIGITS} or more digits of its SHA-256. `nocturne quarantine list` shows them."
        )
    return found[0]


def refuse_unknown_lines(rows: pd.DataFrame, lines: Iterable[int], name: str) -> None:
    """A decision is about rows that are in quarantine.

    Raises:
        ConfigError: none of these lines, or not all of them, are.
    """
    if unknown := sorted(set(lines) - set(rows["line"])):
        raise ConfigError(
            f"Of {name} line {', '.join(map(str, unknown[:10]))} is not in quarantine, or not by this rule. "
            f"`nocturne quarantine list DELIVERY` shows those that are."
        )


def refuse_released(rows: pd.DataFrame, name: str) -> None:
    """What was released is in the store, and no second decision takes it out or brings it in again.

    Args:
        rows: `line` and `state`.
        name: Of the delivered file.

    Raises:
        ConfigError: some of them were released before.
    """
    if released := sorted(rows.loc[rows["state"] == "released", "line"]):
        raise ConfigError(
            f"Of {name} line {', '.join(map(str, released[:10]))} was released before: the row is in the store, or in "
            f"quarantine by another rule, as a delivery of its own (`nocturne quarantine list`). Nothing was changed. "
            f"Where it is wrong after all, deliver the bar as it should be."
        )


def groups_of(rows: pd.DataFrame, deliveries: Iterable[DeliveryRecord]) -> tuple[QuarantinedGroup, ...]:
    """Count rows by delivery and rule, newest delivery first.

    Args:
        rows: `delivery, line, rule, state`.
        deliveries: At least those that the rows name.
    """
    known = {one.delivery: one for one in deliveries}
    groups = [
        QuarantinedGroup(
            delivery=str(delivery),
            name=known[delivery].name,
            received_at=known[delivery].received_at,
            rule=str(rule),
            waiting=int((of_it["state"] == "waiting").sum()),
            released=int((of_it["state"] == "released").sum()),
            dropped=int((of_it["state"] == "dropped").sum()),
            first_line=int((waiting if len(waiting := of_it[of_it["state"] == "waiting"]) else of_it)["line"].min()),
        )
        for (delivery, rule), of_it in rows.groupby(["delivery", "rule"], sort=True)
        if delivery in known
    ]
    return tuple(sorted(groups, key=lambda group: group.received_at, reverse=True))
