"""Targets, their percentiles and the scales of the bounded heads; nothing is trained on targets that fail here."""

from prefect import task

from models.config import RetrainConfig
from models.errors import TargetsStopped
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.notation import count, significant
from models.records import Finding, Record, Scale
from models.target_checks import target_facts
from tasks.outside import RETRIED
from tasks.run_log import sum_up

HISTORY_NIGHTS = 60
"""Decided nights that tonight's targets are compared with."""


class TargetsRecord(Record):
    """What the targets of a night look like."""

    scales: dict[str, Scale]
    findings: tuple[Finding, ...]


class Judgeable(Record):
    """Whether a night has enough history, in sessions."""

    available: int
    needed: int

    @property
    def enough(self) -> bool:
        return self.available >= self.needed


@task(name="measure history", **RETRIED)
def measure_history(night_id: str, config: RetrainConfig) -> Judgeable:
    """Sessions with a full window and a target, against those that training and evidence need."""
    past = NightFiles(Locations(config.storage), night_id).read_dataset(config).history
    return Judgeable(available=past.sessions, needed=past.needed)


@task(name="recompute targets", **RETRIED)
def recompute_targets(night: NightRecord, config: RetrainConfig) -> TargetsRecord:
    """Percentiles and scales of tonight's training targets, checked before anything is trained on them.

    Raises:
        TargetsStopped: a check of the targets' contract failed; the message names it with its numbers.
    """
    files = NightFiles(Locations(config.storage), night.night_id)
    if files.has("targets.json"):  # a night that was interrupted goes on with the scales that it trained on
        record = files.read_record("targets", TargetsRecord)
    else:
        record = _recompute(night, files, config)
    sum_up(_summary(record))
    return record


def _summary(record: TargetsRecord) -> str:
    heads = ", ".join(
        f"{head} from {count(one.rows)} targets with median {significant(one.median)} bounded by "
        f"{significant(one.scale)}"
        for head, one in record.scales.items()
    )
    held = sum(found.held for found in record.findings)
    return f"Scales: {heads}; {held} of {len(record.findings)} rules of the targets' contract hold."


def _recompute(night: NightRecord, files: NightFiles, config: RetrainConfig) -> TargetsRecord:
    from expectations.targets import check_targets

    locations = Locations(config.storage)
    dataset = files.read_dataset(config)
    history = Ledger(locations).recent_facts(
        HISTORY_NIGHTS, before=night.snapshot.session, horizon_sessions=config.targets.horizon_sessions
    )
    scales = dataset.scales(history)
    facts = target_facts(dataset.panel, dataset.targets, dataset.train, scales, config.targets, history)
    findings = check_targets(
        dataset.target_frame(), facts, targets=config.targets, name=night.version, docs=locations.data_docs
    )
    broken = [finding for finding in findings if finding.level == "stop" and not finding.held]
    if broken:
        raise TargetsStopped(
            f"The targets of {night.snapshot.session} are not what they claim to be; nothing was trained and the "
            f"champion stays. {' '.join(f'{finding.rule}: {finding.why}' for finding in broken)} "
            f"Look at the delivered prices in the Data Docs, or at the limits in [targets] of the configuration."
        )
    record = TargetsRecord(scales=scales, findings=findings)
    files.write_record("targets", record)
    return record
