"""The numbers behind the report's pictures, against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from models import pictures
from models.diagnostics import auc_by, by_group, reliability, roc_curve
from tests.synthetic_night import evidence


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return evidence(40, 80).assign(p_up=lambda rows: rows["p_up"].round(3))


def test_the_area_under_the_curve_is_the_auc(frame):
    assert roc_curve(frame).area == pytest.approx(roc_auc_score(frame["direction"], frame["p_up"]), abs=5e-4)


def test_the_auc_of_each_session_is_that_of_scikit_learn_with_ties(frame):
    ours = auc_by(frame, "session")
    theirs = {day: roc_auc_score(rows["direction"], rows["p_up"]) for day, rows in frame.groupby("session")}
    np.testing.assert_allclose(ours, pd.Series(theirs))


def test_the_auc_of_a_group_with_one_class_is_missing(frame):
    one_sided = frame.assign(direction=frame["direction"].where(frame["symbol"] != "S001", 1.0))
    assert np.isnan(auc_by(one_sided, "symbol")["S001"])


def test_the_band_contains_the_curve_almost_everywhere(frame):
    curve = roc_curve(frame)
    inside = (curve.low <= curve.true_positive) & (curve.true_positive <= curve.high)
    assert inside.mean() > 0.95


def test_sessions_that_move_together_make_the_band_wider_than_independent_rows(frame):
    together = frame.assign(
        direction=(frame["session"].dt.day % 2 == frame.index % 10 // 5).astype("float64"),
        p_up=0.5 + 0.1 * (frame["session"].dt.day % 3 == frame.index % 10 // 5),
    )
    shuffled = together.assign(session=together["session"].sample(frac=1, random_state=1).to_numpy())
    width, independent = (float(np.mean(c.high - c.low)) for c in (roc_curve(together), roc_curve(shuffled)))
    assert width > 1.5 * independent


def test_no_curve_is_drawn_without_a_second_class(frame):
    assert roc_curve(frame.assign(direction=1.0)) is None


def test_no_curve_is_drawn_without_the_score(frame):
    assert roc_curve(frame, "no such column") is None


def test_calibrated_probabilities_lie_within_the_errors_of_the_diagonal():
    rng = np.random.default_rng(5)
    frame = evidence(60, 200).assign(p_up=lambda rows: rng.uniform(0.3, 0.7, len(rows)))
    bins = reliability(frame.assign(direction=(rng.random(len(frame)) < frame["p_up"]).astype("float64")))
    assert ((bins["realised"] - bins["predicted"]).abs() < 4 * bins["standard_error"]).all()


def test_the_bins_of_the_reliability_hold_every_row_that_has_a_direction(frame):
    holed = frame.assign(direction=frame["direction"].where(frame.index % 5 > 0))
    assert reliability(holed)["rows"].sum() == holed["direction"].notna().sum()


def test_a_constant_forecast_is_one_bin_of_the_reliability(frame):
    bins = reliability(frame.assign(p_up=0.5))
    assert bins["rows"].tolist() == [frame["direction"].notna().sum()]
    assert bins["realised"].item() == pytest.approx(frame["direction"].mean())
    assert pictures.reliability(bins).startswith(b"\x89PNG")


def test_means_of_a_symbol_leave_out_rows_without_a_target(frame):
    holed = frame.assign(volatility_target=frame["volatility_target"].where(frame.index % 3 > 0))
    known = holed[holed["symbol"].eq("S007") & holed["volatility_target"].notna()]
    assert by_group(holed, "symbol").loc["S007", "volatility"] == pytest.approx(known["volatility"].mean())


def test_symbols_with_the_most_rows_come_first(frame):
    assert by_group(frame, "symbol")["rows"].is_monotonic_decreasing
