"""Recipe folds: trained once, on nothing but their past, and the same ever after."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from models.config import RetrainConfig, StorageConfig
from models.dataset import Dataset
from models.features import summaries
from models.locations import Locations
from models.panel import build_panel
from models.records import FoldRecord

pytest.importorskip("keras")

from models.fit import Course, Material, fit
from models.folds import Fold, course_of, fold_key, recipe_folds

CONFIG = RetrainConfig.model_validate(
    {
        "network": {"window": 21, "spans": [1, 3, 8], "hidden": [8], "fusion": 8},
        "targets": {"horizon_sessions": 3},
        "training": {"members": 2, "max_epochs": 3, "validation_sessions": 20, "batch_size": 512},
        "gate": {"evidence_sessions": 90},
    }
)


@pytest.fixture(scope="module")
def bars(make_market) -> pd.DataFrame:
    return make_market(n_symbols=25, n_sessions=341)


def night_of(bars: pd.DataFrame, last: int, config: RetrainConfig = CONFIG) -> Dataset:
    """The dataset of the first so many sessions."""
    known = bars[bars["session"] <= np.sort(bars["session"].unique())[last - 1]]
    return Dataset.of(known, build_panel(known, config.data).market, config)


def folds_of(dataset: Dataset, home, recipe: str = "recipe") -> tuple[Fold, ...]:
    seen = summaries(dataset.panel, dataset.config.network.window, dataset.config.network.spans)
    return recipe_folds(dataset, seen, recipe, Locations(StorageConfig(home=str(home))))


def versions(folds: tuple[Fold, ...], reused: bool) -> set[str]:
    return {fold.record.version for fold in folds if fold.record.reused is reused}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(bars, home):
    return folds_of(night_of(bars, 340), home)


def test_the_first_night_trains_every_fold(first):
    assert len(first) >= 2
    assert not versions(first, reused=True)


def test_the_next_night_takes_all_of_them_up_and_predicts_the_same(bars, home, first):
    second = folds_of(night_of(bars, 341), home)
    assert versions(second, reused=True) == versions(first, reused=False)
    ours, theirs = (
        pd.concat([fold.predictions for fold in night]).set_index(["session", "symbol"]) for night in (first, second)
    )
    common = ours.index.intersection(theirs.index)
    assert len(common) > 0.9 * len(ours)
    pd.testing.assert_frame_equal(ours.loc[common], theirs.loc[common], rtol=1e-6)  # other batches round otherwise


def test_a_history_of_fixed_length_that_moves_on_trains_no_fold_again(bars, tmp_path):
    lookback = 330
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"lookback_sessions": lookback})})
    sessions = np.sort(bars["session"].unique())
    nights = [
        folds_of(night_of(bars[bars["session"] >= sessions[last - lookback]], lookback, config), tmp_path)
        for last in (340, 341)
    ]
    assert versions(nights[0], reused=False)
    assert versions(nights[1], reused=True) == versions(nights[0], reused=False)


def test_folds_are_told_by_the_quarter_that_they_judge(bars, first):
    dataset = night_of(bars, 340)
    for fold, split in zip(first, dataset.plan.folds, strict=True):
        judged = pd.Timestamp(dataset.panel.sessions[split.evidence[0]])
        assert fold.record.version.startswith(f"fold-{judged.year}Q{judged.quarter}-")


def test_another_market_or_another_kind_of_direction_is_another_fold(bars):
    dataset = night_of(bars, 340)
    split = dataset.plan.folds[0]
    moved = dataset.panel.market_return.copy()
    moved[split.train[0]] += 0.01
    others = [replace(dataset.panel, market_return=moved), replace(dataset.panel, relative=not dataset.panel.relative)]
    keys = {fold_key(replace(dataset, panel=panel), split, "r") for panel in (dataset.panel, *others)}
    assert len(keys) == 3


def test_a_fold_that_ran_out_of_time_is_not_kept(bars, tmp_path):
    hasty = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"max_seconds": 0.01})})
    hurried, whole = (folds_of(night_of(bars, 340, config), tmp_path) for config in (hasty, CONFIG))
    assert [fold.record.cut_short for fold in (*hurried, *whole)] == [True] * len(hurried) + [False] * len(whole)
    assert not versions(hurried, reused=True)
    assert not versions(whole, reused=True)


def test_predictions_stand_for_the_rows_of_the_split(bars, first):
    dataset = night_of(bars, 340)
    for fold, split in zip(first, dataset.plan.folds, strict=True):
        rows = dataset.between(split.evidence)
        assert (fold.predictions["symbol"].to_numpy() == dataset.panel.symbol_of(rows)).all()
        assert fold.predictions["session"].min() > pd.Timestamp(fold.record.trained_until)


def test_a_revised_bar_has_those_folds_trained_again_that_learnt_from_it(bars, home, first):
    boundary = pd.Timestamp(first[0].record.trained_until)
    revised = bars.copy()
    row = revised[(revised["session"] > boundary) & (revised["symbol"] == revised["symbol"].iloc[0])].index[2]
    revised.loc[row, "volume"] *= 1.5
    again = folds_of(night_of(revised, 340), home)
    assert versions(again, reused=True) == {first[0].record.version}


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": "another"},
        {"config": CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"seed": 2})})},
    ],
    ids=["recipe", "seed"],
)
def test_another_recipe_or_seed_has_folds_of_its_own(bars, home, first, other):
    dataset = night_of(bars, 340, other.get("config", CONFIG))
    assert not versions(folds_of(dataset, home, other.get("recipe", "recipe")), reused=True)


def test_a_damaged_fold_is_trained_again_and_comes_out_the_same(bars, home, first):
    kept = sorted((home / "folds").glob(f"*{first[1].record.version.rsplit('-', 1)[1]}*/trunk.keras"))
    kept[0].write_bytes(kept[0].read_bytes()[:-7])
    again = folds_of(night_of(bars, 340), home)
    assert versions(again, reused=False) == {first[1].record.version}
    pd.testing.assert_frame_equal(again[1].predictions, first[1].predictions)


def fold_with(epochs: int, penalty: float | None) -> Fold:
    record = FoldRecord(
        fold=0,
        key="k",
        version="v",
        trained_until=date(2010, 3, 31),
        rows=1,
        epochs=epochs,
        penalty=penalty,
        seconds=1,
        reused=False,
    )
    return Fold(record, (), pd.DataFrame())


def test_the_candidate_takes_the_middle_of_what_the_folds_chose():
    folds = [fold_with(epochs, penalty) for epochs, penalty in ((3, 0.1), (9, 100.0), (4, 1.0))]
    assert course_of(folds) == Course(4, 1.0)
    assert course_of([fold_with(2, None)]) == Course(2, None)
    assert course_of([]) is None


def test_a_fit_on_a_set_course_trains_so_many_epochs_and_looks_at_no_validation_row(bars):
    dataset = night_of(bars, 340)
    seen = summaries(dataset.panel, 21, (1, 3, 8))
    material = Material(seen, dataset.targets, dataset.train, dataset.validation, dataset.scales())
    assert not len(material.validation)
    fitted = fit(material, CONFIG, course=Course(epochs=5, penalty=10.0))
    other = fit(replace(material, validation=dataset.fresh), CONFIG, course=Course(epochs=5, penalty=10.0))
    assert [curve["epoch"] for curve in fitted.curves] == [1, 2, 3, 4, 5]
    assert (fitted.epochs, fitted.penalty) == (5, 10.0)
    assert all((a == b).all() for a, b in zip(fitted.trunk.get_weights(), other.trunk.get_weights(), strict=True))
