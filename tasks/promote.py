"""Promotion: registered, proven in a clean process, one alias moved, one line in the ledger. In this order.

Each step is done once, however often it is asked for. The ledger decides and the alias follows: after a crash between
the two the same night runs again and ends in the same state, and any other night first puts the alias back.
"""

import getpass
import os
from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.card import file_hashes
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
    files = register(night, candidate, verdict, facts, config)
    transcript = clean.reproduce(registry.fetch(candidate.version))
    registry.move_champion(candidate.version)
    proof: Facts = {f"clean_{head}": difference for head, difference in transcript.differences.items()}
    champions = ledger.champion_version(), candidate.version
    entry = _entry(night, candidate.version, files, verdict, facts | proof, champions)
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
    files = register(night, candidate, verdict, facts, config) if candidate is not None else {}
    champion = ledger.champion_version()
    Registry(locations).move_champion(champion)
    version = candidate.version if candidate else None
    entry = _entry(night, version, files, verdict, facts, (champion, champion))
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
) -> dict[str, str]:
    """The candidate with its settings, numbers and hashes into the registry, without any alias.

    Returns:
        SHA-256 of every file of it, the out-of-sample frame among them, by relative path.
    """
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
        return file_hashes(directory)


def _entry(
    night: NightRecord,
    version: str | None,
    files: Mapping[str, str],
    verdict: Verdict,
    facts: Facts,
    champions: tuple[str | None, str | None],
) -> LedgerEntry:
    """The line of the ledger; `champions` are what served before and what serves after."""
    before, after = champions
    return LedgerEntry(
        night_id=night.night_id,
        session=night.snapshot.session,
        as_of=night.snapshot.as_of,
        decided_at=datetime.now(UTC),
        verdict=verdict.verdict,
        reason=verdict.reason,
        version=version,
        champion_before=before,
        champion_after=after,
        actor=actor(),
        hashes={**_hashes(night), **files},
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
