"""What is in quarantine, and what people decide of it: release a row as it was delivered, or drop it for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, get_args

import numpy as np
import pandas as pd

from models.bar_columns import conflicting
from models.config import RetrainConfig, RuleLevels
from models.delivered_file import part_of
from models.delivery import RawDelivery, Reading, parse
from models.errors import ConfigError
from models.locations import Locations
from models.quarantine import (
    Quarantined,
    QuarantinedRow,
    Settled,
    Settlement,
    State,
    groups_of,
    named_delivery,
    refuse_released,
    refuse_unknown_lines,
)
from models.records import DeliveryRecord
from models.store import BarsStore
from tasks.ingest import take
from tasks.promote import actor

_RELEASED: Final = "quarantine of "
"""How the origin of a release begins; the delivery that it is of follows."""


def see(config: RetrainConfig, delivery: str | None, rule: str | None, every: bool, most: int) -> Quarantined:
    """What is in quarantine.

    Args:
        config: Where the store is.
        delivery: Beginning of a delivery's SHA-256, to see its rows; None counts those of all.
        rule: Only rows that broke this rule first.
        every: Released and dropped rows too, not only those that wait.
        most: Rows to show of a delivery.

    Raises:
        ConfigError: there is no such delivery.
        StoreError: the store cannot be read.
    """
    store = BarsStore(Locations(config.storage))
    deliveries = store.deliveries()
    wanted = named_delivery(deliveries, delivery) if delivery else None
    rows = store.quarantine(wanted.delivery).assign(delivery=wanted.delivery) if wanted else store.quarantined()
    rows = rows.assign(state=Settled(store.locations).states(rows))
    if rule is not None:
        rows = rows[rows["rule"] == rule]
    groups = tuple(group for group in groups_of(rows, deliveries) if every or group.waiting)
    if wanted is None:
        return Quarantined(groups=groups)
    asked = rows if every else rows[rows["state"] == "waiting"]
    return Quarantined(groups=groups, rows=_rows(asked.iloc[:most]), more=max(len(asked) - most, 0))


def _rows(rows: pd.DataFrame) -> tuple[QuarantinedRow, ...]:
    records = rows[list(QuarantinedRow.model_fields)].to_dict("records")
    return tuple(QuarantinedRow.model_validate(row) for row in records)


def release(
    delivery: str, lines: Sequence[int], rule: str | None, reason: str, config: RetrainConfig, now: datetime
) -> DeliveryRecord:
    """Bring rows into the store as they were delivered, known from now on.

    The rule that they broke first is only told this time, as are those that they were released from before; all other
    rules are asked again. Ended in between, the same command goes on.

    Args:
        delivery: Beginning of its SHA-256.
        lines: Lines of its file; none takes all that wait by the rule.
        rule: Only rows that broke this rule first.
        reason: Why, for whoever asks later.
        config: The contract, and where the store is.
        now: When the rows become known.

    Returns:
        The delivery that the released rows are.

    Raises:
        ConfigError: there are no such rows, nobody can release them, or the reason is empty.
        DeliveryStopped: they break a rule of level stop.
        StoreError: the store cannot be read or written.
    """
    store = BarsStore(Locations(config.storage))
    origin = named_delivery(store.deliveries(), delivery)
    rows = _chosen(store, origin, lines, rule, reason)
    rules = set(rows["rule"])
    _refuse_unreleasable(rules, origin)
    _refuse_mixed(rows, origin)
    file = store.kept_file(origin.delivery, origin.name, "to release rows of it. Nothing was released; put it back")
    reading = store.reading(origin.delivery)
    raw, lasting = parse(file, reading), rules | _released_from(origin)
    _refuse_contradictions(raw, rows["line"], origin)
    source = reading.source.model_copy(update={"bar_minutes": raw.bar_minutes})
    part = part_of(file, rows["line"].to_numpy())
    record = take(part, _telling(config, lasting, source, reading), now, now, f"{_RELEASED}{origin.delivery}")
    _settle(store, origin, rows, "released", reason, now)
    return record


def drop(
    delivery: str, lines: Sequence[int], rule: str | None, reason: str, config: RetrainConfig, now: datetime
) -> Settlement:
    """Say that rows are wrong for good, so that nobody is asked of them again; arguments and errors as of `release`."""
    store = BarsStore(Locations(config.storage))
    origin = named_delivery(store.deliveries(), delivery)
    return _settle(store, origin, _chosen(store, origin, lines, rule, reason), "dropped", reason, now)


def _chosen(
    store: BarsStore, origin: DeliveryRecord, lines: Sequence[int], rule: str | None, reason: str
) -> pd.DataFrame:
    if not reason.strip():
        raise ConfigError("A decision on rows in quarantine needs its reason. Say why with --reason.")
    if not lines and rule is None:
        raise ConfigError("Name the lines, or with --rule all rows that broke one rule.")
    rows = store.quarantine(origin.delivery).assign(delivery=origin.delivery)
    rows = rows.assign(state=Settled(store.locations).states(rows))
    if rule is not None:
        rows = rows[rows["rule"] == rule]
    refuse_unknown_lines(rows, lines, origin.name)
    rows = rows[rows["line"].isin(lines) if lines else rows["state"] == "waiting"]
    refuse_released(rows, origin.name)
    if rows.empty:
        raise ConfigError(
            f"No row of {origin.name} is in quarantine by {rule} and waits. See `nocturne quarantine list --all`."
        )
    return rows.drop_duplicates("line")


def _refuse_unreleasable(rules: set[str], origin: DeliveryRecord) -> None:
    lasting = sorted(rule for rule in rules if rule != "conflicting_rows" and not _can_be_told(rule))
    if lasting:
        raise ConfigError(
            f"Rows of {origin.name} that broke {', '.join(lasting)} cannot be released: they are no bars that could be "
            f"stored. Let the source mend and deliver them again, or drop them."
        )


def _refuse_mixed(rows: pd.DataFrame, origin: DeliveryRecord) -> None:
    if rows["rule"].nunique() > 1:
        told = "; ".join(
            f"{rule}: {', '.join(map(str, of_it['line'].iloc[:10]))}" for rule, of_it in rows.groupby("rule")
        )
        raise ConfigError(
            f"These lines of {origin.name} broke different rules ({told}), and each is released from its own alone. "
            f"Nothing was released; release those of each rule by themselves."
        )


def _refuse_contradictions(raw: RawDelivery, lines: "pd.Series[int]", origin: DeliveryRecord) -> None:
    """Of rows that contradict each other one can be released: together they would only come back."""
    chosen = np.isin(raw.line, lines)
    if (found := raw.line[chosen][conflicting(raw.frame[chosen])]).size:
        raise ConfigError(
            f"Lines {', '.join(map(str, found[:10]))} of {origin.name} contradict each other: same symbol and time, "
            f"other values. Nothing was released; name the one line of them that is right, and drop the others."
        )


def _released_from(origin: DeliveryRecord) -> set[str]:
    """Rules that the rows of a release were released from: asked again, two broken rules would have no end."""
    is_release = origin.origin is not None and origin.origin.startswith(_RELEASED)
    return {found.rule for found in origin.findings if found.level == "warn"} if is_release else set()


def _can_be_told(rule: str) -> bool:
    level = RuleLevels.model_fields.get(rule)
    return level is not None and "warn" in get_args(level.annotation)


def _telling(config: RetrainConfig, rules: set[str], source: object, reading: Reading) -> RetrainConfig:
    """The configuration with which these rules are only told, and the rows are read as they were."""
    levels = config.contract.levels.model_copy(update={rule: "warn" for rule in rules if _can_be_told(rule)})
    return config.model_copy(
        update={
            "source": source,
            "data": config.data.model_copy(update={"exchange": reading.exchange}),
            "contract": config.contract.model_copy(update={"levels": levels}),
        }
    )


def _settle(
    store: BarsStore, origin: DeliveryRecord, rows: pd.DataFrame, state: State, reason: str, now: datetime
) -> Settlement:
    settlement = Settlement(
        delivery=origin.delivery, name=origin.name, rows=len(rows), state=state, reason=reason, actor=actor(), at=now
    )
    Settled(store.locations).add(settlement, rows["line"].tolist())
    return settlement
