"""The bars store: append-only facts, each with the time at which it became known.

Nothing is ever updated: a revision is one more row. What was known at K is, for each symbol and session, the row with
the largest `known_at` ≤ K, so any rows that were ever trained on can be read again.

A delivery is written in this order: the raw file, quarantine, bars, and last its row in `deliveries`, which says that
all is there. Each write carries the delivery's name and happens once, so a crash in between is mended by ingesting the
same file again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import fsspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from models.calendar import Calendar
from models.casting import Times
from models.config import RetrainConfig
from models.delivered_file import DeliveredFile
from models.delivery import OPTIONAL, RawDelivery
from models.errors import StoreError
from models.locations import Locations, exists, open_at
from models.panel import BAR_COLUMNS
from models.records import Account, DeliveryRecord, Finding, Snapshot
from models.tables import Table

VALUES: Final = (*BAR_COLUMNS, *OPTIONAL)
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
    ]
)
_MARKET: Final = pa.schema([("session", pa.date32()), ("market_return", pa.float64()), ("as_of", _MOMENT)])
_PREDICTIONS: Final = pa.schema(
    [
        ("session", pa.date32()),
        ("symbol", pa.string()),
        ("version", pa.string()),
        *((name, pa.float64()) for name in ("p_up", "volatility", "magnitude")),
        ("made_at", _MOMENT),
    ]
)


@dataclass(frozen=True)
class Sorted:
    """Where each row of a delivery goes."""

    accepted: npt.NDArray[np.bool_]
    revised: npt.NDArray[np.bool_]
    duplicate: npt.NDArray[np.bool_]


class BarsStore:
    """Bars, quarantine, deliveries, market and predictions, as Delta tables."""

    def __init__(self, locations: Locations) -> None:
        self.locations = locations
        self._bars = Table(locations.table("bars"), _BARS)
        self._quarantine = Table(locations.table("quarantine"), _QUARANTINE)
        self._deliveries = Table(locations.table("deliveries"), _DELIVERIES)
        self._market = Table(locations.table("market"), _MARKET)
        self._predictions = Table(locations.table("predictions"), _PREDICTIONS)

    def keep_file(self, file: DeliveredFile) -> None:
        """Keep the delivered bytes as `deliveries/<sha256>`; they appear whole or not at all."""
        uri = f"{self.locations.deliveries}/{file.sha256}"
        try:
            if not exists(uri):
                with open_at(f"{uri}.part", "wb") as kept:
                    kept.write(file.data)
                filesystem, path = fsspec.core.url_to_fs(uri)
                filesystem.mv(f"{path}.part", path)
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
        """
        sound = np.flatnonzero(broken == "")
        rows = _bar_rows(raw.frame.iloc[sound], known_at[sound], record.delivery, len(self.deliveries()))
        sorting = _sort_out(rows, self._facts_around(rows, without=record.delivery))
        told = np.concatenate([broken[broken != ""], np.full(len(raw.unreadable), "unreadable", object)])
        account = Account(
            delivered=raw.delivered,
            accepted=int(sorting.accepted.sum()),
            revised=int(sorting.revised.sum()),
            duplicate=int(sorting.duplicate.sum()),
            quarantined=len(told),
            by_rule={str(rule): int(count) for rule, count in zip(*np.unique(told, return_counts=True), strict=True)},
        )
        lines = np.concatenate([raw.line[broken != ""], raw.unreadable]).astype(np.int64)
        if len(lines):
            columns = [[record.delivery] * len(lines), lines, told.tolist(), raw.raw(lines)]
            self._quarantine.append(pa.table(columns, schema=_QUARANTINE), once=record.delivery)
        new = rows[~sorting.duplicate]
        if len(new):
            self._bars.append(pa.Table.from_pandas(new, schema=_BARS, preserve_index=False), once=record.delivery)
        return self.record(record.model_copy(update={"account": account}))

    def record(self, record: DeliveryRecord) -> DeliveryRecord:
        """Add a delivery to the table of deliveries."""
        row = record.model_dump(include={"delivery", "name", "status", "known_at_rule", "received_at", "first", "last"})
        row |= {
            "sequence": len(self.deliveries()),
            "account": record.account.model_dump_json(),
            "findings": json.dumps([finding.model_dump(mode="json") for finding in record.findings]),
        }
        self._deliveries.append(pa.Table.from_pylist([row], schema=_DELIVERIES))
        return record

    def deliveries(self) -> tuple[DeliveryRecord, ...]:
        """All deliveries in the order in which they came; a file that was stopped first may stand twice."""
        rows = self._deliveries.read().sort_by("sequence").drop_columns("sequence").to_pylist()
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

    def quarantine(self, delivery: str) -> pd.DataFrame:
        """`line, rule, raw` of a delivery's rows in quarantine."""
        rows = self._quarantine.read(where=ds.field("delivery") == delivery).drop_columns("delivery")
        frame: pd.DataFrame = rows.sort_by("line").to_pandas()
        return frame

    def last_session(self) -> date | None:
        """The newest session of which there is a bar."""
        last: date | None = pc.max(self._bars.read(["session"])["session"]).as_py()
        return last

    def as_known(self, as_of: datetime, first: date | None = None, last: date | None = None) -> pd.DataFrame:
        """Canonical bars as known then, sorted by symbol and session, one row each.

        Args:
            as_of: What became known later does not exist.
            first: First session to read; all when None.
            last: Last session to read; all when None.
        """
        where = _known(as_of, first, last)
        rows = self._bars.read(["symbol", "session", "timestamp", "known_at", "sequence", *VALUES], where)
        return _canonical(_latest(rows))

    def snapshot(self, session: date, as_of: datetime, config: RetrainConfig) -> tuple[pd.DataFrame, Snapshot]:
        """The bars that a night reads, and their name: the content decides, never a table version."""
        first = Calendar.of(config.data).after(session, 1 - config.data.lookback_sessions)
        bars = self.as_known(as_of, first, session)
        return bars, Snapshot(
            session=session,
            as_of=as_of,
            hash=content_hash(bars),
            rows=len(bars),
            first=bars["session"].min().date() if len(bars) else session,
            last=bars["session"].max().date() if len(bars) else session,
            symbols=bars["symbol"].nunique(),
        )

    def record_market(self, market: "pd.Series[float]", as_of: datetime) -> None:
        """Store the market's returns by session where they are new or differ from what was known."""
        known = self.market_as_known(as_of).reindex(market.index)
        fresh = market[~(known == market)]
        if len(fresh):
            rows = {
                "session": pd.DatetimeIndex(fresh.index).date,
                "market_return": fresh.to_numpy(),
                "as_of": [as_of] * len(fresh),
            }
            self._market.append(pa.table(rows, schema=_MARKET))

    def market_as_known(self, as_of: datetime) -> "pd.Series[float]":
        """The market's median log return by session (datetime64[s]), as computed by nights up to then."""
        rows = self._market.read(where=ds.field("as_of") <= pa.scalar(as_of, _MOMENT)).sort_by("as_of").to_pandas()
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

    def _facts_around(self, rows: pd.DataFrame, without: str) -> pd.DataFrame:
        """Stored rows of the sessions of these, but those that an interrupted try of the same delivery left."""
        where = ds.field("delivery") != without
        if len(rows):
            where &= (ds.field("session") >= rows["session"].min()) & (ds.field("session") <= rows["session"].max())
        facts: pd.DataFrame = self._bars.read(_BARS.names, where).to_pandas()
        return facts


