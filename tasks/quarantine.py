"""What is in quarantine, and what people decide of it: release a row as it was delivered, or drop it for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

import pandas as pd

from models.config import RetrainConfig, RuleLevels
from models.delivered_file import part_of
from models.delivery import Reading, parse
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
    refuse_unknown_lines,
)
from models.records import DeliveryRecord
from models.store import BarsStore
from tasks.ingest import take
from tasks.promote import actor


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
    if not every:
        rows = rows[rows["state"] == "waiting"]
    return Quarantined(groups=groups_of(rows, deliveries), rows=_rows(rows.iloc[:most]) if wanted else ())


def _rows(rows: pd.DataFrame) -> tuple[QuarantinedRow, ...]:
    records = rows[list(QuarantinedRow.model_fields)].to_dict("records")
    return tuple(QuarantinedRow.model_validate(row) for row in records)


def release(
    delivery: str, lines: Sequence[int], rule: str | None, reason: str, config: RetrainConfig, now: datetime
) -> DeliveryRecord:
    """Bring rows into the store as they were delivered, known from now on.

    The rule that each broke first is only told this time; all other rules are asked again. Ended in between, the same
    command goes on.

    Args:
        delivery: Beginning of its SHA-256.
        lines: Lines of its file; none takes all that broke the rule.
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
    file = store.kept_file(origin.delivery, origin.name, "to release rows of it. Nothing was released; put it back")
    reading = store.reading(origin.delivery)
    minutes = parse(file, reading).bar_minutes
    source = reading.source.model_copy(update={"bar_minutes": minutes})
    record = take(part_of(file, rows["line"].to_numpy()), _telling(config, rules, source, reading), now, now)
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
    rows = store.quarantine(origin.delivery)
    if rule is not None:
        rows = rows[rows["rule"] == rule]
    refuse_unknown_lines(rows, lines, origin.name)
    rows = rows[rows["line"].isin(lines)] if lines else rows
    if rows.empty:
        raise ConfigError(f"No row of {origin.name} is in quarantine by {rule}. See `nocturne quarantine list`.")
    return rows.drop_duplicates("line")


def _refuse_unreleasable(rules: set[str], origin: DeliveryRecord) -> None:
    lasting = sorted(rule for rule in rules if rule != "conflicting_rows" and not _can_be_told(rule))
    if lasting:
        raise ConfigError(
            f"Rows of {origin.name} that broke {', '.join(lasting)} cannot be released: they are no bars that could be "
            f"stored. Let the source mend and deliver them again, or drop them."
        )


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
