"""Promotion: registered, proven in a clean process, one alias moved, one line in the ledger. In this order.

Each step is done once, however often it is asked for. The ledger decides and the alias follows: after a crash between
the two the same night runs again and ends in the same state, and any other night first puts the alias back.
"""

import getpass
import os
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord, local_copy
from models.records import CandidateRecord, LedgerEntry, Verdict
from models.registry import Registry
from tasks.outside import RETRIED

Facts = dict[str, float | None]


def actor() -> str:
    """Who decides: NOCTURNE_ACTOR, else the login name."""
    try:
        return os.environ.get("NOCTURNE_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


@task(name="promote", cache_policy=NO_CACHE, **RETRIED)
def promote_candidate(
    night: NightRecord,
    candidate: CandidateRecord,
    verdict: Verdict,
    facts: Facts,
    clean: CleanProcess,
    config: RetrainConfig,
) -> LedgerEntry:
    """Let the candidate serve, once a clean process has reproduced what was measured.

    Raises:
        CandidateRejected: it could not; alias and ledger are as they were.
    """
    locations = Locations(config.storage)
    ledger, registry = Ledger(locations), Registry(locations)
    if (decided := ledger.decision(night.night_id)) is not None:
        return decided
    register(night, candidate, verdict, facts, config)
    transcript = clean.reproduce(registry.fetch(candidate.version))
    registry.move_champion(candidate.version)
    proof: Facts = {f"clean_{head}": difference for head, difference in transcript.differences.items()}
    entry = _entry(night, candidate, verdict, facts | proof, ledger.champion_version(), candidate.version)
    ledger.append(entry)
    return entry


@task(name="keep champion", cache_policy=NO_CACHE, **RETRIED)
def keep_champion(
    night: NightRecord, candidate: CandidateRecord | None, verdict: Verdict, facts: Facts, config: RetrainConfig
) -> LedgerEntry:
    """Record that the champion goes on serving; the candidate is kept for whoever wants to look at it."""
    locations = Locations(config.storage)
    ledger = Ledger(locations)
    if (decided := ledger.decision(night.night_id)) is not None:
        return decided
    if candidate is not None:
        register(night, candidate, verdict, facts, config)
    champion = ledger.champion_version()
    Registry(locations).move_champion(champion)
    entry = _entry(night, candidate, verdict, facts, champion, champion)
    ledger.append(entry)
    return entry


@task(name="log trial", cache_policy=NO_CACHE)
def log_trial(
    night: NightRecord, candidate: CandidateRecord, verdict: Verdict, facts: Facts, config: RetrainConfig
) -> None:
    """Keep the candidate of a night that was not to decide anything."""
    register(night, candidate, verdict, facts, config, trial=True)


def register(
    night: NightRecord,
    candidate: CandidateRecord,
    verdict: Verdict,
    facts: Facts,
    config: RetrainConfig,
    trial: bool = False,
) -> None:
    """The candidate with its settings, numbers and hashes into the registry, without any alias."""
    measured = {**facts, **verdict.metrics}
    settings = config.model_dump(mode="json", include={"targets", "network", "training", "gate"})
    with local_copy(candidate.uri) as directory:
        Registry(Locations(config.storage)).register(
            candidate.version,
            directory,
            params={f"{part}.{name}": value for part, values in settings.items() for name, value in values.items()},
            metrics={_plain(name): value for name, value in measured.items() if value is not None},
            tags={**_hashes(night), "verdict": verdict.verdict, "trial": str(trial).lower()},
        )


def _entry(
    night: NightRecord,
    candidate: CandidateRecord | None,
    verdict: Verdict,
    facts: Facts,
    before: str | None,
    after: str | None,
) -> LedgerEntry:
    return LedgerEntry(
        night_id=night.night_id,
        session=night.snapshot.session,
        as_of=night.snapshot.as_of,
        decided_at=datetime.now(UTC),
        verdict=verdict.verdict,
        reason=verdict.reason,
        version=candidate.version if candidate else None,
        champion_before=before,
        champion_after=after,
        actor=actor(),
        hashes=_hashes(night) | (candidate.hashes if candidate else {}),
        facts=facts,
    )


def _hashes(night: NightRecord) -> dict[str, str]:
    return {
        "snapshot": night.snapshot.hash,
        "config": night.config_hash,
        "code": night.code_hash,
        "recipe": night.recipe,
    }


def _plain(name: str) -> str:
    """MLflow takes no percent signs and the like in names; ours have none but dots."""
    return name.replace(" ", "_")