def content_hash(bars: pd.DataFrame) -> str:
    """SHA-256 over symbols, sessions and values of canonical bars, in their order."""
    codes, symbols = pd.factorize(bars["symbol"])
    digest = hashlib.sha256("\n".join(symbols).encode())
    digest.update(codes.astype(np.int32).tobytes())
    digest.update(bars["session"].to_numpy("datetime64[D]").astype(np.int32).tobytes())
    for name in VALUES:
        if name in bars:
            digest.update(name.encode() + (bars[name].to_numpy(np.float64) + 0.0).tobytes())
    return digest.hexdigest()


def _bar_rows(frame: pd.DataFrame, known_at: Times, delivery: str, sequence: int) -> pd.DataFrame:
    rows: pd.DataFrame = frame.reindex(columns=["symbol", "session", "timestamp", *VALUES])
    rows["session"] = rows["session"].dt.date
    rows = rows.assign(known_at=pd.DatetimeIndex(known_at).tz_localize("UTC"), delivery=delivery, sequence=sequence)
    return rows.sort_values(["symbol", "session"], kind="stable", ignore_index=True)[list(_BARS.names)]


def _sort_out(rows: pd.DataFrame, facts: pd.DataFrame) -> Sorted:
    """Compare each row with the fact that it follows: the largest `known_at` not after its own, stored or delivered."""
    both = pd.concat([facts, rows], ignore_index=True) if len(facts) else rows
    both = both.assign(is_new=np.arange(len(both)) >= len(both) - len(rows))
    both = both.sort_values(["symbol", "session", "known_at", "sequence"], kind="stable")
    follows = both.duplicated(["symbol", "session"]).to_numpy()
    values = both[list(VALUES)].to_numpy(np.float64)
    alike = np.zeros(len(both), bool)
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    alike[1:] = same.all(axis=1)
    of_row = both.index[both["is_new"]].to_numpy() - (len(both) - len(rows))
    follows, alike = follows[both["is_new"]], alike[both["is_new"]]
    order = np.argsort(of_row)
    return Sorted(~follows[order], (follows & ~alike)[order], (follows & alike)[order])


def _known(as_of: datetime, first: date | None, last: date | None) -> ds.Expression:
    where = ds.field("known_at") <= pa.scalar(as_of, _MOMENT)
    if first is not None:
        where &= ds.field("session") >= first
    if last is not None:
        where &= ds.field("session") <= last
    return where


def _latest(rows: pa.Table) -> pa.Table:
    """Sorted by symbol and session, of each the row that was known last; of equal times the one stored later."""
    symbols = rows["symbol"].combine_chunks().dictionary_encode()
    rank = pc.rank(symbols.dictionary, sort_keys="ascending").to_numpy() if len(rows) else np.empty(0, np.int64)
    code = rank[symbols.indices.to_numpy()] if len(rows) else rank
    key = code.astype(np.int64) << 32 | rows["session"].cast(pa.int32()).to_numpy().astype(np.int64)
    if (np.diff(key) > 0).all():
        return rows
    order = np.lexsort((rows["sequence"].to_numpy(), rows["known_at"].cast(pa.int64()).to_numpy(), key))
    ordered = key[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return rows.take(order[last])


def _canonical(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.drop_columns(["known_at", "sequence"]).to_pandas()
    frame["symbol"] = frame["symbol"].astype("str")
    frame["session"] = frame["session"].astype("datetime64[s]")
    return frame.drop(columns=[name for name in OPTIONAL if frame[name].isna().all()])
