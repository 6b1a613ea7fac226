"""Each way in which a bounded head can be ill, with the check that names it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from models.config import GateConfig, HeadLosses
from models.gate.evidence import Evidence
from models.gate.health import health_checks
from models.records import Scale

SCALE = 0.15
N = 4000


def evidence(**columns):
    """Predictions that keep every promise, except for the columns given as functions of the healthy ones."""
    random = np.random.default_rng(7)
    sigma = 0.015 * np.exp(0.5 * random.normal(size=N))
    realised = sigma * np.exp(0.3 * random.normal(size=N))
    healthy = {
        "p_up": 0.5 + 0.02 * random.normal(size=N),
        "p_up_prior": np.full(N, 0.5),
        "volatility": sigma * np.sqrt(np.mean((realised / sigma) ** 2)),
        "volatility_target": realised,
    }
    frame = pd.DataFrame(healthy | {name: change(healthy[name]) for name, change in columns.items()})
    sessions = pd.bdate_range("2020-01-06", periods=N // 50).repeat(50)
    frame = frame.assign(session=sessions, symbol=[f"S{k}" for k in range(50)] * (N // 50), version="candidate")
    return Evidence.of(frame, GateConfig(bootstrap_replicates=100), reach=5, relative=True)


def failing(rows, *, loss="qlike", trained_until=date(2020, 1, 3), agreement=0.0):
    median = float(np.median(rows.column("volatility_target")))
    scale = Scale(
        head="volatility",
        scale=SCALE,
        proposed=SCALE,
        mean=0.017,
        median=median,
        percentiles={},
        clipped_share=0.0,
        rows=N,
    )
    checks = health_checks(
        rows,
        heads=("direction", "volatility"),
        scales={"volatility": scale},
        losses=HeadLosses(volatility=loss),
        trained_until=trained_until,
        agreement=agreement,
    )
    return {check.name for check in checks if not check.passed}


def with_some(share, value):
    """Replace the first rows of a column."""
    return lambda values: np.where(np.arange(N) < share * N, value, values)


def test_a_healthy_candidate_passes_every_check():
    assert failing(evidence()) == set()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("finite", with_some(1 / N, np.inf)),
        ("volatility_in_range", with_some(1 / N, SCALE * 1.0001)),
        ("volatility_in_range", with_some(1 / N, -1e-9)),
        ("volatility_not_stuck_high", with_some(0.01, SCALE)),
        ("volatility_not_stuck_low", with_some(0.06, 0.0)),
        ("volatility_spread", lambda values: np.mean(values) + 0.1 * (values - np.mean(values))),
        ("volatility_correlation", np.flip),
        ("volatility_calibration", lambda values: 1.2 * values),
        ("volatility_mae_to_median", lambda values: 2 * values),
    ],
)
def test_the_illness_is_named(name, change):
    assert name in failing(evidence(volatility=change))


def test_the_origins_first_head_at_half_its_scale_for_every_row_fails():
    assert {"volatility_spread", "volatility_calibration"} <= failing(evidence(volatility=lambda v: 0 * v + SCALE / 2))


def test_a_head_is_held_to_the_functional_that_its_own_loss_promises():
    root_mean_square = evidence()
    assert "volatility_calibration" in failing(root_mean_square, loss="relative_l1")


def test_a_constant_p_up_has_collapsed():
    assert failing(evidence(p_up=lambda values: 0 * values + 0.53)) == {"direction_spread"}


def test_another_heads_output_in_the_place_of_p_up_is_far_from_the_share_of_ups():
    assert failing(evidence(p_up=lambda p: 0.015 + p / 100)) == {"direction_near_prior", "direction_spread"}
    assert failing(evidence(p_up=lambda p: p - 0.11)) == {"direction_near_prior"}


def test_p_up_is_measured_against_what_went_up_in_training_and_not_against_one_half():
    rising = evidence(p_up=lambda p: p + 0.15, p_up_prior=lambda prior: prior + 0.12)
    assert not failing(rising)


def test_a_month_that_is_forecast_to_fall_is_no_illness_where_direction_is_the_markets():
    falling = evidence(p_up=lambda p: p - 0.2)
    assert failing(falling) == {"direction_near_prior"}
    assert not failing(replace(falling, relative=False))


def test_a_probability_above_one_is_out_of_range():
    assert "direction_in_range" in failing(evidence(p_up=with_some(1 / N, 1.01)))


def test_rows_that_training_has_seen_are_no_evidence():
    assert failing(evidence(), trained_until=date(2020, 1, 6)) == {"out_of_sample"}


@pytest.mark.parametrize("agreement", [2e-5, float("nan")])
def test_an_output_that_depends_on_its_batch_or_is_not_compared_fails(agreement):
    assert failing(evidence(), agreement=agreement) == {"agreement"}
