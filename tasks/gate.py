"""The gate as a stage: it gathers what the rule reads; the rule itself lives in `models.gate`."""

from prefect import task

from models.config import RetrainConfig
from models.gate.inputs import (
    DIRECTORY,
    ComparedModel,
    GateFrames,
    GateInputs,
    ask_gate,
    processor,
    read_inputs,
    read_others,
    write_inputs,
    write_verdict,
)
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.placebo import stored_placebo
from models.records import CandidateRecord, Verdict
from models.scratch import scratch
from tasks.evaluate import EvidenceRecord, anchor_version, champion_evidence
from tasks.outside import RETRIED
from tasks.run_log import sum_up
from tasks.targets import TargetsRecord


@task(name="gate", **RETRIED)
def judge(night: NightRecord, candidate: CandidateRecord, evidence: EvidenceRecord, config: RetrainConfig) -> Verdict:
    """Promote or keep, with every check that was asked; what it rests on is written beside the model.

    What is judged is what was written: so whoever asks the gate again from these files gets the same answer.
    """
    files = NightFiles(Locations(config.storage), night.night_id)
    inputs, frames = _gather(night, candidate, evidence, config)
    with scratch("gate") as directory:
        write_inputs(directory, inputs, frames.others)
        verdict = ask_gate(read_inputs(directory), GateFrames(frames.evidence, read_others(directory)))
        write_verdict(directory, verdict)
        files.store_directory(f"candidate/{DIRECTORY}", directory)
    asked, why = len(verdict.checks), verdict.reason.rstrip(".")
    sum_up(f"{verdict.verdict.upper()}, with {asked - len(verdict.failed)} of {asked} checks passed: {why}.")
    return verdict


def _gather(
    night: NightRecord, candidate: CandidateRecord, evidence: EvidenceRecord, config: RetrainConfig
) -> tuple[GateInputs, GateFrames]:
    """All that the gate reads."""
    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    dataset = files.read_dataset(config)
    serving = evidence.champion
    champion = champion_evidence(serving, night, dataset, config) if serving else None
    before = anchor_version(serving, night, config)
    anchor = champion_evidence(before, night, dataset, config) if before else None
    inputs = GateInputs(
        config=config.gate,
        targets=config.targets,
        exchange=config.data.exchange,
        relative=dataset.panel.relative and config.targets.direction == "relative",
        heads=config.network.heads,
        losses=config.training.losses,
        scales=files.read_record("targets", TargetsRecord).scales,
        session=night.snapshot.session,
        trained_until=candidate.trained_until,
        agreement=evidence.agreement,
        findings=evidence.findings,
        leaks=evidence.leaks,
        placebo=stored_placebo(night.recipe, locations),
        champion=ComparedModel.of(champion) if champion else None,
        anchor=ComparedModel.of(anchor) if anchor else None,
        processor=processor(),
    )
    return inputs, GateFrames.of(files.read_frame("candidate/evidence"), champion, anchor)
