"""What the skill report says beside its checks: each number against something simpler on the same rows."""

import numpy as np
import pandas as pd
import pytest

from models.config import GateConfig
from models.gate.evidence import Evidence
from models.gate.skill import skill_report
from models.scores import direction_auc

N_SESSIONS, N_SYMBOLS = 80, 20
CONFIG = GateConfig(bootstrap_replicates=200)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A candidate that sees the outcome through noise, a feature that sees less of it, and an entry that loses half."""
    random = np.random.default_rng(5)
    n = N_SESSIONS * N_SYMBOLS
    up = random.permuted(np.tile(np.arange(N_SYMBOLS) % 2, (N_SESSIONS, 1)), axis=1).ravel().astype(float)
    later = np.where(random.random(n) < 0.5, up, random.integers(0, 2, n))
    sigma = 0.01 * random.lognormal(0, 0.4, n)
    return pd.DataFrame(
        {
            "session": np.repeat(pd.bdate_range("2020-01-06", periods=N_SESSIONS).as_unit("s"), N_SYMBOLS),
            "symbol": np.tile([f"S{k:02d}" for k in range(N_SYMBOLS)], N_SESSIONS),
            "fold": np.repeat([0, 1], n // 2),
            "p_up": 1 / (1 + np.exp(-(random.normal(size=n) + 0.5 * (up - 0.5)))),
            "direction": up,
            "direction_next_close": later,
            "p_up_prior": 0.5,
            "p_up_volatility_only": random.normal(size=n),
            "reversal": random.normal(size=n),
            "best_feature": random.normal(size=n) + 0.3 * up,
            "best_feature_name": "close_location_5",
            "volatility": sigma,
            "volatility_target": sigma * random.lognormal(0, 0.3, n),
            "volatility_har": sigma * random.lognormal(0, 0.1, n),
            "volatility_ewma": sigma * random.lognormal(0, 0.4, n),
        }
    )


def report(frame, heads=("direction", "volatility")):
    return skill_report(Evidence.of(frame, CONFIG, reach=5, relative=True), CONFIG, heads)


def why(found, name="direction_auc"):
    return next(check.why for check in found.checks if check.name == name)


def test_the_excess_over_the_best_single_feature_is_on_the_same_rows(frame):
    metrics = report(frame).metrics
    expected = direction_auc(frame["direction"], frame["p_up"]) - direction_auc(
        frame["direction"], frame["best_feature"]
    )
    assert metrics["direction_over_best_feature"] == pytest.approx(expected)
    assert metrics["direction_over_best_feature_low"] < expected < metrics["direction_over_best_feature_high"]


def test_the_best_single_feature_is_named(frame):
    assert "the best single feature of the training rows (close_location_5)" in why(report(frame))


def test_models_that_chose_different_features_are_counted(frame):
    second = frame["best_feature_name"].where(frame["fold"] == 0, "minus return_1")
    three = frame.assign(fold=np.repeat([0, 1, 2, 3], len(frame) // 4), best_feature_name=second)
    three.loc[three["fold"] < 3, "best_feature_name"] = "return_5"
    assert "(return_5 in 3 of 4 models)" in why(report(three))


def test_a_frame_without_a_best_feature_says_nothing_of_it(frame):
    old = report(frame.drop(columns=["best_feature", "best_feature_name"]))
    assert "single feature" not in why(old)
    assert np.isnan(old.metrics["direction_over_best_feature"])


def test_the_share_of_the_edge_that_a_later_entry_leaves_is_told(frame):
    metrics = report(frame).metrics
    assert metrics["direction_next_close_edge"] == pytest.approx(
        (metrics["direction_auc_next_close"] - 0.5) / (metrics["direction_auc"] - 0.5)
    )
    assert f"{100 * metrics['direction_next_close_edge']:.0f} % of the edge" in why(report(frame))


def test_where_no_edge_is_shown_no_share_of_it_is_told(frame):
    found = report(frame.assign(p_up=frame["reversal"]))
    assert np.isnan(found.metrics["direction_next_close_edge"])
    assert "of the edge" not in why(found)


def test_a_model_that_says_the_prior_has_no_brier_skill(frame):
    assert report(frame.assign(p_up=frame["p_up_prior"])).metrics["brier_skill"] == 0.0


def test_volatility_is_compared_with_calibrated_ewma_beside_log_har(frame):
    found = report(frame)
    assert found.metrics["volatility_qlike_har"] < found.metrics["volatility_qlike_ewma"]
    assert found.metrics["volatility_to_ewma"] < found.metrics["volatility_to_har"] < 1.0
    assert "calibrated EWMA volatility scores" in why(found, "volatility_to_har")
