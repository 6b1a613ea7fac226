"""Deliveries into the store: received, checked by their contract, and every row accounted for."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pandas as pd
from prefect import task
from prefect.runtime import task_run

from models.calendar import Calendar, SessionArray
from models.casting import Times
from models.config import RetrainConfig
from models.credentials import without_credentials
from models.delivered_file import DeliveredFile, receive
from models.delivery import RawDelivery, Reading, known_at, parse, refuse_secret
from models.errors import DeliveryError, DeliveryStopped
from models.locations import Locations
from models.notation import ABSENT, count
from models.panel import BAR_COLUMNS
from models.records import Account, DeliveryRecord, Finding
from models.sources import Delivered, Files, Source
from models.store import BarsStore
from tasks.outside import RETRIED
from tasks.run_log import sum_up

if TYPE_CHECKING:
    from expectations.bars import BarsReport

HISTORY_SESSIONS = 30
"""Sessions before a delivery that its rows are compared with, beside those that it brings."""
_MOST_TOLD: Final = 5


def bring_in(
    uri: str, config: RetrainConfig, stated: datetime | None, now: datetime, origin: str | None = None
) -> DeliveryRecord:
    """Ingest one delivered file. The same file again changes nothing, unless it was stopped before.

    Args:
        uri: CSV or Parquet, a path or fsspec URI.
        config: How the source is read, its contract, and where the store is.
        stated: When its rows became known; None leaves that to the source's rules.
        now: The moment of arrival.
        origin: What its source calls it, where it was listed there.

    Raises:
        ConfigError: the address holds a password.
        DeliveryError: the file is missing or no table of bars.
        DeliveryStopped: it broke a rule of level stop; it is kept and recorded, none of its bars are.
        StoreError: the store cannot be read or written.
    """
    refuse_secret(uri)
    return take(receive(uri), config, stated, now, origin)


def take(
    file: DeliveredFile, config: RetrainConfig, stated: datetime | None, now: datetime, origin: str | None = None
) -> DeliveryRecord:
    """The same for a file that is here; see `bring_in`."""
    store = BarsStore(Locations(config.storage))
    with store.alone():
        return _take(file, store, config, stated, now, origin)


def new_deliveries(source: Source, config: RetrainConfig) -> tuple[Delivered, ...]:
    """What a source has delivered and the store has not taken, in the order in which it was delivered.

    A delivery that was stopped stands here again: it may have been mended, or released by a level. Not so where a later
    one has brought its last session: taken now, its rows would count over those.

    Raises:
        DeliveryError: the source cannot be listed.
        StoreError: the store cannot be read.
    """
    delivered = source.delivered()
    so_far = BarsStore(Locations(config.storage)).deliveries()
    settled = {
        one.origin
        for number, one in enumerate(so_far, start=1)
        if one.status == "accepted" or _replaced(one, so_far[number:])
    }
    return tuple(one for one in delivered if one.origin is None or one.origin not in settled)


def _replaced(stopped: DeliveryRecord, later: Sequence[DeliveryRecord]) -> bool:
    """Whether a later delivery has brought the last session of one that was stopped."""
    return any(
        one.status == "accepted"
        and one.first is not None
        and one.last is not None
        and stopped.last is not None
        and one.first <= stopped.last <= one.last
        for one in later
    )


def take_each(
    places: Sequence[str], config: RetrainConfig, take_one: Callable[[Delivered], DeliveryRecord]
) -> tuple[list[DeliveryRecord], DeliveryError | DeliveryStopped | None]:
    """What is new at some places, each taken by `take_one`; one bad delivery does not hold up those behind it.

    Args:
        places: Files, directories, globs or URI prefixes.
        config: Of the source and the store.
        take_one: Takes one delivery.

    Returns:
        The records of those that were taken, and what was wrong with the others, if anything was.
    """
    records, failures = [], []
    for place in places:
        for one in new_deliveries(Files(place, config.source.known_at_pattern), config):
            try:
                records.append(take_one(one))
            except (DeliveryError, DeliveryStopped) as error:
                failures.append(error)
    return records, _together(failures, len(records))


def _together(
    failures: Sequence[DeliveryError | DeliveryStopped], taken: int
) -> DeliveryError | DeliveryStopped | None:
    if len(failures) + taken <= 1 or not failures:
        return next(iter(failures), None)
    kind = DeliveryStopped if any(isinstance(one, DeliveryStopped) for one in failures) else DeliveryError
    more = f" And {len(failures) - _MOST_TOLD} more." if len(failures) > _MOST_TOLD else ""
    told = " ".join(str(one) for one in failures[:_MOST_TOLD])
    return kind(
        f"{len(failures)} of {len(failures) + taken} deliveries were not taken, the others are in. {told}{more}"
    )


def _take(
    file: DeliveredFile,
    store: BarsStore,
    config: RetrainConfig,
    stated: datetime | None,
    now: datetime,
    origin: str | None,
) -> DeliveryRecord:
    earlier = store.delivery(file.sha256)
    if earlier is not None and earlier.status == "accepted":
        return earlier.repetition
    if (begun := store.begun(file.sha256)) is not None:
        now, stated = begun, stated and min(stated, begun)  # what came in between came later
    raw = _parsed(file, Reading.of(config, stated), store)
    times, rule = known_at(raw, raw.reading, now)
    report = _check(raw, times, store, config, now)
    sessions = raw.frame.loc[report.broken == "", "session"]
    if report.stopped_by:  # a mistyped date is not what the store waits for
        sessions = sessions[sessions <= pd.Timestamp(raw.reading.calendar.date_of(now))]
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
        origin=origin,
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
    history, stored = _history(raw, times, store, calendar)
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
        lines=raw.line,
        stored=stored,
    )


def _history(
    raw: RawDelivery, times: Times, store: BarsStore, calendar: Calendar
) -> tuple[pd.DataFrame, SessionArray | None]:
    """Stored bars that a delivery is compared with, and where they are not of all symbols, the stored sessions.

    Of the delivery's last sessions and those before them every symbol's bars: they say who usually delivers and how
    the market moved. Of a load of many more sessions only its own symbols' bars before that, or loading twenty years
    symbol by symbol would read them all each time.
    """
    if raw.frame.empty:
        return pd.DataFrame(columns=["symbol", "session", *BAR_COLUMNS]), None
    known_by = pd.Timestamp(times.max(), tz="UTC").to_pydatetime()
    first, last = raw.frame["session"].min().date(), raw.frame["session"].max().date()
    begin, recent = calendar.after(first, -HISTORY_SESSIONS), calendar.after(last, -2 * HISTORY_SESSIONS)
    # up to its last session: a correction of three symbols does not make a complete session incomplete
    if recent <= begin:
        return store.as_known(known_by, begin, last), None
    symbols = raw.frame["symbol"].unique()
    before = store.as_known(known_by, begin, recent - timedelta(days=1), symbols)
    bars = pd.concat([before, store.as_known(known_by, recent, last)], ignore_index=True)
    return bars, store.sessions(known_by, begin, last)


def _name_of_run() -> str:
    return f"ingest {without_credentials(task_run.parameters['uri'])}"


@task(name="ingest", task_run_name=_name_of_run, **RETRIED)
def ingest_delivery(
    uri: str, config: RetrainConfig, known_at: datetime | None = None, origin: str | None = None
) -> DeliveryRecord:
    """One delivered file into the store; see `bring_in`."""
    record = bring_in(uri, config, known_at, datetime.now(UTC), origin)
    sum_up(_summary(record))
    return record


def ingest_new(places: Sequence[str], config: RetrainConfig) -> list[DeliveryRecord]:
    """The task for each delivery that is new at some places.

    Raises:
        DeliveryError: one is missing or no table of bars; the others are in.
        DeliveryStopped: one broke a rule of level stop; the others are in.
    """
    records, failure = take_each(places, config, lambda one: ingest_delivery(one.address, config, origin=one.origin))
    if failure is not None:
        raise failure
    return records


def _summary(record: DeliveryRecord) -> str:
    account = record.account
    if record.repeated:
        return f"{record.name}: ingested before, none of its {count(account.delivered)} rows is new."
    return (
        f"{record.name}: of {count(account.delivered)} rows {count(account.accepted)} accepted, "
        f"{count(account.revised)} revised, {count(account.duplicate)} duplicate and {count(account.quarantined)} "
        f"quarantined, sessions {record.first or ABSENT} to {record.last or ABSENT}."
    )
