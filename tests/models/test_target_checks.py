import math
from dataclasses import replace

import numpy as np
import pytest

from models.config import RetrainConfig, TargetsConfig
from models.dataset import Dataset
from models.panel import build_panel
from models.target_checks import second_computation_error, target_facts
from models.targets import Targets, compute_targets

CONFIG = RetrainConfig.model_validate(
    {
        "network": {"window": 21, "spans": (1, 3, 8)},
        "training": {"validation_sessions": 20},
        "gate": {"folds": "single"},
    }
)


@pytest.fixture(scope="module")
def dataset(make_market):
    bars = make_market(n_symbols=25, n_sessions=160)
    return Dataset.of(bars, build_panel(bars, CONFIG.data).market, CONFIG)


def facts(dataset, targets=None, history=()):
    targets = targets or dataset.targets
    return target_facts(dataset.panel, targets, dataset.train, dataset.scales(), TargetsConfig(), history)


def test_sound_targets_agree_with_the_second_computation(dataset):
    found = facts(dataset)
    assert found["volatility_second_computation"] < 1e-12
    assert found["magnitude_constant_price"] == 0


def test_half_of_the_directions_are_up(dataset):
    assert facts(dataset)["up_share"] == pytest.approx(0.5, abs=0.02)


def test_drift_is_told_against_the_median_of_the_last_nights(dataset):
    mean = facts(dataset)["volatility_mean"]
    nights = [{"volatility_mean": mean / 2}, {"volatility_mean": mean / 4}, {"volatility_mean": mean / 100}]
    assert facts(dataset, history=nights)["volatility_drift"] == pytest.approx(4)


def test_without_earlier_nights_there_is_no_drift(dataset):
    assert math.isnan(facts(dataset)["volatility_drift"])


def test_a_target_that_is_missing_where_a_plain_computation_has_one_is_an_infinite_error(dataset):
    lost = dataset.targets.volatility.copy()
    lost[dataset.train] = np.nan
    broken = Targets(dataset.targets.direction, lost, dataset.targets.magnitude, 5)
    assert math.isinf(facts(dataset, broken)["volatility_second_computation"])


def test_a_target_whose_horizon_is_not_over_is_an_infinite_error(dataset):
    last = dataset.panel.offsets[1:] - 1
    padded = replace(dataset.targets, volatility=np.nan_to_num(dataset.targets.volatility))
    assert math.isinf(second_computation_error(dataset.panel, padded, last, TargetsConfig())["volatility"])


def test_scales_come_from_training_sessions_alone(make_market):
    bars = make_market(n_symbols=25, n_sessions=160)
    wild = bars.copy()
    late = wild["session"] >= wild["session"].unique()[112]
    noise = np.random.default_rng(0).uniform(0.7, 1.4, late.sum())
    wild.loc[late, ["open", "high", "low", "close"]] = wild.loc[late, ["open", "high", "low", "close"]].mul(
        noise, axis=0
    )
    scales = [Dataset.of(b, build_panel(b, CONFIG.data).market, CONFIG).scales() for b in (bars, wild)]
    assert scales[0] == scales[1]


def test_targets_of_training_rows_end_before_the_evidence_begins(dataset):
    last = dataset.panel.session[dataset.train].max() + dataset.targets.reach
    assert last < dataset.panel.session[dataset.validation].min()
    assert dataset.trained_until < dataset.panel.session_of(dataset.evidence).min()


def test_the_label_reach_follows_the_entry(dataset):
    later = compute_targets(dataset.panel, TargetsConfig(entry="next_close"))
    assert later.reach == dataset.targets.reach + 1
