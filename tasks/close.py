"""The end of a night: the decision made once, and the result that anybody can read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.records import (
    Account,
    CandidateRecord,
    DeliveryRecord,
    LedgerEntry,
    NightResult,
    Scale,
    Verdict,
    percentiles_by_head,
)
from models.timings import Timings
from tasks.evaluate import EvidenceRecord
from tasks.promote import keep_champion, log_trial, promote_candidate
from tasks.targets import TargetsRecord


@dataclass(frozen=True)
class Outcome:
    """What a night came to: a verdict, and all that was made on the way to it."""

    verdict: Verdict
    candidate: CandidateRecord | None = None
    targets: TargetsRecord | None = None
    evidence: EvidenceRecord | None = None

    @property
    def scales(self) -> Mapping[str, Scale]:
        return self.targets.scales if self.targets else {}


def recorded_result(night: NightRecord, config: RetrainConfig) -> NightResult | None:
    """The result of this very night, if it was decided before; nothing is run or written again."""
    locations = Locations(config.storage)
    decision = Ledger(locations).decision(night.night_id)
    if decision is None:
        return None
    files = NightFiles(locations, night.night_id)
    if files.has("result.json"):
        return files.read_record("result", NightResult).model_copy(update={"repeated": True})
    return _from_ledger(night, decision)


def close_night(
    night: NightRecord, outcome: Outcome, clean: CleanProcess, config: RetrainConfig, promote: bool
) -> NightResult:
    """Promote or keep, once and recorded. With `promote` off nothing is decided: the candidate is a trial.

    Raises:
        CandidateRejected: a clean process could not reproduce the candidate; the champion stays.
    """
    locations = Locations(config.storage)
    facts = facts_of(outcome)
    verdict, candidate = outcome.verdict, outcome.candidate
    champion = Ledger(locations).champion_version()
    if not promote:
        if candidate is not None:
            log_trial(night, candidate, verdict, facts, config)
        return _result(night, outcome, champion)
    if outcome.evidence is not None and outcome.evidence.champion != champion:
        reason = f"superseded: judged against {outcome.evidence.champion}, but meanwhile {champion} serves"
        outcome = replace(outcome, verdict=verdict.model_copy(update={"verdict": "keep", "reason": reason}))
        verdict = outcome.verdict
    if verdict.verdict == "promote" and candidate is not None:
        entry = promote_candidate(night, candidate, verdict, facts, clean, config)
    else:
        entry = keep_champion(night, candidate, verdict, facts, config)
    result = _result(night, outcome, entry.champion_after)
    NightFiles(locations, night.night_id).write_record("result", result)
    return result


def with_delivery(result: NightResult, delivered: Sequence[DeliveryRecord], timings: Timings) -> NightResult:
    """The result with the account of tonight's deliveries and the seconds so far."""
    account = sum((record.account for record in delivered), Account())
    return result.model_copy(update={"delivery": account, "timings": timings.seconds})


def finish_night(result: NightResult, page: str, timings: Timings, config: RetrainConfig) -> NightResult:
    """The result with the place of its page and all seconds; kept, if the night was decided."""
    whole = result.model_copy(update={"report": page, "timings": timings.seconds})
    files = NightFiles(Locations(config.storage), result.night_id)
    if files.has("result.json"):
        files.write_record("result", whole)
    return whole


def facts_of(outcome: Outcome) -> dict[str, float | None]:
    """Numbers that later nights read from the ledger."""
    facts: dict[str, float | None] = {}
    for head, scale in outcome.scales.items():
        facts |= {f"{head}_{name}": getattr(scale, name) for name in ("scale", "proposed", "mean", "median")}
        facts |= {f"{head}_{level}": value for level, value in scale.percentiles.items()}
    kept = ("direction_auc", "volatility_qlike")
    return facts | {name: outcome.verdict.metrics[name] for name in kept if name in outcome.verdict.metrics}


def _result(night: NightRecord, outcome: Outcome, champion: str | None) -> NightResult:
    verdict, candidate = outcome.verdict, outcome.candidate
    return NightResult(
        session=night.snapshot.session,
        as_of=night.snapshot.as_of,
        night_id=night.night_id,
        verdict=verdict.verdict,
        reason=verdict.reason,
        version=candidate.version if candidate else None,
        champion=champion,
        trained_until=candidate.trained_until if candidate else None,
        checks=verdict.checks,
        bounds={head: scale.scale for head, scale in outcome.scales.items()},
        percentiles=percentiles_by_head(outcome.scales),
        metrics=verdict.metrics,
        snapshot=night.snapshot,
    )


def _from_ledger(night: NightRecord, entry: LedgerEntry) -> NightResult:
    """What the ledger alone still knows, for a night that was interrupted right after its decision."""
    return NightResult(
        session=entry.session,
        as_of=entry.as_of,
        night_id=entry.night_id,
        repeated=True,
        verdict="promote" if entry.verdict == "promote" else "keep",
        reason=entry.reason,
        version=entry.version,
        champion=entry.champion_after,
        trained_until=None,
        snapshot=night.snapshot,
    )
