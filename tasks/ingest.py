"""Deliveries into the store: received, checked by their contract, and every row accounted for."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task

from models.calendar import Calendar
from models.casting import Times
from models.config import RetrainConfig
from models.delivered_file import receive
from models.delivery import RawDelivery, Reading, known_at, parse
from models.errors import DeliveryStopped
from models.locations import Locations
from models.panel import BAR_COLUMNS
from models.records import Account, DeliveryRecord
from models.store import BarsStore
from tasks.outside import RETRIED

if TYPE_CHECKING:
    from expectations.bars import BarsReport

HISTORY_SESSIONS = 30
"""Sessions before a delivery that its rows are compared with."""


def bring_in(uri: str, config: RetrainConfig, stated: datetime | None, now: datetime) -> DeliveryRecord:
    """Ingest one delivered file. The same file again changes nothing, unless it was stopped before.

    Args:
        uri: CSV or Parquet, a path or fsspec URI.
        config: How the source is read, its contract, and where the store is.
        stated: When its rows became known; None leaves that to the source's rules.
        now: The moment of arrival.

    Raises:
        DeliveryError: the file is missing or no table of bars.
        DeliveryStopped: it broke a rule of level stop; it is kept and recorded, none of its bars are.
        StoreError: the store cannot be read or written.
    """
    store = BarsStore(Locations(config.storage))
    file = receive(uri)
    earlier = store.delivery(file.sha256)
    if earlier is not None and earlier.status == "accepted":
        rows = earlier.account.delivered
        again = Account(delivered=rows, duplicate=rows)
        return earlier.model_copy(update={"repeated": True, "account": again})
    reading = Reading.of(config, stated)
    raw = parse(file, reading)
    times, rule = known_at(raw, reading, now)
    report = _check(raw, times, store, config, now)
    record = DeliveryRecord(
        delivery=file.sha256,
        name=file.name,
        status="stopped" if report.stopped_by else "accepted",
        known_at_rule=rule,
        received_at=now,
        first=raw.frame["session"].min().date() if len(raw.frame) else None,
        last=raw.frame["session"].max().date() if len(raw.frame) else None,
        account=Account(),
        findings=report.findings,
    )
    store.keep_file(file)
    if not report.stopped_by:
        return store.accept(raw, times, report.broken, record)
    if earlier is None:
        store.record(record)
    raise DeliveryStopped(
        f"The delivery {file.name} was stopped and none of its {raw.delivered} rows stored; the champion stays. "
        f"{' '.join(f'{found.rule}: {found.why}' for found in report.stopped_by)} Ask the source for a complete file; "
        f"or, if it is right as it is, deliver it again with --set "
        f"contract.levels.{report.stopped_by[0].rule}=warn. It is kept as deliveries/{file.sha256[:12]}…"
    )


def _check(raw: RawDelivery, times: Times, store: BarsStore, config: RetrainConfig, now: datetime) -> "BarsReport":
    from expectations.bars import check_bars

    calendar = Calendar.of(config.data)
    history = pd.DataFrame(columns=["symbol", "session", *BAR_COLUMNS])
    if len(raw.frame):
        first = raw.frame["session"].min().date()
        known_by = pd.Timestamp(times.max(), tz="UTC").to_pydatetime()
        history = store.as_known(known_by, calendar.after(first, -HISTORY_SESSIONS), first - timedelta(days=1))
    return check_bars(
        raw.frame if raw.known_at is None else raw.frame.assign(known_at=times),
        history,
        calendar=calendar,
        contract=config.contract,
        source=config.source,
        now=now,
        name=raw.file.name,
        docs=store.locations.data_docs,
        jump_limit=config.data.jump_limit,
    )


@task(name="ingest", task_run_name="ingest {uri}", **RETRIED)
def ingest_delivery(uri: str, config: RetrainConfig, known_at: datetime | None = None) -> DeliveryRecord:
    """One delivered file into the store; see `bring_in`."""
    return bring_in(uri, config, known_at, datetime.now(UTC))
