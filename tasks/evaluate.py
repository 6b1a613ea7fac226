"""Out-of-sample evidence: what recipe folds and the exported model say on sessions that nothing fitted has seen."""

from datetime import date

import numpy as np
import pandas as pd
from prefect import task

from models.baselines import baselines
from models.calendar import Calendar
from models.card import ModelCard
from models.config import RetrainConfig
from models.dataset import Dataset
from models.features import summaries, summary_names
from models.gate.champion import ChampionEvidence
from models.leaks import leak_checks
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord, local_copy
from models.notation import count, significant
from models.panel import IntArray
from models.records import CandidateRecord, Check, Finding, Record
from models.registry import Registry
from models.serving import ServedModel, disagreement
from models.slices import dollar_volume
from models.targets import is_relative
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
    leaks: tuple[Check, ...] = ()
    """Whether anything that was fitted has seen what it is judged on."""


@task(name="evaluate", **RETRIED)
def evaluate(night: NightRecord, candidate: CandidateRecord, config: RetrainConfig) -> EvidenceRecord:
    """Write the out-of-sample frame beside the model: predictions, realised targets and baselines, row by row."""
    from expectations.predictions import check_predictions

    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    dataset = files.read_dataset(config)
    with local_copy(candidate.uri) as directory:
        model = ServedModel(directory)
        own = model.predict(dataset.panel, dataset.fresh)
        agreement = disagreement(model, dataset.bars, dataset.panel, _compared_rows(dataset), config.data)
    folds = files.read_frame("folds") if candidate.folds else None
    frame = out_of_sample(own, folds, dataset)
    files.write_frame("candidate/evidence", frame)
    findings = check_predictions(
        frame[frame["version"] == candidate.version].reset_index(drop=True),
        scales=candidate.scales,
        name=f"{night.version} evidence",
        docs=locations.data_docs,
    )
    sum_up(_summary(frame, candidate, agreement))
    champion = Ledger(locations).champion_version()
    leaks = leak_checks(dataset, dataset.plan.splits, frame)
    return EvidenceRecord(agreement=agreement, findings=findings, champion=champion, leaks=leaks)


def _summary(frame: pd.DataFrame, candidate: CandidateRecord, agreement: float) -> str:
    own = frame[frame["version"] == candidate.version]
    before = len(frame) - len(own)
    told = f", and the recipe folds {count(before)} before them" if before else ""
    return (
        f"{candidate.version} predicted {count(len(own))} rows of {own['session'].nunique()} sessions that nothing "
        f"fitted has seen{told}; asked alone, in a batch and without later bars it differs by at most "
        f"{significant(agreement)}."
    )


def out_of_sample(own: pd.DataFrame, folds: pd.DataFrame | None, dataset: Dataset) -> pd.DataFrame:
    """The frame that the gate reads: `session, symbol, fold, version`, heads, realised targets, baselines.

    Beside them `dollar_volume`, which only the report reads.

    Args:
        own: The candidate's predictions for `dataset.fresh`.
        folds: Those of the recipe folds for the rows before, in the order of `dataset.evidence`; None without folds.
        dataset: The night's.
    """
    own.insert(2, "fold", dataset.split.fold)
    predicted = own if folds is None else pd.concat([folds, own], ignore_index=True)
    network = dataset.config.network
    beside = baselines(
        dataset.panel,
        dataset.targets,
        [(dataset.between(split.train), dataset.between(split.evidence)) for split in dataset.plan.splits],
        summaries(dataset.panel, network.window, network.spans),
        summary_names(network.spans),
    )
    traded = pd.Series(dollar_volume(dataset.panel, dataset.evidence), name="dollar_volume")
    return pd.concat([predicted, dataset.realised(dataset.evidence), beside, traded], axis=1)


def anchor_version(champion: str | None, night: NightRecord, config: RetrainConfig) -> str | None:
    """What served `gate.anchor_sessions` before this night; None where that is the champion, or nothing served."""
    session = Calendar.of(config.data).after(night.snapshot.session, -config.gate.anchor_sessions)
    served = Ledger(Locations(config.storage)).champion_after_session(session)
    return None if champion is None or served == champion else served


def champion_evidence(version: str, night: NightRecord, dataset: Dataset, config: RetrainConfig) -> ChampionEvidence:
    """The stored frame of a version that serves or served, and its own model run on the rows that it has not seen."""
    locations = Locations(config.storage)
    with local_copy(str(Registry(locations).fetch(version))) as directory:
        model = ServedModel(directory)
        stored = pd.read_parquet(directory / "evidence.parquet")
    trained_until = date.fromisoformat(model.card.trained_until)
    rows = dataset.evidence[dataset.panel.session_of(dataset.evidence) > np.datetime64(trained_until)]
    return ChampionEvidence(
        version=version,
        session=date.fromisoformat(model.card.session),
        same_recipe=model.card.recipe == night.recipe,
        trained_until=trained_until,
        stored=stored,
        fresh=model.predict(dataset.panel, rows),
        incomparable=asked_differently(model.card, config, is_relative(dataset.panel, config.targets)),
    )


def asked_differently(card: ModelCard, candidate: RetrainConfig, relative: bool) -> str:
    """What the two models answer differently, in words; empty when they can be compared row by row.

    Args:
        card: The champion's.
        candidate: Configuration of the night.
        relative: Whether the candidate's direction is told against the universe.
    """
    champion = card.retrain_config
    directions = ("absolute", "relative")
    pairs = {
        "data.exchange": (champion.data.exchange, candidate.data.exchange),
        "data.universe": (champion.data.universe.in_words, candidate.data.universe.in_words),
        "targets.horizon_sessions": (champion.targets.horizon_sessions, candidate.targets.horizon_sessions),
        "targets.entry": (champion.targets.entry, candidate.targets.entry),
        "targets.direction": (champion.targets.direction, candidate.targets.direction),
        "network.heads": tuple(sorted(one.network.heads) for one in (champion, candidate)),
        "direction": (directions[relative if card.relative is None else card.relative], directions[relative]),
    }
    return ", ".join(f"{name} {ours} against {theirs}" for name, (theirs, ours) in pairs.items() if ours != theirs)


def _compared_rows(dataset: Dataset) -> IntArray:
    rows = dataset.fresh
    sessions = dataset.panel.session[rows]
    chosen = [rows[sessions == session] for session in np.unique(sessions)[-COMPARED_SESSIONS:]]
    return np.concatenate([of_session[:: max(1, len(of_session) // COMPARED_ROWS)] for of_session in chosen])
