"""The champion moves back: proven in a clean process like a promotion, and recorded with who and why."""

import hashlib
from datetime import UTC, datetime

from prefect import task

from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.errors import ConfigError, RegistryError
from models.ledger import Ledger
from models.locations import Locations
from models.records import LedgerEntry, Record
from models.registry import Registry
from tasks.promote import actor, let_alias_follow


class RollbackResult(Record):
    """What served before and what serves now."""

    champion_before: str
    champion: str
    reason: str
    actor: str


@task(name="move champion back")
def move_back(reason: str, to: str | None, config: RetrainConfig, who: str | None = None) -> RollbackResult:
    """Record that an earlier version serves again, and move the alias to it.

    After a crash look at `nocturne status` first: without `to` a second rollback goes one step further back.

    Raises:
        ConfigError: the reason is empty.
        RegistryError: nothing serves, nothing served earlier, the named version never served or serves already, or
            another decision came in between.
        CandidateRejected: the earlier model no longer loads and reproduces its golden batch; nothing moved.
    """
    if not reason.strip():
        raise ConfigError("A rollback needs its reason, for whoever reads the ledger later. Say why with --reason.")
    locations = Locations(config.storage)
    ledger = Ledger(locations)
    before = ledger.champion_version()
    if before is None:
        raise RegistryError("Nothing serves yet, so there is nothing to roll back. Run `nocturne retrain` first.")
    target = to or ledger.previous_champion()
    if target is None:
        raise RegistryError(f"{before} is the first champion: there is no earlier one to go back to; nothing moved.")
    if target == before:
        let_alias_follow(locations)  # an interrupted rollback may have left it behind
        raise RegistryError(f"{target} serves already; nothing was moved. `nocturne status` shows since when.")
    served = dict.fromkeys(one.champion_after for one in reversed(ledger.entries()) if one.champion_after)
    if target not in served:
        raise RegistryError(
            f"{target} has never served, so it is nothing to go back to; only a night promotes a new model. "
            f"Have served, newest first: {', '.join(served)}."
        )
    with CleanProcess.start() as clean:
        clean.reproduce(Registry(locations).fetch(target))
    entry = let_serve_again(reason, before, target, who or actor(), locations)
    return RollbackResult(champion_before=before, champion=target, reason=reason, actor=entry.actor)


def let_serve_again(reason: str, before: str, target: str, who: str, locations: Locations) -> LedgerEntry:
    """Decide for a version that has served before, if `before` still serves; then move the alias.

    Raises:
        RegistryError: something else serves by now.
    """
    ledger = Ledger(locations)
    entry = _entry(reason, before, target, who, ledger)

    def entry_for(champion: str | None) -> LedgerEntry:
        if champion != before:
            raise RegistryError(
                f"While {target} was proven, {champion} became champion in place of {before}; nothing was moved. "
                f"Look at `nocturne status`, and roll back again if that is still wanted."
            )
        return entry

    ledger.decide(entry.night_id, entry_for)
    let_alias_follow(locations)
    return entry


def _entry(reason: str, before: str, target: str, who: str, ledger: Ledger) -> LedgerEntry:
    now = datetime.now(UTC)
    made = next((one for one in reversed(ledger.entries()) if one.version == target), None)
    return LedgerEntry(
        night_id=hashlib.sha256(f"rollback {now.isoformat()} {before} {target}".encode()).hexdigest()[:16],
        session=made.session if made else now.date(),
        as_of=now,
        decided_at=now,
        verdict="rollback",
        reason=reason,
        version=target,
        champion_before=before,
        champion_after=target,
        actor=who,
    )
