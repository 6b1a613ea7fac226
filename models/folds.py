"""Recipe folds: one model a calendar quarter, trained on nothing but its past, and kept for later nights.

They tell how good the recipe is. What a fold learnt from lies in the past and rarely changes from night to night, so
its model is trained once: it is kept under the hash of those rows, of the recipe and of the seed. Where a past bar was
revised, a split stated or the recipe changed, the hash is another and the fold is trained.
"""

import hashlib
import logging
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from models.dataset import Dataset
from models.fit import Course, Material, Progress, fit, settle
from models.locations import Locations, exists, open_at, write_whole
from models.panel import Float32Array, IntArray
from models.records import FoldRecord, Record
from models.splits import Split

log = logging.getLogger(__name__)

_ROWS_AT_ONCE: Final = 65_536


@dataclass(frozen=True)
class Fold:
    """A trained fold and what it says of the sessions after its training."""

    record: FoldRecord
    curves: tuple[dict[str, float], ...]
    predictions: pd.DataFrame
    """`session, symbol, fold, version, p_up` and the bounded heads, in the order of the split's evidence rows."""


class _Kept(Record):
    """`fold.json`: written last, so that where it is, the model is."""

    record: FoldRecord
    curves: tuple[dict[str, float], ...]
    model_sha256: str


def recipe_folds(
    dataset: Dataset,
    seen: Float32Array,
    recipe: str,
    locations: Locations,
    progress: Callable[[Split], Progress] | None = None,
) -> tuple[Fold, ...]:
    """Every fold of the night's plan, oldest first: taken from the store, or trained and kept there.

    Args:
        dataset: The night's.
        seen: (M, n) summaries of all rows.
        recipe: Hash of the recipe.
        locations: Where folds are kept.
        progress: For each split, what is told of its epochs if it has to be trained.
    """
    settle(dataset.config.training)  # a kept fold is the first to compute: the candidate's threads would be fixed by it
    return tuple(
        _fold(dataset, split, seen, recipe, locations, progress(split) if progress else None)
        for split in dataset.plan.folds
    )


def course_of(folds: Sequence[Fold]) -> Course | None:
    """What the candidate takes over from the folds, each the middle one of theirs; None without folds."""
    if not folds:
        return None
    penalties = [fold.record.penalty for fold in folds if fold.record.penalty is not None]
    return Course(
        epochs=statistics.median_low(fold.record.epochs for fold in folds),
        penalty=statistics.median_low(penalties) if penalties else None,
    )


def fold_key(dataset: Dataset, split: Split, recipe: str) -> str:
    """Hash of what decides a fold's weights: the rows that it reads, recipe, seed, threads and determinism.

    Not of the device, which the fold's record tells, nor of the kind of processor and XLA's flags.
    """
    panel, config = dataset.panel, dataset.config
    first, boundary = split.train[0] - config.network.window, split.validation[1] + split.reach
    rows = np.flatnonzero((panel.session >= first) & (panel.session < boundary))
    digest = hashlib.sha256()
    series, starts = np.unique(panel.series[rows], return_index=True)
    digest.update("\n".join(panel.symbols[series]).encode() + starts.tobytes())
    read = (panel.session_of(rows), panel.bars[rows], panel.present[rows], panel.member[rows])
    for values in (*read, panel.market_return[max(first, 0) : boundary]):
        digest.update(np.ascontiguousarray(values).tobytes())
    parts = [position - first for position in (*split.train, *split.validation)]  # the axis moves on with each night
    training = config.training
    asked = (recipe, panel.relative, training.seed, training.threads, training.deterministic, parts)
    digest.update(repr(asked).encode())
    return digest.hexdigest()[:24]


def _fold(
    dataset: Dataset, split: Split, seen: Float32Array, recipe: str, locations: Locations, progress: Progress | None
) -> Fold:
    key = fold_key(dataset, split, recipe)
    place = f"{locations.folds}/{key}"
    kept = _find(place)
    if kept is None:
        trained, trunk = _train(dataset, split, seen, key, progress)
        # neither a busy night nor a process with other threads is a reason to be asked the same again for a year
        if not trained.record.cut_short and trained.record.threads == dataset.config.training.threads:
            _keep(place, trained, trunk)
    else:
        trained, trunk = kept
    record = trained.record.model_copy(update={"fold": split.fold, "reused": kept is not None})
    rows = dataset.between(split.evidence)
    return Fold(record, trained.curves, _predictions(trunk, dataset, seen, rows, record))


def _train(
    dataset: Dataset, split: Split, seen: Float32Array, key: str, progress: Progress | None
) -> tuple[_Kept, keras.Model]:
    train, validation = dataset.between(split.train), dataset.between(split.validation)
    material = Material(seen, dataset.targets, train, validation, dataset.scales(rows=train))
    fitted = fit(material, dataset.config, progress)
    boundary = pd.Timestamp(dataset.panel.sessions[split.trained_until + 1])
    record = FoldRecord(
        fold=split.fold,
        key=key,
        version=f"fold-{boundary.year}Q{boundary.quarter}-{key[:8]}",
        trained_until=dataset.panel.sessions[split.trained_until].item(),
        rows=len(train),
        epochs=fitted.epochs,
        penalty=fitted.penalty,
        threads=fitted.threads,
        device=fitted.device,
        seconds=fitted.seconds,
        cut_short=fitted.cut_short,
        reused=False,
    )
    return _Kept(record=record, curves=fitted.curves, model_sha256=""), fitted.trunk


def _keep(place: str, trained: _Kept, trunk: keras.Model) -> None:
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        trunk.save(file.name)
        content = Path(file.name).read_bytes()
    write_whole(f"{place}/trunk.keras", content)
    whole = trained.model_copy(update={"model_sha256": hashlib.sha256(content).hexdigest()})
    write_whole(f"{place}/fold.json", whole.model_dump_json(indent=1).encode())


def _find(place: str) -> tuple[_Kept, keras.Model] | None:
    """The fold that is kept here, if all of it is there as it was written."""
    if not exists(f"{place}/fold.json") or not exists(f"{place}/trunk.keras"):
        return None
    with open_at(f"{place}/fold.json", "r") as file:
        kept = _Kept.model_validate_json(file.read())
    with open_at(f"{place}/trunk.keras") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != kept.model_sha256:
        log.warning("the fold kept in %s is damaged and is trained again", place)
        return None
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        Path(file.name).write_bytes(content)
        return kept, keras.saving.load_model(file.name, compile=False)


def _predictions(
    trunk: keras.Model, dataset: Dataset, seen: Float32Array, rows: IntArray, record: FoldRecord
) -> pd.DataFrame:
    blocks = [_averaged(trunk, seen[rows[i : i + _ROWS_AT_ONCE]]) for i in range(0, len(rows), _ROWS_AT_ONCE)]
    frame = pd.DataFrame(
        {
            "session": dataset.panel.session_of(rows).astype("datetime64[s]"),
            "symbol": pd.Series(dataset.panel.symbol_of(rows), dtype="str"),
            "fold": record.fold,
            "version": pd.Series([record.version] * len(rows), dtype="str"),
        }
    )
    for head in dataset.config.network.heads:
        values = np.concatenate([block[head] for block in blocks]).astype(np.float64)
        frame["p_up" if head == "direction" else head] = values[:, 1] if head == "direction" else values
    return frame


def _averaged(trunk: keras.Model, summaries: Float32Array) -> dict[str, Float32Array]:
    """Mean over the members, as the exported network takes it, and on the CPU like that."""
    with tf.device("/CPU:0"):
        return {head: np.asarray(output).mean(axis=0) for head, output in trunk(summaries).items()}
