"""Out-of-sample evidence: what the exported model itself says on sessions that nothing fitted has seen."""

from datetime import date

import numpy as np
import pandas as pd
from prefect import task

from models.baselines import baselines
from models.config import RetrainConfig
from models.dataset import Dataset
from models.gate.champion import ChampionEvidence
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord, local_copy
from models.notation import count, significant
from models.panel import IntArray
from models.records import CandidateRecord, Finding, Record
from models.registry import Registry
from models.serving import ServedModel, disagreement
from tasks.outside import RETRIED
from tasks.run_log import sum_up

COMPARED_SESSIONS = 3
COMPARED_ROWS = 8
"""Rows of each of these sessions that are asked alone, in a batch, and with later bars cut off."""


class EvidenceRecord(Record):
    """What the evaluation found beside the frame of predictions."""

    agreement: float
    findings: tuple[Finding, ...]
    champion: str | None
    """What served when the night began to judge; a promotion is valid only while it still does."""


@task(name="evaluate", **RETRIED)
def evaluate(night: NightRecord, candidate: CandidateRecord, config: RetrainConfig) -> EvidenceRecord:
    """Write the out-of-sample frame beside the model: predictions, realised targets and baselines, row by row."""
    from expectations.predictions import check_predictions

    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    dataset = files.read_dataset(config)
    with local_copy(candidate.uri) as directory:
        model = ServedModel(directory)
        frame = out_of_sample(model, dataset)
        agreement = disagreement(model, dataset.bars, dataset.panel, _compared_rows(dataset), config.data)
    files.write_frame("candidate/evidence", frame)
    findings = check_predictions(
        frame, scales=candidate.scales, name=f"{night.version} evidence", docs=locations.data_docs
    )
    unseen = f"{count(len(frame))} rows of {frame['session'].nunique()} sessions that nothing fitted has seen"
    sum_up(
        f"{candidate.version} predicted {unseen}; asked alone, in a batch and without later bars it differs by at most "
        f"{significant(agreement)}."
    )
    champion = Ledger(locations).champion_version()
    return EvidenceRecord(agreement=agreement, findings=findings, champion=champion)


def out_of_sample(model: ServedModel, dataset: Dataset) -> pd.DataFrame:
    """The frame that the gate reads: `session, symbol, fold, version`, heads, realised targets, baselines."""
    rows = dataset.evidence
    predicted = model.predict(dataset.panel, rows)
    predicted.insert(2, "fold", dataset.split.fold)
    beside = baselines(
        dataset.panel,
        volatility=dataset.targets.volatility,
        magnitude=dataset.targets.magnitude,
        direction=dataset.targets.direction,
        training_rows=dataset.train,
        rows=rows,
    )
    return pd.concat([predicted, dataset.realised(rows), beside], axis=1)


def champion_evidence(
    version: str, night: NightRecord, candidate: CandidateRecord, dataset: Dataset, config: RetrainConfig
) -> ChampionEvidence:
    """The champion's stored frame, and its own model run on the rows that neither of the two has seen."""
    locations = Locations(config.storage)
    with local_copy(str(Registry(locations).fetch(version))) as directory:
        model = ServedModel(directory)
        stored = pd.read_parquet(directory / "evidence.parquet")
    trained_until = date.fromisoformat(model.card.trained_until)
    unseen = np.datetime64(max(trained_until, candidate.trained_until))
    rows = dataset.evidence[dataset.panel.session_of(dataset.evidence) > unseen]
    return ChampionEvidence(
        version=version,
        session=date.fromisoformat(model.card.session),
        same_recipe=model.card.recipe == night.recipe,
        trained_until=trained_until,
        stored=stored,
        fresh=model.predict(dataset.panel, rows),
        incomparable=asked_differently(model.card.retrain_config, config),
    )


def asked_differently(champion: RetrainConfig, candidate: RetrainConfig) -> str:
    """What the two models answer differently, in words; empty when they can be compared row by row."""
    pairs = {
        "data.exchange": (champion.data.exchange, candidate.data.exchange),
        "targets.horizon_sessions": (champion.targets.horizon_sessions, candidate.targets.horizon_sessions),
        "targets.entry": (champion.targets.entry, candidate.targets.entry),
        "targets.direction": (champion.targets.direction, candidate.targets.direction),
        "network.heads": (champion.network.heads, candidate.network.heads),
    }
    return ", ".join(f"{name} {ours} against {theirs}" for name, (theirs, ours) in pairs.items() if ours != theirs)


def _compared_rows(dataset: Dataset) -> IntArray:
    rows = dataset.evidence
    sessions = dataset.panel.session[rows]
    chosen = [rows[sessions == session] for session in np.unique(sessions)[-COMPARED_SESSIONS:]]
    return np.concatenate([of_session[:: max(1, len(of_session) // COMPARED_ROWS)] for of_session in chosen])
