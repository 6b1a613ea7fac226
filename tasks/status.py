"""Whether all is well, what serves now, since when and why, and what the last nights decided."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from models.calendar import Calendar
from models.config import RetrainConfig
from models.credentials import without_credentials
from models.freshness import Freshness, concerns, due_session
from models.ledger import Ledger, last_move
from models.locations import Locations
from models.night import NightFiles
from models.records import LedgerEntry, NightResult, Record
from models.store import BarsStore


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

    home: str
    """Where it looked."""
    well: bool
    concerns: tuple[str, ...]
    """What is not as it should be; empty where all is well."""
    fresh: Freshness
    champion: ChampionStatus | None
    nights: tuple[NightStatus, ...]
    """Newest first; rollbacks are among them."""


def status(config: RetrainConfig, nights: int = 10, now: datetime | None = None) -> StatusReport:
    """Whether all is well, the champion and the last decisions.

    Args:
        config: Where everything is, the exchange, and how old a champion may be.
        nights: How many of the last decisions to name.
        now: The moment to look from. Default: the present.

    Raises:
        StoreError: the ledger or the store cannot be read.
    """
    locations = Locations(config.storage)
    entries = Ledger(locations).entries()
    champion = _champion(entries)
    calendar = Calendar.of(config.data)
    fresh = _freshness(BarsStore(locations), entries, champion, due_session(now or datetime.now(UTC), calendar))
    found = concerns(fresh, calendar, config.gate.max_champion_age_sessions)
    return StatusReport(
        home=without_credentials(locations.home),
        well=not found,
        concerns=found,
        fresh=fresh,
        champion=champion,
        nights=tuple(map(_night, reversed(entries[-nights:]))),
    )


def _freshness(
    store: BarsStore, entries: Sequence[LedgerEntry], champion: ChampionStatus | None, due: date
) -> Freshness:
    last = store.last_session()
    stopped = (one for one in store.deliveries() if one.status == "stopped" and one.last)
    return Freshness(
        due=due,
        data_until=last,
        decided_until=max((entry.session for entry in entries if entry.verdict != "rollback"), default=None),
        scored=last is not None and champion is not None and _published(store, last, champion.version),
        trained_until=_trained_until(store.locations, entries, champion) if champion else None,
        stopped=tuple(one.name for one in stopped if last is None or (one.last and one.last > last)),
    )


def _published(store: BarsStore, session: date, version: str) -> bool:
    return bool((store.predictions(session)["version"] == version).any())


def _trained_until(locations: Locations, entries: Sequence[LedgerEntry], champion: ChampionStatus) -> date:
    """From the result of the night that made it; without that, the session of that night."""
    made = (one for one in entries if one.version == champion.version and one.verdict != "rollback")
    for files in (NightFiles(locations, one.night_id) for one in made):
        if files.has("result.json") and (until := files.read_record("result", NightResult).trained_until):
            return until
    return champion.session


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
