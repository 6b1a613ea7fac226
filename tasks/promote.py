"""Promotion: registered, proven in a clean process, one line in the ledger, one alias moved. In this order.

Each step is done once, however often it is asked for. The line in the ledger is the decision, and it is written only if
what serves is still what the candidate was judged against. The alias follows: after a crash between the two the same
night runs again and ends in the same state, and any other decision puts the alias right as well.

The document that tells the whole decision is written into the night's files before the line that binds it by its hash,
and laid beside the model after it: a line without its document cannot be, and a crash between the two is mended as the
alias is.
"""

import getpass
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.card import file_hashes
from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.decision import BOUND_BY, NAME, Decision, Grounds, kept_as, sha256
from models.gate.inputs import DIRECTORY, read_inputs, read_verdict
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord, local_copy
from models.notation import significant
from models.records import CandidateRecord, LedgerEntry, Verdict
from models.registry import Registry
from tasks.outside import RETRIED
from tasks.run_log import sum_up

Facts = dict[str, float | None]
PROOF: Final = "clean_"
"""Begin of the facts that say by how much a clean process differed, head by head."""


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
    judged_against: str | None,
    clean: CleanProcess,
    config: RetrainConfig,
) -> LedgerEntry:
    """Let the candidate serve, once a clean process has reproduced what was measured.

    Args:
        judged_against: What served when the candidate was judged. If something else serves by now, because somebody
            rolled back meanwhile, that goes on serving and the decision says so.

    Raises:
        CandidateRejected: it could not; alias and ledger are as they were.
    """
    locations = Locations(config.storage)
    entry = decided_before(night, locations)
    if entry is None:
        grounds = register(night, candidate, verdict, facts, config)
        transcript = clean.reproduce(Registry(locations).fetch(candidate.version))
        proof: Facts = {f"{PROOF}{head}": difference for head, difference in transcript.differences.items()}
        proven = grounds.model_copy(update={"clean_process": transcript})
        entry = let_serve(proven, verdict, facts | proof, judged_against, locations)
    sum_up(_summary(entry))
    return entry


def let_serve(
    grounds: Grounds, verdict: Verdict, facts: Facts, judged_against: str | None, locations: Locations
) -> LedgerEntry:
    """Decide for a registered and proven version, if what serves is still `judged_against`; then move the alias."""

    def decision_for(champion: str | None) -> Decision:
        if champion == judged_against:
            return _decision(grounds, verdict, facts, (champion, grounds.version))
        return _decision(grounds, superseded(verdict, judged_against, champion), facts, (champion, champion))

    return _decide(grounds.night, decision_for, locations)


@task(name="keep champion", cache_policy=NO_CACHE, **RETRIED)
def keep_champion(
    night: NightRecord, candidate: CandidateRecord | None, verdict: Verdict, facts: Facts, config: RetrainConfig
) -> LedgerEntry:
    """Record that the champion goes on serving; the candidate is kept for whoever wants to look at it."""
    locations = Locations(config.storage)
    entry = decided_before(night, locations)
    if entry is None:
        grounds = (
            register(night, candidate, verdict, facts, config)
            if candidate is not None
            else Grounds.without_candidate(night, verdict, config)
        )
        entry = _decide(night, lambda champion: _decision(grounds, verdict, facts, (champion, champion)), locations)
    sum_up(_summary(entry))
    return entry


def _summary(entry: LedgerEntry) -> str:
    if entry.verdict != "promote":
        serves = f"{entry.champion_after} goes on serving" if entry.champion_after else "Nothing serves"
        candidate = f"the candidate {entry.version}" if entry.version else "no candidate"
        return f"{serves}, with {candidate} kept in the registry: {entry.reason.rstrip('.')}."
    differences = [value for name, value in entry.facts.items() if name.startswith(PROOF) and value is not None]
    return (
        f"{entry.version} serves from now on, instead of {entry.champion_before or 'nothing'}: a clean process "
        f"reproduced it with a difference of at most {significant(max(differences, default=None))}."
    )


def superseded(verdict: Verdict, judged_against: str | None, champion: str | None) -> Verdict:
    """The verdict on a candidate that was judged against something that no longer serves.

    A person's word to keep stands as it is; one to promote is told, but it is not that person who keeps.
    """
    if verdict.decided_by is not None and verdict.verdict == "keep":
        return verdict
    before = f"; before that it was {verdict.reason}" if verdict.decided_by is not None else ""
    reason = f"superseded: judged against {judged_against}, but meanwhile {champion} serves{before}"
    return verdict.model_copy(update={"verdict": "keep", "reason": reason, "forced": None, "decided_by": None})


def decided_before(night: NightRecord, locations: Locations) -> LedgerEntry | None:
    """The decision of this night, if it has one, with alias and document where that says."""
    decided = Ledger(locations).decision(night.night_id)
    if decided is not None:
        _follow(decided, locations)
    return decided


def _decide(night: NightRecord, decision_for: Callable[[str | None], Decision], locations: Locations) -> LedgerEntry:
    """Write the document and then the line that binds it, once a night; then let all else follow."""
    files = NightFiles(locations, night.night_id)

    def entry_for(champion: str | None) -> LedgerEntry:
        decision = decision_for(champion)
        content = decision.content
        files.write_whole(kept_as(sha256(content)), content)
        return decision.line(sha256(content))

    decided = Ledger(locations).decide(night.night_id, entry_for)
    _follow(decided, locations)
    return decided


def _follow(decided: LedgerEntry, locations: Locations) -> None:
    """What follows from a line in the ledger: the alias, and the document beside the model."""
    let_alias_follow(locations)
    if decided.version is None:
        return
    document = NightFiles(locations, decided.night_id).read_whole(kept_as(decided.hashes.get(BOUND_BY, "")))
    if document is not None:  # None: decided before documents were kept
        Registry(locations).keep_beside(decided.version, NAME, document)


def let_alias_follow(locations: Locations) -> None:
    """Put the alias where the ledger says. Another decision meanwhile moves it once more, so that the newest holds."""
    ledger, registry = Ledger(locations), Registry(locations)
    champion = ledger.champion_version()
    while True:
        registry.move_champion(champion)
        told, champion = champion, ledger.champion_version()
        if champion == told:
            return


@task(name="log trial", cache_policy=NO_CACHE, **RETRIED)
def log_trial(
    night: NightRecord, candidate: CandidateRecord, verdict: Verdict, facts: Facts, config: RetrainConfig
) -> None:
    """Keep the candidate of a night that was not to decide anything."""
    register(night, candidate, verdict, facts, config, trial=True)
    sum_up(
        f"{candidate.version} is kept in the registry as a trial: nothing is decided, and what serves goes on serving."
    )


def register(
    night: NightRecord,
    candidate: CandidateRecord,
    verdict: Verdict,
    facts: Facts,
    config: RetrainConfig,
    trial: bool = False,
) -> Grounds:
    """The candidate with its settings, numbers and hashes into the registry, without any alias.

    Returns:
        What a decision on it rests on, with the SHA-256 of every file of it and of all rows that the gate read.
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
        gate = directory / DIRECTORY
        return Grounds.of(night, candidate, config, read_inputs(gate), read_verdict(gate), file_hashes(directory))


def _decision(grounds: Grounds, verdict: Verdict, facts: Facts, champions: tuple[str | None, str | None]) -> Decision:
    """The document; `champions` are what served before and what serves after."""
    who = verdict.decided_by or actor()
    return Decision.of(grounds, verdict, champions, decided_at=datetime.now(UTC), actor=who, facts=facts)


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
