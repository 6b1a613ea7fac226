"""What serves now, since when and why, and what the last nights decided: read from the ledger alone."""

from collections.abc import Sequence
from datetime import date, datetime

from models.config import RetrainConfig
from models.ledger import Ledger, last_move
from models.locations import Locations
from models.records import LedgerEntry, Record


class ChampionStatus(Record):
    """The model that serves."""

    version: str
    since: datetime
    """When it became champion, the last time."""
    session: date
    """The session whose night trained it."""
    reason: str


class NightStatus(Record):
    """One decision of the ledger in short."""

    session: date
    decided_at: datetime
    verdict: str
    reason: str
    version: str | None
    champion: str | None
    """Version that served afterwards."""
    night_id: str
    actor: str


class StatusReport(Record):
    """What `nocturne status` prints."""

    champion: ChampionStatus | None
    nights: tuple[NightStatus, ...]
    """Newest first; rollbacks are among them."""


def status(config: RetrainConfig, nights: int = 10) -> StatusReport:
    """The champion and the last decisions.

    Raises:
        StoreError: the ledger cannot be read.
    """
    entries = Ledger(Locations(config.storage)).entries()
    return StatusReport(champion=_champion(entries), nights=tuple(map(_night, reversed(entries[-nights:]))))


def _champion(entries: Sequence[LedgerEntry]) -> ChampionStatus | None:
    move = last_move(entries)
    if move is None or move.champion_after is None:
        return None
    trained = (
        entry.session for entry in entries if entry.version == move.champion_after and entry.verdict != "rollback"
    )
    return ChampionStatus(
        version=move.champion_after,
        since=move.decided_at,
        session=next(trained, move.session),
        reason=move.reason,
    )


def _night(entry: LedgerEntry) -> NightStatus:
    return NightStatus(
        session=entry.session,
        decided_at=entry.decided_at,
        verdict=entry.verdict,
        reason=entry.reason,
        version=entry.version,
        champion=entry.champion_after,
        night_id=entry.night_id,
        actor=entry.actor,
    )
