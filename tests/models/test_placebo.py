"""The label placebo: one half where all is sound, and not where a label reaches what is judged on it."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from models.config import RetrainConfig, StorageConfig
from models.dataset import Dataset
from models.locations import Locations
from models.panel import build_panel
from models.placebo import (
    PlaceboRecord,
    measure,
    placebo_check,
    placebo_metrics,
    shuffled,
    store_placebo,
    stored_placebo,
)
from models.records import Check

SESSION = date(2020, 6, 30)


@pytest.fixture(scope="module")
def dataset(make_market) -> Dataset:
    config = RetrainConfig.model_validate(
        {
            "network": {"window": 21, "spans": [1, 3, 8]},
            "training": {"validation_sessions": 20},
            "gate": {"evidence_sessions": 100},
        }
    )
    bars = make_market(n_symbols=25, n_sessions=340)
    return Dataset.of(bars, build_panel(bars, config.data).market, config)


def record(aucs, recipe="r"):
    moment = datetime(2020, 6, 27, 13, tzinfo=UTC)
    return PlaceboRecord(recipe=recipe, session=SESSION, measured_at=moment, aucs=tuple(aucs), seconds=1.0)


def null(mean, n=40, sd=0.01):
    """AUCs of exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, n)
    return record(mean + sd * values / values.std(ddof=1))


def test_a_sound_pipeline_comes_out_at_one_half(dataset):
    placebo = measure(dataset, "r", SESSION)
    assert placebo_check(placebo, 0.52).passed
    assert placebo.sd > 0


def test_what_some_symbols_do_always_is_no_skill_of_the_null(dataset):
    """Without the coin a symbol that always rises would be known from its other features on any shuffle."""
    panel, targets = dataset.panel, dataset.targets
    wild = np.isin(panel.symbols, np.unique(panel.symbols)[:8])[panel.series]
    steady = replace(targets, direction=np.where(targets.known, wild.astype(float), np.nan))
    label = shuffled(steady.direction, panel, targets.reach, seed=0)
    known = ~np.isnan(label)
    shares = [np.mean(label[known & (wild == kind)]) for kind in (True, False)]
    assert shares[0] == pytest.approx(1 - shares[1], abs=0.01)
    assert 0.1 < shares[0] < 0.9


def test_rows_that_were_trained_on_are_found_among_those_judged(dataset, monkeypatch):
    from models import placebo

    rows = placebo._Rows.of(dataset)
    everything = np.concatenate([rows.train, rows.evidence])
    overlapping = rows._replace(train=everything, evidence=everything)
    monkeypatch.setattr(placebo._Rows, "of", classmethod(lambda cls, dataset: overlapping))
    assert not placebo_check(measure(dataset, "r", SESSION), 0.52).passed


def test_each_symbol_keeps_its_own_labels_and_a_cross_section_moves_as_one(dataset):
    panel, direction = dataset.panel, dataset.targets.direction
    label = shuffled(direction, panel, dataset.targets.reach, seed=3)

    def by_session(values):
        table = np.full((len(panel.symbols), len(panel.sessions)), np.nan)
        table[panel.series, panel.session] = values
        return table.T

    before, after = by_session(direction), by_session(label)
    originals = {row.tobytes() for one in (before, 1.0 - before) for row in one}
    assert all(row.tobytes() in originals for row in after if not np.isnan(row).all())
    assert not np.array_equal(before, after, equal_nan=True)


def test_neighbouring_sessions_stay_neighbours_within_a_block(dataset):
    from models.placebo import _order

    source, turned = _order(100, 10, np.random.default_rng(1))
    assert sorted(source) == list(range(100))
    assert (np.diff(source.reshape(10, 10), axis=1) == 1).all()
    assert (turned.reshape(10, 10) == turned.reshape(10, 10)[:, :1]).all()


@pytest.mark.parametrize(("mean", "passed"), [(0.5, True), (0.505, True), (0.507, False), (0.493, False)])
def test_the_mean_may_miss_one_half_by_four_standard_errors(mean, passed):
    assert placebo_check(null(mean), 0.52).passed is passed


@pytest.mark.parametrize("aucs", [(), (0.5,), (0.5, float("nan"))])
def test_a_null_that_cannot_be_judged_never_passes(aucs):
    assert not placebo_check(record(aucs), 0.52).passed


def test_a_null_that_is_no_number_is_read_back_and_fails(tmp_path):
    """One symbol alone: no session has both classes, and no shuffle an AUC."""
    locations = Locations(StorageConfig(home=str(tmp_path)))
    store_placebo(record([np.nan] * 3), locations)
    kept = stored_placebo("r", locations)
    assert kept.aucs == (None,) * 3
    check = placebo_check(kept, 0.52)
    assert not check.passed
    assert Check.model_validate_json(check.model_dump_json()) == check
    assert np.isnan(placebo_metrics(kept, 0.52)["placebo_share_below"])


def test_the_nights_auc_is_shown_against_the_null():
    metrics = placebo_metrics(record([0.48, 0.49, 0.5, 0.53]), 0.52)
    assert metrics["placebo_share_below"] == 0.75
    assert "exceeds 75 % of them" in placebo_check(record([0.48, 0.49, 0.5, 0.53]), 0.52).why


def test_a_record_is_found_again_by_its_recipe_alone(tmp_path):
    locations = Locations(StorageConfig(home=str(tmp_path)))
    store_placebo(record([0.49, 0.51], "one"), locations)
    assert stored_placebo("one", locations) == record([0.49, 0.51], "one")
    assert stored_placebo("another", locations) is None
