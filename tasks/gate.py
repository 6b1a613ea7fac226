"""The gate as a stage: it gathers what the rule reads; the rule itself lives in `models.gate`."""

from prefect import task

from models.calendar import Calendar
from models.config import RetrainConfig
from models.gate import decide
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.placebo import stored_placebo
from models.records import CandidateRecord, Verdict
from tasks.evaluate import EvidenceRecord, anchor_version, champion_evidence
from tasks.outside import RETRIED
from tasks.run_log import sum_up
from tasks.targets import TargetsRecord


@task(name="gate", **RETRIED)
def judge(night: NightRecord, candidate: CandidateRecord, evidence: EvidenceRecord, config: RetrainConfig) -> Verdict:
    """Promote or keep, with every check that was asked."""
    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    dataset = files.read_dataset(config)
    serving = evidence.champion
    champion = champion_evidence(serving, night, dataset, config) if serving else None
    before = anchor_version(serving, night, config)
    anchor = champion_evidence(before, night, dataset, config) if before else None
    verdict = decide(
        files.read_frame("candidate/evidence"),
        config=config.gate,
        targets=config.targets,
        relative=dataset.panel.relative and config.targets.direction == "relative",
        heads=config.network.heads,
        losses=config.training.losses,
        scales=files.read_record("targets", TargetsRecord).scales,
        session=night.snapshot.session,
        trained_until=candidate.trained_until,
        agreement=evidence.agreement,
        findings=evidence.findings,
        champion=champion,
        calendar=Calendar.of(config.data),
        anchor=anchor,
        leaks=evidence.leaks,
        placebo=stored_placebo(night.recipe, locations),
    )
    asked, why = len(verdict.checks), verdict.reason.rstrip(".")
    sum_up(f"{verdict.verdict.upper()}, with {asked - len(verdict.failed)} of {asked} checks passed: {why}.")
    return verdict
