"""Which rows tonight reads, and so which night it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from prefect import get_run_logger, task

from models.calendar import Calendar
from models.config import RetrainConfig, StorageConfig
from models.errors import DeliveryError
from models.locations import Locations
from models.market import market_of
from models.night import NightFiles, NightRecord
from models.notation import count, moment
from models.records import Snapshot
from models.store import BarsStore
from tasks.outside import RETRIED
from tasks.run_log import sum_up


@task(name="take snapshot", **RETRIED)
def take_snapshot(session: date | None, config: RetrainConfig) -> NightRecord:
    """The night of a session: its rows as known then, written where every worker can reach them.

    Raises:
        DeliveryError: the store is empty.
        StoreError: it cannot be read or written.
    """
    night = identify_night(session, config, datetime.now(UTC))
    sum_up(f"Night {night.night_id} of {night.snapshot.session}: {_summary(night.snapshot)}.")
    return night


def _summary(snapshot: Snapshot) -> str:
    if not snapshot.rows:
        return f"no bars were known by {moment(snapshot.as_of)}"
    return (
        f"{count(snapshot.rows)} bars of {count(snapshot.symbols)} symbols from {snapshot.first} to {snapshot.last}, "
        f"as known by {moment(snapshot.as_of)}"
    )


@contextmanager
def only_run_of(night: NightRecord, config: RetrainConfig) -> Iterator[None]:
    """Keep a second run of the same night waiting until this one has ended; it then finds what was decided."""
    files = NightFiles(Locations(config.storage), night.night_id)
    log = get_run_logger()
    with files.alone(lambda: log.info("night %s is being run by another process; waiting for its end", night.night_id)):
        yield


def identify_night(session: date | None, config: RetrainConfig, now: datetime, write: bool = True) -> NightRecord:
    """The night of a session, seen from this moment; `write` leaves its rows for the stages that follow."""
    locations = Locations(config.storage)
    store = BarsStore(locations)
    session = session or store.newest_session(config.data)
    if session is None:
        raise DeliveryError(
            f"No bars in {locations.table('bars')}: there is nothing to train on. "
            f"Bring a delivery in with `nocturne ingest PATH`, or try `nocturne retrain --demo`."
        )
    as_of = min(now, Calendar.of(config.data).as_of(session))
    bars, snapshot = store.snapshot(session, as_of, config)
    night = NightRecord.of(snapshot, config)
    files = NightFiles(locations, night.night_id)
    if files.has("night.json"):
        return files.read_record("night", NightRecord)
    if write and len(bars):
        market = market_of(store, bars, config.data, as_of)
        files.write_frame("bars", bars)
        files.write_frame("market", market.rename("market_return").rename_axis("session").reset_index())
        files.write_record("config", config.model_copy(update={"storage": StorageConfig()}))
        files.write_record("night", night)  # the last: where it is, all is
    return night
