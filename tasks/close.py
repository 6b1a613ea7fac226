"""The end of a night: the decision made once, and the result that anybody can read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.errors import ConfigError
from models.gate import force
from models.ledger import HORIZON, Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.records import (
    Account,
    CandidateRecord,
    DeliveryRecord,
    Forced,
    LedgerEntry,
    NightResult,
    Scale,
    Verdict,
    percentiles_by_head,
)
from models.store import BarsStore
from models.timings import Timings
from tasks.evaluate import EvidenceRecord
from tasks.promote import keep_champion, log_trial, promote_candidate, superseded
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
    """The result of this very night, if it was decided and told before; nothing is run or written again.

    None also for a night that was interrupted between its decision and its report: that one goes on; see
    `decided_outcome`.
    """
    locations = Locations(config.storage)
    decision = Ledger(locations).decision(night.night_id)
    if decision is None:
        return None
    files = NightFiles(locations, night.night_id)
    if _interrupted(files):
        return None
    if files.has("result.json"):
        return files.read_record("result", NightResult).model_copy(update={"repeated": True})
    return _from_ledger(night, decision)


def judged_before(session: date, config: RetrainConfig) -> str | None:
    """How a candidate of this session was judged, if one was and its night came to its end: what a schedule need not
    do again."""
    locations = Locations(config.storage)
    entries = Ledger(locations).entries()
    judged = next((one for one in reversed(entries) if one.session == session and one.verdict != "rollback"), None)
    if judged is None or not judged.version or _interrupted(NightFiles(locations, judged.night_id)):
        return None
    return f"the night of {session} was judged already: {judged.verdict}"


def _interrupted(files: NightFiles) -> bool:
    """Whether a decided night was killed before its page, and has what it takes to go on."""
    if not files.has("verdict.json"):
        return False
    return not files.has("result.json") or files.read_record("result", NightResult).report is None


def decided_result(night: NightRecord, config: RetrainConfig) -> NightResult | None:
    """What this night decided, whether or not it came to its report; None where nothing is decided."""
    recorded = recorded_result(night, config)
    outcome, decision = decided_outcome(night, config), Ledger(Locations(config.storage)).decision(night.night_id)
    if recorded is not None or outcome is None or decision is None:
        return recorded
    return _result(night, outcome, decision.champion_after)


def decided_outcome(night: NightRecord, config: RetrainConfig) -> Outcome | None:
    """What a night came to that was interrupted after its decision, from its files; None where nothing is decided."""
    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    decision = Ledger(locations).decision(night.night_id)
    if decision is None or not files.has("verdict.json"):
        return None
    return Outcome(
        verdict=_as_decided(files.read_record("verdict", Verdict), decision),
        candidate=_decided_on(decision, files),
        targets=files.read_record("targets", TargetsRecord) if files.has("targets.json") else None,
    )


def _decided_on(decision: LedgerEntry, files: NightFiles) -> CandidateRecord | None:
    """The candidate that was decided on; one of an earlier try that came too late to be judged is none."""
    found = decision.version is not None and files.has("candidate.json")
    return files.read_record("candidate", CandidateRecord) if found else None


def refuse_second_decision(recorded: NightResult, forced: Forced | None) -> None:
    """Nothing is decided twice: say so to whoever would force a night that has ended otherwise.

    Raises:
        ConfigError: the night was decided, and not as `forced` asks.
    """
    if forced is None or forced.what == recorded.verdict:
        return
    mend = (
        "To go back to a model that has served: nocturne rollback --reason TEXT."
        if forced.what == "keep"
        else f"Any other setting makes another night of {recorded.session}, which can be forced: --set training.seed=N."
    )
    raise ConfigError(
        f"The night of {recorded.session} ({recorded.night_id}) was decided before, {recorded.verdict}: "
        f"{recorded.reason.rstrip('.')}. Nothing is decided twice, so --force-{forced.what} was not heard and "
        f"nothing was trained. {mend}"
    )


def with_force(outcome: Outcome, forced: Forced, night: NightRecord, config: RetrainConfig) -> Outcome:
    """The outcome as somebody forced it, as far as it can be; a night that was decided already stays as it is."""
    if Ledger(Locations(config.storage)).decision(night.night_id) is not None:
        return outcome
    version = outcome.candidate.version if outcome.candidate else None
    return replace(outcome, verdict=force(outcome.verdict, forced, version))


def close_night(
    night: NightRecord, outcome: Outcome, clean: CleanProcess, config: RetrainConfig, promote: bool
) -> NightResult:
    """Promote or keep, once and recorded. With `promote` off an undecided night stays so: its candidate is a trial.

    Raises:
        CandidateRejected: a clean process could not reproduce the candidate; the champion stays.
    """
    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    verdict, candidate = outcome.verdict, outcome.candidate
    if not promote and Ledger(locations).decision(night.night_id) is None:
        if candidate is not None:
            log_trial(night, candidate, verdict, facts_of(outcome, config.targets.horizon_sessions), config)
        return _result(night, outcome, Ledger(locations).champion_version())
    files.write_record("verdict", verdict)  # before the decision, so that a decided night can always be told
    entry = _decide(night, outcome, clean, config)
    result = _result(night, replace(outcome, verdict=_as_decided(verdict, entry)), entry.champion_after)
    files.write_record("result", result)
    return result


def _decide(night: NightRecord, outcome: Outcome, clean: CleanProcess, config: RetrainConfig) -> LedgerEntry:
    facts = facts_of(outcome, config.targets.horizon_sessions)
    verdict, candidate, evidence = outcome.verdict, outcome.candidate, outcome.evidence
    if evidence is not None:
        champion = Ledger(Locations(config.storage)).champion_version()
        if evidence.champion != champion:  # known before the proof, which takes seconds
            verdict = superseded(verdict, evidence.champion, champion)
        if verdict.verdict == "promote" and candidate is not None:
            return promote_candidate(night, candidate, verdict, facts, evidence.champion, clean, config)
    return keep_champion(night, candidate, verdict, facts, config)


def _as_decided(verdict: Verdict, entry: LedgerEntry) -> Verdict:
    """The checks with the word and the reason of the ledger, which alone decides."""
    word = "promote" if entry.verdict == "promote" else "keep"
    forced = verdict.forced if verdict.forced is not None and verdict.forced.what == word else None
    return verdict.model_copy(update={"verdict": word, "reason": entry.reason, "forced": forced})


def deliveries_of(
    night: NightRecord, delivered: Sequence[DeliveryRecord], config: RetrainConfig
) -> Sequence[DeliveryRecord]:
    """What a night tells of its deliveries: what this run took, or if nothing was new, what brought its session.

    An earlier try of this night, cut off after it had taken a file, or `nocturne ingest` may have brought it: that is
    told as it was then, not as a repetition. Not so a file that arrived after the moment as of which the night reads.
    """
    snapshot = night.snapshot
    brought = {
        one.delivery: one
        for one in BarsStore(Locations(config.storage)).deliveries()
        if one.status == "accepted"
        and (one.first and one.last and one.first <= snapshot.session <= one.last)
        and (one.known_at_rule != "arrival" or one.received_at <= snapshot.as_of)
    }
    told = {one.delivery: brought.get(one.delivery, one) if one.repeated else one for one in delivered}
    any_new = any(not one.repeated for one in delivered)
    return tuple((told if any_new else told | brought).values())


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


def facts_of(outcome: Outcome, horizon_sessions: int) -> dict[str, float | None]:
    """Numbers that later nights read from the ledger."""
    facts: dict[str, float | None] = {}
    if outcome.scales:
        facts[HORIZON] = horizon_sessions
    for head, scale in outcome.scales.items():
        facts |= {f"{head}_{name}": getattr(scale, name) for name in ("scale", "proposed", "mean", "median")}
        facts |= {f"{head}_{level}": value for level, value in scale.percentiles.items()}
    if outcome.candidate is not None:
        facts["training_threads"] = outcome.candidate.threads
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
        forced=verdict.forced,
    )


def _from_ledger(night: NightRecord, entry: LedgerEntry) -> NightResult:
    """What the ledger alone still knows, for a night whose files are gone."""
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
