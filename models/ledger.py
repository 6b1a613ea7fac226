"""The ledger: every decision ever made, in the order in which it was made. It answers what served when, and why.

A decision is appended and never changed. Its place in the order is the column `sequence`, not `decided_at`: the clocks
of two machines may disagree, the table cannot.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from models.credentials import without_credentials
from models.errors import ConfigError, StoreError
from models.locations import Locations
from models.records import LedgerEntry
from models.registry import Registry
from models.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_WRITER = "nocturne-ledger"
"""All appends share this transaction name, so that Delta lets only one of two simultaneous ones through."""
_SEQUENCE = "sequence"
_ATTEMPTS = 10
_AS_JSON = ("hashes", "facts")
HORIZON = "horizon_sessions"
"""Fact that says what the others of its night are about."""


@dataclass(frozen=True)
class Ledger:
    """The append-only table of decisions; at most one per night."""

    locations: Locations

    def decide(self, night_id: str, entry_for: Callable[[str | None], LedgerEntry]) -> LedgerEntry:
        """Record the decision of a night, or return the one that it has already.

        Args:
            night_id: The night, or whatever else is decided once.
            entry_for: The decision, given the version that serves at this very moment. It is asked again if another
                writer came first, so what it is told still holds when its answer is written; what it raises ends all.

        Raises:
            StoreError: the table cannot be read or written.
        """
        from deltalake.exceptions import CommitFailedError

        for _ in range(_ATTEMPTS - 1):
            with self._explained("written"):
                try:
                    return self._try_to_decide(night_id, entry_for)
                except CommitFailedError:  # another writer came first: look again, the night may be decided by now
                    continue
        with self._explained("written"):
            return self._try_to_decide(night_id, entry_for)

    def append(self, entry: LedgerEntry) -> None:
        """Record a decision that does not depend on what serves. The same entry again changes nothing.

        Raises:
            StoreError: this night has another decision already, or the table cannot be read or written.
        """
        known = self.decide(entry.night_id, lambda _: entry)
        if known != entry:
            raise StoreError(
                f"Night {entry.night_id} is decided already in {self._uri}: {known.verdict} at "
                f"{known.decided_at:%Y-%m-%d %H:%M} UTC ({known.reason}); a second decision ({entry.verdict}) is "
                f"refused. Read the recorded one with `nocturne status`; another seed, configuration or snapshot is "
                f"another night."
            )

    def entries(self) -> tuple[LedgerEntry, ...]:
        """All decisions, oldest first."""
        with self._explained("read"):
            return _read(self._table())

    def decision(self, night_id: str) -> LedgerEntry | None:
        """What this night decided; None while it has not."""
        return next((entry for entry in self.entries() if entry.night_id == night_id), None)

    def champion(self) -> LedgerEntry | None:
        """The promotion or rollback that made the present champion."""
        return last_move(self.entries())

    def champion_version(self) -> str | None:
        """The version that serves; None where nothing does."""
        return _champion_of(self.entries())

    def champion_after_session(self, session: date) -> str | None:
        """The version that served once the nights up to this session were decided; None where nothing did.

        A night belongs to its session, whenever it was run; a rollback to the day on which it was made.
        """
        return _champion_of([entry for entry in self.entries() if _day(entry) <= session])

    def previous_champion(self) -> str | None:
        """The version to which a rollback without a named one goes; see `line_of_champions`."""
        line = line_of_champions(self.entries())
        return line[-2] if len(line) > 1 else None

    def recent_facts(
        self, n: int, before: date | None = None, horizon_sessions: int | None = None
    ) -> list[dict[str, float | None]]:
        """Facts of the nights of the last sessions that measured any, newest last; of one session as they were decided.

        Args:
            n: Number of nights, at least 1.
            before: Only nights of earlier sessions, so that a replayed night does not read its own future.
            horizon_sessions: Only nights whose targets looked as far ahead; others are on another scale.
        """
        nights = [entry for entry in self.entries() if entry.facts and (before is None or entry.session < before)]
        if horizon_sessions is not None:
            nights = [entry for entry in nights if entry.facts.get(HORIZON, horizon_sessions) == horizon_sessions]
        return [dict(entry.facts) for entry in sorted(nights, key=lambda entry: entry.session)][-n:]

    @property
    def _uri(self) -> str:
        return self.locations.table("ledger")

    def _table(self) -> "DeltaTable | None":
        table = Table(self._uri, _schema()).open()
        if table is None:
            self._refuse_if_lost()
        return table

    def _refuse_if_lost(self) -> None:
        """A champion is never made without a ledger, so a champion and no ledger is a loss and no fresh start."""
        champion = Registry(self.locations).champion()
        if champion is not None:
            registry = without_credentials(self.locations.tracking_uri)
            raise StoreError(
                f"The ledger at {self._uri} is gone, but the registry at {registry} has the champion {champion}: "
                f"without the ledger nobody knows what served when, and what may serve. Put the directory back from a "
                f"backup. If this home is meant to be new, name another registry in storage.tracking_uri, or take the "
                f"alias `champion` off the model there."
            )

    def _created(self) -> "DeltaTable":
        """An empty ledger, so that even the first two appends meet on a table that both have read."""
        from deltalake import DeltaTable

        return DeltaTable.create(self._uri, _schema(), mode="ignore")

    def _try_to_decide(self, night_id: str, entry_for: Callable[[str | None], LedgerEntry]) -> LedgerEntry:
        from deltalake import CommitProperties, Transaction, write_deltalake

        table = self._table() or self._created()
        decided = _read(table)
        known = next((one for one in decided if one.night_id == night_id), None)
        if known is not None:
            return known
        entry = entry_for(_champion_of(decided))
        sequence = len(decided)
        only_if_unchanged = CommitProperties(app_transactions=[Transaction(_WRITER, sequence)])
        write_deltalake(table, _row(entry, sequence), mode="append", commit_properties=only_if_unchanged)
        return entry

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        from deltalake.exceptions import DeltaError

        try:
            yield
        except (DeltaError, OSError) as error:
            cause = str(error).strip().splitlines()[0]
            raise StoreError(
                f"The ledger at {self._uri} cannot be {done}: {cause}. What serves is what it said last. Check that "
                f"the place is there, writable and not full; if a file of the table is damaged or lost, put it back "
                f"from a backup. Never delete the ledger: it alone knows what served when."
            ) from error


def find_night(entries: Sequence[LedgerEntry], named: str | None, home: str) -> LedgerEntry:
    """The decision of a night; of several nights of a session the one decided last.

    Args:
        entries: All of the ledger, oldest first.
        named: The night's id or the beginning of it, its version, or its session as YYYY-MM-DD; the last when None.
        home: Where the ledger is, for whoever looked in the wrong one.

    Raises:
        ConfigError: no night is called so, or the beginning is that of several.
    """
    nights = [entry for entry in entries if entry.verdict != "rollback"]
    if named is None:
        found = nights[-1:]
    else:
        exact = [one for one in nights if named in (one.night_id, one.version, str(one.session))]
        begun = [one for one in nights if named and one.night_id.startswith(named)]
        if not exact and len(begun) > 1:
            which = ", ".join(f"{one.night_id} ({one.session})" for one in begun[-5:])
            raise ConfigError(f"{named!r} begins the ids of {len(begun)} nights: {which}. Name one of them in full.")
        found = exact or begun
    if found:
        return found[-1]
    last = ", ".join(f"{one.night_id} ({one.session})" for one in reversed(nights[-3:])) or "none"
    raise ConfigError(
        f"No night {named or 'at all'} was decided in {home}. A night is named by its id or the beginning of it, its "
        f"version, or its session (YYYY-MM-DD); one that decided nothing (--no-promote) leaves nothing to explain. "
        f"The last: {last}."
    )


def last_move(entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """The newest entry that changed what serves."""
    return next((entry for entry in reversed(entries) if entry.verdict != "keep"), None)


def _day(entry: LedgerEntry) -> date:
    return entry.as_of.date() if entry.verdict == "rollback" else entry.session


def _champion_of(entries: Sequence[LedgerEntry]) -> str | None:
    move = last_move(entries)
    return move.champion_after if move else None


def line_of_champions(entries: Sequence[LedgerEntry]) -> tuple[str, ...]:
    """The versions that led to the present champion, which is the last of them.

    A promotion adds its version at the end. A rollback cuts the line back to its target: what was rolled away from
    leaves the line, so a second rollback goes one step further back and never returns by itself to a version that
    somebody has rejected. Going forward again takes its name (`--to`), which adds it at the end.
    """
    line: list[str] = []
    for entry in entries:
        if entry.verdict == "keep" or entry.champion_after is None:
            continue
        if entry.verdict == "rollback" and entry.champion_after in line:
            del line[line.index(entry.champion_after) + 1 :]
        else:
            line.append(entry.champion_after)
    return tuple(line)


def _read(table: "DeltaTable | None") -> tuple[LedgerEntry, ...]:
    if table is None:
        return ()
    import pyarrow as pa
    from deltalake import QueryBuilder

    # Read by Delta's own engine: Arrow's reader calls Python from threads of its own, and one that is still at it
    # when the interpreter ends aborts the process.
    query = QueryBuilder().register("ledger", table).execute(f"SELECT * FROM ledger ORDER BY {_SEQUENCE}")
    rows = pa.table(query.read_all()).drop_columns(_SEQUENCE).to_pylist()
    return tuple(LedgerEntry(**{**row, **{name: json.loads(row[name]) for name in _AS_JSON}}) for row in rows)


def _row(entry: LedgerEntry, sequence: int) -> "pa.Table":
    import pyarrow as pa

    values = entry.model_dump() | {name: json.dumps(getattr(entry, name), sort_keys=True) for name in _AS_JSON}
    return pa.Table.from_pylist([values | {_SEQUENCE: sequence}], schema=_schema())


def _schema() -> "pa.Schema":
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    types = {"session": pa.date32(), "as_of": moment, "decided_at": moment, _SEQUENCE: pa.int64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in (*LedgerEntry.model_fields, _SEQUENCE)])
