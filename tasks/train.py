"""Fitting and exporting the candidate: the stage that needs a GPU, if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pandas as pd
from prefect import task

from models.card import ModelCard, file_hashes
from models.config import RetrainConfig, StorageConfig
from models.errors import DeadlinePassed, DispatchError
from models.features import summaries
from models.locations import Locations
from models.night import PACKAGES, NightFiles, NightRecord, code_hash, local_copy
from models.notation import count, duration
from models.panel import windows
from models.quiet import load_tensorflow
from models.records import CandidateRecord, FoldRecord
from models.scratch import scratch
from models.splits import Split
from models.targets import is_relative
from tasks.run_log import run_log, sum_up
from tasks.targets import TargetsRecord


@task(name="fit and export")
def fit_candidate(night_id: str, storage: StorageConfig, deadline: datetime | None) -> CandidateRecord:
    """Train tonight's network from scratch and write it as a SavedModel with a golden batch; once a night.

    Raises:
        DeadlinePassed: the fit had to be given up; nothing of it is kept.
        DispatchError: this worker does not see the night's files, or has other code.
        TrainingFailed: the loss was not finite, or there was nothing to fit on.
    """
    files = NightFiles(Locations(storage), night_id)
    if not files.has("night.json"):
        raise DispatchError(
            f"{files.root} holds no night, so there is nothing to train on. The worker that took the snapshot keeps "
            f"its files elsewhere: set NOCTURNE_HOME, or storage.nights, to one place that all workers reach."
        )
    decides, trains = files.read_record("night", NightRecord).code_hash, code_hash(PACKAGES)
    if decides != trains:
        raise DispatchError(
            f"This worker has the code {trains} and the night was begun by {decides}: its candidate and folds would "
            f"bear the name of code that did not train them. Install the same version of Nocturne on all workers, "
            f"restart them, and run the night again."
        )
    if (earlier := finished_candidate(files)) is not None:
        sum_up(f"{earlier.version} was trained before, in {earlier.epochs} epochs; it is not trained again.")
        return earlier
    candidate = _fit(files, files.read_config(storage), deadline)
    weights = (
        f"the weights of epoch {candidate.epochs} were taken, and no label is later than {candidate.trained_until}"
    )
    sum_up(f"{candidate.version} trained in {duration(candidate.seconds)}: {weights}.")
    return candidate


def finished_candidate(files: NightFiles) -> CandidateRecord | None:
    """The candidate of a night that was trained before, if every file of it is there as it was exported."""
    if not files.has("candidate.json"):
        return None
    candidate = files.read_record("candidate", CandidateRecord).model_copy(update={"uri": files.uri("candidate")})
    with local_copy(candidate.uri) as directory:
        found = file_hashes(directory)
    return candidate if candidate.hashes.items() <= found.items() else None


def _fit(files: NightFiles, config: RetrainConfig, deadline: datetime | None) -> CandidateRecord:
    load_tensorflow()
    from models.export import GOLDEN_ROWS, export_candidate
    from models.fit import Material, fit
    from models.folds import course_of, recipe_folds

    night = files.read_record("night", NightRecord)
    scales = files.read_record("targets", TargetsRecord).scales
    dataset = files.read_dataset(config)
    seen = summaries(dataset.panel, config.network.window, config.network.spans)
    folds = recipe_folds(dataset, seen, night.recipe, Locations(config.storage), _Progress(deadline).of)
    if folds:
        files.write_frame("folds", pd.concat([fold.predictions for fold in folds], ignore_index=True))
        sum_up(_about_folds([fold.record for fold in folds]))
    material = Material(seen, dataset.targets, dataset.train, dataset.validation, scales)
    fitted = fit(material, config, progress=_Progress(deadline), course=course_of(folds))
    files.write_frame("curves", _curves(folds[-1].curves if folds else fitted.curves, fitted.epochs))

    card = ModelCard.of(
        config,
        {head: scale.scale for head, scale in scales.items()},
        version=night.version,
        recipe=night.recipe,
        session=str(night.snapshot.session),
        trained_until=str(dataset.trained_until),
        epochs=fitted.epochs,
        relative=is_relative(dataset.panel, config.targets),
    )
    golden = next(windows(dataset.panel, dataset.fresh[-GOLDEN_ROWS:], config.network.window))
    with scratch("candidate") as directory:
        hashes = export_candidate(fitted.trunk, card, golden, directory / "candidate")
        uri = files.store_directory("candidate", directory / "candidate")
    candidate = CandidateRecord(
        version=card.version,
        uri=uri,
        hashes=hashes,
        scales=card.scales,
        trained_until=dataset.trained_until.item(),
        recipe=card.recipe,
        epochs=fitted.epochs,
        seconds=fitted.seconds,
        head_weights=dict(fitted.head_weights),
        head_shares=dict(fitted.head_shares),
        threads=fitted.threads,
        device=fitted.device,
        cut_short=fitted.cut_short,
        folds=tuple(fold.record for fold in folds),
    )
    files.write_record("candidate", candidate)
    return candidate


def _about_folds(folds: Sequence[FoldRecord]) -> str:
    trained = [fold for fold in folds if not fold.reused]
    took = f" in {duration(sum(fold.seconds for fold in trained))}" if trained else ""
    return (
        f"{count(len(folds))} recipe folds, the newest trained until {folds[-1].trained_until}: "
        f"{len(folds) - len(trained)} of earlier nights, {len(trained)} trained now{took}."
    )


def _curves(curves: tuple[dict[str, float], ...], chosen: int) -> pd.DataFrame:
    frame = pd.DataFrame(curves)
    return frame.assign(epoch=frame["epoch"].astype(int), chosen=frame["epoch"] == chosen)


@dataclass(frozen=True)
class _Progress:
    """Tells each epoch, and gives the fit up at its deadline."""

    deadline: datetime | None
    what: str = ""

    def of(self, split: Split) -> "_Progress":
        """The same for one of the recipe folds."""
        return replace(self, what=f"fold {split.fold}, ")

    def __call__(self, epoch: int, max_epochs: int, val_loss: float, seconds_left: float) -> None:
        told = "%sepoch %d of at most %d: loss %.4f, %.0f s left at most"
        run_log().info(told, self.what, epoch, max_epochs, val_loss, seconds_left)
        if self.deadline and datetime.now(UTC) >= self.deadline:
            raise DeadlinePassed(self.deadline)
