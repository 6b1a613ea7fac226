"""Deliveries into the store: received, checked by their contract, and every row accounted for."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.runtime import task_run

from models.calendar import Calendar
from models.casting import Times
from models.config import RetrainConfig
from models.credentials import without_credentials
from models.delivered_file import DeliveredFile, receive
from models.delivery import RawDelivery, Reading, known_at, parse, refuse_secret
from models.errors import DeliveryStopped
from models.locations import Locations
from models.notation import ABSENT, count
from models.panel import BAR_COLUMNS
from models.records import Account, DeliveryRecord, Finding
from models.store import BarsStore
from tasks.outside import RETRIED
from tasks.run_log import sum_up

if TYPE_CHECKING:
    from expectations.bars import BarsReport

HISTORY_SESSIONS = 30
"""Sessions before a delivery that its rows are compared with, beside those that it brings."""


def bring_in(uri: str, config: RetrainConfig, stated: datetime | None, now: datetime) -> DeliveryRecord:
    """Ingest one delivered file. The same file again changes nothing, unless it was stopped before.

    Args:
        uri: CSV or Parquet, a path or fsspec URI.
        config: How the source is read, its contract, and where the store is.
        stated: When its rows became known; None leaves that to the source's rules.
        now: The moment of arrival.

    Raises:
        ConfigError: the address holds a password.
        DeliveryError: the file is missing or no table of bars.
        DeliveryStopped: it broke a rule of level stop; it is kept and recorded, none of its bars are.
        StoreError: the store cannot be read or written.
    """
    refuse_secret(uri)
    store = BarsStore(Locations(config.storage))
    file = receive(uri)
    with store.alone():
        return _take(file, store, config, stated, now)


def _take(
    file: DeliveredFile, store: BarsStore, config: RetrainConfig, stated: datetime | None, now: datetime
) -> DeliveryRecord:
    earlier = store.delivery(file.sha256)
    if earlier is not None and earlier.status == "accepted":
        return earlier.repetition
    raw = _parsed(file, Reading.of(config, stated), store)
    times, rule = known_at(raw, raw.reading, now)
    report = _check(raw, times, store, config, now)
    sessions = raw.frame.loc[report.broken == "", "session"]
    record = DeliveryRecord(
        delivery=file.sha256,
        name=file.name,
        status="stopped" if report.stopped_by else "accepted",
        known_at_rule=rule,
        received_at=now,
        first=sessions.min().date() if len(sessions) else None,
        last=sessions.max().date() if len(sessions) else None,
        account=Account(),
        findings=report.findings,
    )
    store.keep_file(file)
    if not report.stopped_by:
        return store.accept(raw, times, report.broken, record)
    if earlier is None:
        store.record(record, raw, times)
    raise DeliveryStopped(_why_stopped(raw, report))


def _parsed(file: DeliveredFile, reading: Reading, store: BarsStore) -> RawDelivery:
    """The delivery as read; where the store holds intraday bars of its sessions, as bars of their length."""
    raw = parse(file, reading)
    if not raw.has_times:
        return raw
    lengths = _earlier(raw, store)["minutes"].unique()
    if not len(lengths) or raw.bar_minutes == lengths[0]:
        return raw
    return parse(file, reading.with_bar_minutes(float(lengths[0]), raw.bar_minutes, file.name))


def _earlier(raw: RawDelivery, store: BarsStore) -> pd.DataFrame:
    """Stored intraday bars of the symbols and sessions of a delivery."""
    days = raw.frame["session"].dt.date
    return store.intraday(raw.frame["symbol"].dropna().unique(), days.min(), days.max())


def _why_stopped(raw: RawDelivery, report: "BarsReport") -> str:
    from expectations.bars import level_that_releases

    unreadable = ""
    if len(raw.unreadable):
        line = int(raw.unreadable[0])
        unreadable = (
            f"{len(raw.unreadable)} of its lines could not be read, the first of them line {line}: "
            f"{raw.raw(raw.unreadable[:1])[0][:300]} (see source.timestamp_format and source.columns). "
        )
    released = " ".join(
        f"--set contract.levels.{found.rule}={level}"
        for found in report.stopped_by
        if (level := level_that_releases(found.rule)) is not None
    )
    return (
        f"The delivery {raw.file.name} was stopped and none of its {raw.delivered} rows stored; the champion stays. "
        f"{' '.join(_told(found) for found in report.stopped_by)} {unreadable}Ask the source for a complete file"
        f"{f'; or, if it is right as it is, deliver it again with {released}' if released else ''}. "
        f"It is kept as deliveries/{raw.file.sha256[:12]}…"
    )


def _told(found: Finding) -> str:
    return f"{found.rule}: {found.why}" + (f" ({', '.join(found.examples)})" if found.examples else "")


def _check(raw: RawDelivery, times: Times, store: BarsStore, config: RetrainConfig, now: datetime) -> "BarsReport":
    from expectations.bars import Intraday, check_bars

    calendar = Calendar.of(config.data)
    intraday = None if raw.bar_minutes is None else Intraday(raw.bar_minutes, _earlier(raw, store))
    history = pd.DataFrame(columns=["symbol", "session", *BAR_COLUMNS])
    if len(raw.frame):
        first, last = raw.frame["session"].min().date(), raw.frame["session"].max().date()
        known_by = pd.Timestamp(times.max(), tz="UTC").to_pydatetime()
        # up to its last session: a correction of three symbols does not make a complete session incomplete
        history = store.as_known(known_by, calendar.after(first, -HISTORY_SESSIONS), last)
    return check_bars(
        raw.frame if raw.known_at is None else raw.frame.assign(known_at=times),
        history,
        calendar=calendar,
        contract=config.contract,
        source=config.source,
        now=now,
        name=raw.file.name,
        docs=store.locations.data_docs,
        data=config.data,
        intraday=intraday,
    )


def _name_of_run() -> str:
    return f"ingest {without_credentials(task_run.parameters['uri'])}"


@task(name="ingest", task_run_name=_name_of_run, **RETRIED)
def ingest_delivery(uri: str, config: RetrainConfig, known_at: datetime | None = None) -> DeliveryRecord:
    """One delivered file into the store; see `bring_in`."""
    record = bring_in(uri, config, known_at, datetime.now(UTC))
    sum_up(_summary(record))
    return record


def _summary(record: DeliveryRecord) -> str:
    account = record.account
    if record.repeated:
        return f"{record.name}: ingested before, none of its {count(account.delivered)} rows is new."
    return (
        f"{record.name}: of {count(account.delivered)} rows {count(account.accepted)} accepted, "
        f"{count(account.revised)} revised, {count(account.duplicate)} duplicate and {count(account.quarantined)} "
        f"quarantined, sessions {record.first or ABSENT} to {record.last or ABSENT}."
    )
