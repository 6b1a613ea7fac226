"""The bars store: append-only facts, each with the time at which it became known.

Nothing is ever updated: a revision is one more row. What was known at K is, for each symbol and session, the row with
the largest `known_at` ≤ K, so any rows that were ever trained on can be read again.

A delivery is written in this order: the raw file, quarantine, intraday bars, bars, and last its row in `deliveries`,
which says that all is there. Each write carries the delivery's name and happens once, so a crash in between is mended
by ingesting the same file again.

A row that repeats the fact before it is not stored. When a later arrival comes between the two, the kept file is read
again and the row becomes a fact after all, so that the order of arrival never decides what was known.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import fsspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from models.alone import alone
from models.calendar import Calendar, SessionArray
from models.casting import Times
from models.completeness import coverage_of, share_of_usual
from models.config import DataConfig, RetrainConfig
from models.delivered_file import DeliveredFile
from models.delivery import BULK_LOAD, RawDelivery, Reading, parse
from models.delivery import known_at as times_known
from models.errors import StoreError
from models.facts import VALUES, in_order, repeated_on_arrival, sort_out
from models.intake import PART_COLUMNS, Intake, Stored, of_daily_bars, of_intraday_bars
from models.last_known import last_known
from models.locations import Locations, open_at, write_whole
from models.records import Account, DeliveryRecord, Finding, Snapshot
from models.rulings import Rulings
from models.tables import Table
from models.universe import ended_series, members, members_on, sessions_before

_MOMENT: Final = pa.timestamp("us", tz="UTC")
_BARS: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.date32()),
        ("timestamp", _MOMENT),
        ("known_at", _MOMENT),
        ("delivery", pa.string()),
        ("sequence", pa.int64()),
        *((name, pa.float64()) for name in VALUES),
    ]
)
_INTRADAY: Final = pa.schema([*(_BARS.field(name) for name in PART_COLUMNS[:-1]), ("minutes", pa.float64())])
_QUARANTINE: Final = pa.schema(
    [("delivery", pa.string()), ("line", pa.int64()), ("rule", pa.string()), ("raw", pa.string())]
)
_DELIVERIES: Final = pa.schema(
    [
        ("sequence", pa.int64()),
        *((name, pa.string()) for name in ("delivery", "name", "status", "known_at_rule")),
        ("received_at", _MOMENT),
        ("first", pa.date32()),
        ("last", pa.date32()),
        ("account", pa.string()),
        ("findings", pa.string()),
        ("reading", pa.string()),
        ("known_until", _MOMENT),
        ("origin", pa.string()),
    ]
)
_MARKET: Final = pa.schema(
    [("session", pa.date32()), ("market_return", pa.float64()), ("as_of", _MOMENT), ("sequence", pa.int64())]
)
_PREDICTIONS: Final = pa.schema(
    [
        ("session", pa.date32()),
        ("symbol", pa.string()),
        ("version", pa.string()),
        *((name, pa.float64()) for name in ("p_up", "volatility", "magnitude")),
        ("made_at", _MOMENT),
    ]
)


class BarsStore:
    """Bars, quarantine, deliveries, market and predictions, as Delta tables."""

    def __init__(self, locations: Locations) -> None:
        self.locations = locations
        self._bars = Table(locations.table("bars"), _BARS)
        self._intraday = Table(locations.table("intraday"), _INTRADAY)
        self._quarantine = Table(locations.table("quarantine"), _QUARANTINE)
        self._deliveries = Table(locations.table("deliveries"), _DELIVERIES)
        self._market = Table(locations.table("market"), _MARKET)
        self._predictions = Table(locations.table("predictions"), _PREDICTIONS)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other ingests out: what a delivery says that is new depends on all that came before it."""
        with ExitStack() as held:
            try:
                held.enter_context(alone(self.locations.deliveries))
            except OSError as error:
                raise StoreError(
                    f"Deliveries cannot be kept at {self.locations.deliveries}: {error}. Nothing was ingested. "
                    f"Check that the place is there and writable."
                ) from error
            yield

    def keep_file(self, file: DeliveredFile) -> None:
        """Keep the delivered bytes as `deliveries/<sha256>`; they appear whole or not at all."""
        uri = f"{self.locations.deliveries}/{file.sha256}"
        try:
            filesystem, path = fsspec.core.url_to_fs(uri)
            if not filesystem.exists(path) or filesystem.size(path) != len(file.data):  # a power cut can shorten it
                write_whole(uri, file.data)
                for left in filesystem.glob(f"{path}.*.part"):  # by a process that was killed: this one is alone here
                    filesystem.rm_file(left)
        except OSError as error:
            raise StoreError(
                f"The delivered file {file.name} cannot be kept at {uri}: {error}. Nothing was ingested. "
                f"Check that the place is there, writable and not full."
            ) from error

    def accept(
        self, raw: RawDelivery, known_at: Times, broken: npt.NDArray[np.object_], record: DeliveryRecord
    ) -> DeliveryRecord:
        """Store a checked delivery: sound rows that say something new, the others in quarantine, all accounted for.

        Args:
            raw: The delivery as read.
            known_at: (n_rows,) datetime64[us] UTC.
            broken: (n_rows,) first broken rule of each row, empty text for a sound one.
            record: All but its account.

        Raises:
            StoreError: a table cannot be read or written, or an interrupted try of this delivery left other rows.
        """
        sound = broken == ""
        sequence = self._next_sequence(record.received_at)
        rows = in_order(raw.frame[sound], known_at[sound], record.delivery, sequence)
        stored = Stored(*(self._around(rows, table, record.delivery) for table in (self._bars, self._intraday)))
        load = record.received_at if record.known_at_rule == BULK_LOAD else None
        if raw.bar_minutes is None:
            intake = of_daily_bars(rows, stored, load, raw.reading.calendar)
        else:
            intake = of_intraday_bars(rows, raw.bar_minutes, stored, load, raw.reading.calendar)
        told = np.concatenate([broken[broken != ""], np.full(len(raw.unreadable), "unreadable", object)])
        account = Account(
            delivered=raw.delivered,
            accepted=int(intake.fates.accepted.sum()),
            revised=int(intake.fates.revised.sum()),
            duplicate=int(intake.fates.duplicate.sum()),
            quarantined=len(told),
            by_rule={str(rule): int(count) for rule, count in zip(*np.unique(told, return_counts=True), strict=True)},
        )
        lines = np.concatenate([raw.line[~sound], raw.unreadable]).astype(np.int64)
        columns = [[record.delivery] * len(lines), lines, told.tolist(), raw.raw(lines) if len(lines) else []]
        self._write_once(self._quarantine, pa.table(columns, schema=_QUARANTINE), ["line", "rule"], record)
        parts = pa.Table.from_pandas(intake.parts, schema=_INTRADAY, preserve_index=False)
        self._write_once(self._intraday, parts, ["symbol", "timestamp", *VALUES[:-1]], record)
        bars = pd.concat([intake.bars, self._facts_after_all(intake, stored, record.delivery)], ignore_index=True)
        table = pa.Table.from_pandas(bars, schema=_BARS, preserve_index=False)
        self._write_once(self._bars, table, ["symbol", "session", *VALUES], record)
        return self.record(record.model_copy(update={"account": account}), raw, known_at)

    def begun(self, sha256: str) -> datetime | None:
        """When a delivery arrived whose ingest was interrupted after its first rows; None where none was."""
        for table in (self._bars, self._intraday):
            if table.wrote(sha256):
                sequence = table.read(["sequence"], ds.field("delivery") == sha256)["sequence"]
                return datetime.fromtimestamp(pc.min(sequence).as_py() / 1_000_000, UTC)
        if not self._quarantine.wrote(sha256):
            return None
        filesystem, path = fsspec.core.url_to_fs(f"{self.locations.deliveries}/{sha256}")
        kept: datetime = filesystem.modified(path)
        return kept

    def record(self, record: DeliveryRecord, raw: RawDelivery, known_at: Times) -> DeliveryRecord:
        """Add a delivery to the table of deliveries, with all that it takes to read its file in the same way again.

        Where another process has recorded the same meanwhile, as it can on a store without locks, it is a repetition.
        """
        latest = pd.Timestamp(known_at.max(), tz="UTC") if len(known_at) else None
        kept = {"delivery", "name", "status", "known_at_rule", "received_at", "first", "last", "origin"}
        row = record.model_dump(include=kept)
        row |= {
            "sequence": self._next_sequence(record.received_at),
            "account": record.account.model_dump_json(),
            "findings": json.dumps([finding.model_dump(mode="json") for finding in record.findings]),
            "reading": raw.reading.model_dump_json(),
            "known_until": record.received_at if record.known_at_rule == BULK_LOAD else latest,
        }
        rows = pa.Table.from_pylist([row], schema=_DELIVERIES)
        first = self._deliveries.append(rows, once=f"{record.delivery}/{record.status}")
        return record if first else record.repetition

    def deliveries(self) -> tuple[DeliveryRecord, ...]:
        """All deliveries in the order in which they came; a file that was stopped first may stand twice."""
        rows = self._deliveries.read().sort_by("sequence")
        rows = rows.drop_columns(["sequence", "reading", "known_until"]).to_pylist()
        return tuple(
            DeliveryRecord(
                **{
                    **row,
                    "account": Account.model_validate_json(row["account"]),
                    "findings": tuple(Finding(**finding) for finding in json.loads(row["findings"])),
                }
            )
            for row in rows
        )

    def delivery(self, sha256: str) -> DeliveryRecord | None:
        """What became of this file, the last time it came."""
        return next((one for one in reversed(self.deliveries()) if one.delivery == sha256), None)

    def reading(self, sha256: str) -> Reading:
        """How an accepted delivery was read."""
        where = (ds.field("delivery") == sha256) & (ds.field("status") == "accepted")
        return Reading.model_validate_json(self._deliveries.read(["reading"], where)["reading"][0].as_py())

    def kept_file(self, sha256: str, name: str, needed: str) -> DeliveredFile:
        """A delivered file as it came.

        Args:
            sha256: Its name in the store.
            name: The name that it came under.
            needed: What for, and what to do without: the end of a sentence.

        Raises:
            StoreError: it cannot be read or was changed.
        """
        uri = f"{self.locations.deliveries}/{sha256}"
        try:
            with open_at(uri) as kept:
                file = DeliveredFile(name, kept.read())
        except OSError as error:
            raise StoreError(
                f"The kept delivery {uri} ({name}) cannot be read: {error}. It is needed {needed}."
            ) from error
        if file.sha256 != sha256:
            raise StoreError(
                f"The kept delivery {uri} ({name}) was changed: it no longer has the SHA-256 that it is named by. It "
                f"is needed {needed}."
            )
        return file

    def quarantined(self) -> pd.DataFrame:
        """`delivery, line, rule` of all rows in quarantine."""
        frame: pd.DataFrame = self._quarantine.read(["delivery", "line", "rule"]).to_pandas()
        return frame.sort_values(["delivery", "line"], ignore_index=True)

    def quarantine(self, delivery: str) -> pd.DataFrame:
        """`line, rule, raw` of a delivery's rows in quarantine."""
        rows = self._quarantine.read(where=ds.field("delivery") == delivery).drop_columns("delivery")
        frame: pd.DataFrame = rows.sort_by("line").to_pandas()
        return frame

    def intraday(self, symbols: Iterable[str], first: date, last: date) -> pd.DataFrame:
        """Intraday bars as delivered, of these symbols and sessions.

        Returns:
            `symbol, session, timestamp, known_at, delivery, sequence`, prices, volume, optional columns and `minutes`.
        """
        where = (ds.field("session") >= first) & (ds.field("session") <= last) & _among(symbols)
        return _frame(self._intraday.read(where=where))

    def last_session(self) -> date | None:
        """The newest session of which there is a bar."""
        last: date | None = pc.max(self._bars.read(["session"])["session"]).as_py()
        return last

    def newest_session(self, data: DataConfig) -> date | None:
        """The exchange's session of the newest bar; one of a day without a session counts to the session before."""
        last = self.last_session()
        return last and Calendar.of(data).session_at_or_before(last)

    def as_known(
        self,
        as_of: datetime,
        first: date | None = None,
        last: date | None = None,
        symbols: Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Canonical bars as known then, sorted by symbol and session, one row each; `ruling` where a person ruled.

        Args:
            as_of: What became known later does not exist.
            first: First session to read; all when None.
            last: Last session to read; all when None.
            symbols: Those to read; all when None.
        """
        where = _known(as_of, first, last)
        if symbols is not None:
            where &= _among(symbols)
        return Rulings(self.locations).on(last_known(self._bars.blocks(where)), as_of)

    def of_universe(self, as_of: datetime, first: date, last: date, data: DataConfig) -> pd.DataFrame:
        """Bars as known then, with the column `member` where a universe is configured (`models/universe.py`).

        Raises:
            ConfigError: the list of members cannot be read.
            StoreError: the store cannot be read.
        """
        if not data.universe.asks:
            return self.as_known(as_of, first, last)
        bars = self.as_known(as_of, self._back(as_of, first, sessions_before(data.universe)), last)
        bars = bars.assign(member=members(bars, data))
        return bars[bars["session"] >= pd.Timestamp(first)].reset_index(drop=True)

    def _back(self, as_of: datetime, first: date, n_sessions: int) -> date:
        """The session so many before the first one, those left out of which no bar was known: so members count them.

        By the calendar alone, who belongs after a hole in the store would depend on how far back is read.
        """
        if not n_sessions:
            return first
        before = self.sessions(as_of, date.min, first - timedelta(days=1))[-n_sessions:]
        begin: date = before[0].item() if len(before) else first
        return begin

    def sessions(self, as_of: datetime, first: date, last: date) -> SessionArray:
        """Sessions from first to last of which some bar was known then, datetime64[D], ascending."""
        known = self._bars.distinct("session", _known(as_of, first, last))
        days: SessionArray = known.to_numpy(zero_copy_only=False).astype("datetime64[D]")
        return days

    def facts(self) -> pd.DataFrame:
        """Every fact: what each row that became known said anew of its symbol and session.

        A fact may stand in more than one row, where one that was known earlier was delivered later. However the
        deliveries came, the facts are the same.

        Returns:
            `symbol, session, timestamp, known_at, delivery, sequence`, prices, volume and optional columns, sorted by
            symbol, session and `known_at`.
        """
        rows = _frame(self._bars.read(_BARS.names))
        ordered = rows.sort_values(["symbol", "session", "known_at", "sequence"], ignore_index=True)
        return ordered[~sort_out(ordered, ordered.iloc[:0]).duplicate].reset_index(drop=True)

    def snapshot(self, session: date, as_of: datetime, config: RetrainConfig) -> tuple[pd.DataFrame, Snapshot]:
        """The bars that a night reads, and their name: the content decides, never a table version."""
        first = Calendar.of(config.data).after(session, 1 - config.data.lookback_sessions)
        bars = self.of_universe(as_of, first, session, config.data)
        ended = ended_series(bars, session, config.data)
        return bars, Snapshot(
            session=session,
            as_of=as_of,
            hash=content_hash(bars),
            rows=len(bars),
            first=bars["session"].min().date() if len(bars) else session,
            last=bars["session"].max().date() if len(bars) else session,
            symbols=bars["symbol"].nunique(),
            completeness=share_of_usual(bars, session),
            coverage=coverage_of(bars, session),
            members=members_on(bars, session),
            ended=int(ended.sum()),
            ended_rows=float(ended[bars["symbol"]].mean()) if len(bars) else None,
        )

    def record_market(self, market: "pd.Series[float]", as_of: datetime) -> None:
        """Store the market's returns by session where they are new or differ from what was known.

        Args:
            market: By session, datetime64[s].
            as_of: The night's; of two values at the same time the one recorded later counts.
        """
        known = self.market_as_known(as_of).reindex(market.index)
        fresh = market[~(known == market)]
        if len(fresh):
            rows = {
                "session": pd.DatetimeIndex(fresh.index).date,
                "market_return": fresh.to_numpy(),
                "as_of": [as_of] * len(fresh),
                "sequence": [1 + (pc.max(self._market.read(["sequence"])["sequence"]).as_py() or 0)] * len(fresh),
            }
            self._market.append(pa.table(rows, schema=_MARKET))

    def market_as_known(self, as_of: datetime) -> "pd.Series[float]":
        """The market's median log return by session (datetime64[s]), as computed by nights up to then."""
        rows = self._market.read(where=ds.field("as_of") <= pa.scalar(as_of, _MOMENT)).to_pandas()
        rows = rows.sort_values(["as_of", "sequence"])
        latest = rows.drop_duplicates("session", keep="last").sort_values("session")
        return pd.Series(
            latest["market_return"].to_numpy(), index=pd.DatetimeIndex(latest["session"].astype("datetime64[s]"))
        )

    def publish_predictions(self, predictions: pd.DataFrame, made_at: datetime) -> bool:
        """Write the predictions of one session and version, once; False where they were there before."""
        session, version = predictions["session"].iloc[0].date(), predictions["version"].iloc[0]
        complete = predictions.reindex(columns=_PREDICTIONS.names[:-1]).assign(made_at=pd.Timestamp(made_at))
        rows = pa.Table.from_pandas(complete, schema=_PREDICTIONS, preserve_index=False)
        return self._predictions.append(rows, once=f"{session}/{version}")

    def predictions(self, session: date) -> pd.DataFrame:
        """All predictions that were published for a session."""
        published: pd.DataFrame = self._predictions.read(where=ds.field("session") == session).to_pandas()
        return published

    def _around(self, rows: pd.DataFrame, table: Table, without: str) -> pd.DataFrame:
        """Rows of a table of these sessions and symbols, but those that an interrupted try of the delivery left."""
        if rows.empty:
            return _frame(table.schema.empty_table())
        where = (ds.field("delivery") != without) & _among(rows["symbol"].unique())
        where &= ds.field("session") >= rows["session"].min().date()
        where &= ds.field("session") <= rows["session"].max().date()
        return _frame(table.read(where=where))

    def _facts_after_all(self, intake: Intake, stored: Stored, delivery: str) -> pd.DataFrame:
        """Rows of earlier deliveries that were known later than these and differ from them.

        They were left out when they came, as repetitions of the fact before; now another fact stands between.
        """
        revised = intake.revised
        if not len(revised):
            return revised
        where = (
            (ds.field("status") == "accepted")
            & (ds.field("known_until") > pa.scalar(revised["known_at"].min(), _MOMENT))
            & (ds.field("first") <= revised["session"].max().date())
            & (ds.field("last") >= revised["session"].min().date())
            & (ds.field("delivery") != delivery)
        )
        known_later = self._deliveries.read(where=where).to_pylist()
        keys = revised[["symbol", "session"]].drop_duplicates()
        in_parts = set(stored.parts["delivery"])  # their bars were made again
        repeats = [
            self._sound_rows(row, stored.facts).merge(keys, on=["symbol", "session"])
            for row in known_later
            if Account.model_validate_json(row["account"]).duplicate and row["delivery"] not in in_parts
        ]
        if not repeats:
            return revised.iloc[:0]
        rows = pd.concat(repeats, ignore_index=True)
        return rows[sort_out(rows, pd.concat([stored.facts, intake.bars], ignore_index=True)).revised]

    def _sound_rows(self, delivery: Mapping[str, Any], facts: pd.DataFrame) -> pd.DataFrame:
        """What a delivery brought when it came, read from its kept file; `facts` hold what was stored of it."""
        needed = "because a delivery has come out of order. Nothing was ingested; put the file back and ingest again"
        file = self.kept_file(delivery["delivery"], delivery["name"], needed)
        raw = parse(file, Reading.model_validate_json(delivery["reading"]))
        known_at, rule = times_known(raw, raw.reading, delivery["received_at"])
        sound = ~np.isin(raw.line, self.quarantine(file.sha256)["line"])
        rows = in_order(raw.frame[sound], known_at[sound], file.sha256, delivery["sequence"])
        return repeated_on_arrival(rows, facts, delivery["received_at"]) if rule == BULK_LOAD else rows

    def _write_once(self, table: Table, rows: pa.Table, said: list[str], record: DeliveryRecord) -> None:
        """Write a delivery's rows; where an interrupted try has written them, make sure that they are these."""
        if not table.wrote(record.delivery):
            if len(rows):
                table.append(rows, once=record.delivery)
            return
        there = table.read(["delivery", *said], ds.field("delivery") == record.delivery)
        mine = rows.filter(pc.equal(rows["delivery"], record.delivery)).select(["delivery", *said])
        by = [(name, "ascending") for name in said]
        if not there.sort_by(by).equals(mine.sort_by(by)):
            raise StoreError(
                f"An interrupted ingest of {record.name} left {len(there)} rows in {table.uri} that are not the "
                f"{len(mine)} of now: its source or contract is configured differently. Nothing was changed; ingest "
                f"it again with the configuration of the first time."
            )

    def _next_sequence(self, received_at: datetime) -> int:
        """Orders deliveries as they came: microseconds of arrival, so that two writers at once differ as well."""
        latest = pc.max(self._deliveries.read(["sequence"])["sequence"]).as_py() or 0
        return max(int(pd.Timestamp(received_at).timestamp() * 1_000_000), latest + 1)


def content_hash(bars: pd.DataFrame) -> str:
    """SHA-256 over symbols, sessions and values of canonical bars, in their order."""
    codes, symbols = pd.factorize(bars["symbol"])
    digest = hashlib.sha256("\n".join(symbols).encode())
    digest.update(codes.astype(np.int32).tobytes())
    digest.update(bars["session"].to_numpy("datetime64[D]").astype(np.int32).tobytes())
    for name in (*VALUES, "ruling", "member"):
        if name in bars:
            digest.update(name.encode() + (bars[name].to_numpy(np.float64) + 0.0).tobytes())
    return digest.hexdigest()


def _known(as_of: datetime, first: date | None, last: date | None) -> ds.Expression:
    where = ds.field("known_at") <= pa.scalar(as_of, _MOMENT)
    if first is not None:
        where &= ds.field("session") >= first
    if last is not None:
        where &= ds.field("session") <= last
    return where


def _among(symbols: Iterable[str]) -> ds.Expression:
    """Said as a range too: by that a reader passes over files of other symbols."""
    names = sorted(symbols)
    field = ds.field("symbol")
    return field.isin(names) & (field >= names[0]) & (field <= names[-1]) if names else ds.scalar(False)


def _frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of the bars, whole or in parts, their sessions as datetime64[s]."""
    frame: pd.DataFrame = rows.to_pandas(date_as_object=False, split_blocks=True)
    frame = frame.assign(symbol=frame["symbol"].astype("str"), session=frame["session"].astype("datetime64[s]"))
    if "coverage" in frame:  # missing in tables of before it was kept
        frame["coverage"] = frame["coverage"].fillna(1.0)
    return frame
