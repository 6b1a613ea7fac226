"""Baselines: causal, calibrated on training rows, and blind to absent bars."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from models import scores
from models.baselines import baselines
from models.config import DataConfig, TargetsConfig
from models.features import summaries, summary_names
from models.panel import build_panel
from models.targets import compute_targets

N_SESSIONS, N_SYMBOLS = 160, 8
SPANS = (1, 5)
NUMBERS = [
    "volatility_har",
    "volatility_ewma",
    "magnitude_ewma",
    "p_up_prior",
    "p_up_volatility_only",
    "reversal",
    "best_feature",
]


@pytest.fixture(scope="module")
def panel():
    """Symbols of different, slowly moving volatility; one bar in thirty is absent."""
    random = np.random.default_rng(11)
    sessions = pd.bdate_range("2020-01-06", periods=N_SESSIONS).as_unit("s")
    parts = []
    for number in range(N_SYMBOLS):
        level = np.cumsum(0.15 * random.normal(size=N_SESSIONS)) * 0.5
        sigma = 0.01 * np.exp(level - level.mean() + 0.1 * number)
        close = 50 * np.exp(np.cumsum(sigma * random.normal(size=N_SESSIONS)))
        opening = close * np.exp(0.3 * sigma * random.normal(size=N_SESSIONS))
        spread = np.exp(0.5 * sigma * np.abs(random.normal(size=N_SESSIONS)))
        bars = pd.DataFrame(
            {
                "symbol": f"S{number}",
                "session": sessions,
                "open": opening,
                "high": np.maximum(opening, close) * spread,
                "low": np.minimum(opening, close) / spread,
                "close": close,
                "volume": 1e6,
            }
        )
        parts.append(bars[random.random(N_SESSIONS) > 1 / 30])
    return build_panel(pd.concat(parts, ignore_index=True), DataConfig(min_universe=2))


@pytest.fixture(scope="module")
def targets(panel):
    return compute_targets(panel, TargetsConfig())


def rows_of(panel, targets, first, last):
    known = targets.known & (panel.session >= first) & (panel.session < last)
    return np.flatnonzero(known)


def forecast(panel, targets, rows, training_rows):
    return baselines(panel, targets, [(training_rows, rows)], *bank(panel))


def bank(panel):
    return summaries(panel, 21, SPANS), summary_names(SPANS)


@pytest.fixture(scope="module")
def training_rows(panel, targets):
    return rows_of(panel, targets, 30, 100)


@pytest.fixture(scope="module")
def evidence_rows(panel, targets):
    return rows_of(panel, targets, 110, N_SESSIONS)


def test_every_evidence_row_gets_a_finite_forecast(panel, targets, evidence_rows, training_rows):
    columns = forecast(panel, targets, evidence_rows, training_rows)
    assert np.isfinite(columns[NUMBERS].to_numpy()).all()
    assert len(columns) == len(evidence_rows)


def test_log_har_is_calibrated_for_qlike_on_its_training_rows(panel, targets, training_rows):
    fitted = forecast(panel, targets, training_rows, training_rows)["volatility_har"]
    calibrated = np.mean((targets.volatility[training_rows] / fitted) ** 2)
    assert calibrated == pytest.approx(1.0, abs=1e-6)


def test_ewma_volatility_is_calibrated_for_qlike_on_its_training_rows(panel, targets, training_rows):
    fitted = forecast(panel, targets, training_rows, training_rows)["volatility_ewma"]
    assert np.mean((targets.volatility[training_rows] / fitted) ** 2) == pytest.approx(1.0, abs=1e-6)


def test_the_prior_is_the_training_rows_share_of_ups(panel, targets, evidence_rows, training_rows):
    prior = forecast(panel, targets, evidence_rows, training_rows)["p_up_prior"]
    assert (prior == np.nanmean(targets.direction[training_rows])).all()


def test_the_magnitude_baseline_has_the_training_rows_mean(panel, targets, training_rows):
    fitted = forecast(panel, targets, training_rows, training_rows)["magnitude_ewma"]
    assert fitted.mean() == pytest.approx(targets.magnitude[training_rows].mean())


def test_log_har_beats_a_constant_where_volatility_clusters(panel, targets, evidence_rows, training_rows):
    realised = targets.volatility[evidence_rows]
    har = forecast(panel, targets, evidence_rows, training_rows)["volatility_har"]
    constant = np.full(len(realised), np.sqrt(np.mean(targets.volatility[training_rows] ** 2)))
    assert scores.qlike(realised, har) < 0.9 * scores.qlike(realised, constant)


@pytest.mark.parametrize("cut", [60, 101, 140])
def test_forecasts_do_not_change_when_later_bars_change(panel, targets, cut):
    training, rows = rows_of(panel, targets, 30, 50), rows_of(panel, targets, 50, cut)
    later = panel.session >= cut
    changed = np.where(later[:, None], panel.bars * np.float32(1.7) + np.float32(3), panel.bars)
    altered = replace(panel, bars=np.where(panel.present[:, None], changed, np.float32(0)))
    before, after = (forecast(version, targets, rows, training) for version in (panel, altered))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_forecasts_do_not_depend_on_targets_outside_the_training_rows(panel, targets, evidence_rows, training_rows):
    outside = np.ones(len(targets.volatility), bool)
    outside[training_rows] = False
    other = replace(
        targets,
        **{name: np.where(outside, 0.5, getattr(targets, name)) for name in ("volatility", "magnitude", "direction")},
    )
    before, after = (forecast(panel, of, evidence_rows, training_rows) for of in (targets, other))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_a_bar_that_is_absent_contributes_nothing(panel, targets, evidence_rows, training_rows):
    noise = np.random.default_rng(0).uniform(1, 9, size=panel.bars.shape).astype(np.float32)
    filled = replace(panel, bars=np.where(panel.present[:, None], panel.bars, noise))
    before, after = (forecast(of, targets, evidence_rows, training_rows) for of in (panel, filled))
    assert not panel.present.all()
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_price_levels_do_not_matter(panel, targets, evidence_rows, training_rows):
    scaled = replace(panel, bars=panel.bars * np.float32([8, 8, 8, 8, 1]))
    before, after = (forecast(of, targets, evidence_rows, training_rows) for of in (panel, scaled))
    pd.testing.assert_frame_equal(before, after, rtol=1e-6)


def test_reversal_is_minus_the_return_of_five_sessions(panel, targets, training_rows):
    row = next(row for row in training_rows if panel.present[row - 5 : row + 1].all())
    expected = np.log(panel.bars[row - 5, 3].astype(float) / panel.bars[row, 3].astype(float))
    found = forecast(panel, targets, np.array([row]), training_rows)["reversal"]
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_the_first_rows_of_a_series_never_look_into_the_series_before(panel, targets, training_rows):
    firsts = panel.offsets[1:-1]
    found = forecast(panel, targets, firsts, training_rows)
    assert (found["reversal"] == 0.0).all()
    assert found["magnitude_ewma"].isna().all()


def test_a_price_that_never_moves_gives_a_small_finite_volatility(panel, targets, training_rows):
    stuck = panel.series == 3
    bars = np.where((stuck & panel.present)[:, None], np.float32(10), panel.bars)
    rows = np.flatnonzero(stuck & targets.known & (panel.session > 110))
    moving = training_rows[panel.series[training_rows] != 3]
    found = forecast(replace(panel, bars=bars), targets, rows, moving)["volatility_har"]
    assert ((found > 0) & (found < targets.volatility[moving].min())).all()


def test_the_volatility_only_model_finds_direction_that_lies_in_volatility(
    panel, targets, evidence_rows, training_rows
):
    wild = pd.Series(targets.volatility).groupby(panel.session).transform("median").to_numpy() < targets.volatility
    planted = replace(targets, direction=wild.astype(float))
    p_up = forecast(panel, planted, evidence_rows, training_rows)["p_up_volatility_only"]
    assert roc_auc_score(planted.direction[evidence_rows], p_up) > 0.6


def test_training_rows_of_a_single_class_give_its_share(panel, targets, evidence_rows, training_rows):
    only_up = replace(targets, direction=np.ones(len(targets.direction)))
    p_up = forecast(panel, only_up, evidence_rows, training_rows)["p_up_volatility_only"]
    assert (p_up == 1.0).all()


def test_each_part_is_fitted_on_its_own_training_rows_and_keeps_its_place(panel, targets):
    parts = [(rows_of(panel, targets, 30, 80), rows_of(panel, targets, 90, 110))]
    parts.append((rows_of(panel, targets, 30, 110), rows_of(panel, targets, 120, N_SESSIONS)))
    together = baselines(panel, targets, parts, *bank(panel))
    alone = [baselines(panel, targets, [part], *bank(panel)) for part in parts]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)


def planted_in(panel, targets, name, sign):
    """The targets with a direction that the order of one summary within each session decides."""
    values, names = bank(panel)
    rank = pd.Series(sign * values[:, names.index(name)]).groupby(panel.session).rank(pct=True)
    return replace(targets, direction=np.where(targets.known, (rank > 0.5).astype(float), np.nan))


@pytest.mark.parametrize(("sign", "told"), [(1, "close_location_5"), (-1, "minus close_location_5")])
def test_the_best_single_feature_is_found_with_its_sign_and_named(
    panel, targets, evidence_rows, training_rows, sign, told
):
    planted = planted_in(panel, targets, "close_location_5", sign)
    found = forecast(panel, planted, evidence_rows, training_rows)
    assert set(found["best_feature_name"]) == {told}
    assert roc_auc_score(planted.direction[evidence_rows], found["best_feature"]) > 0.95


def test_the_best_single_feature_is_chosen_on_training_rows_alone(panel, targets, evidence_rows, training_rows):
    then = planted_in(panel, targets, "close_location_5", 1)
    later = planted_in(panel, targets, "volume_change_1", 1).direction
    turned = replace(then, direction=np.where(panel.session < 110, then.direction, later))
    assert set(forecast(panel, turned, evidence_rows, training_rows)["best_feature_name"]) == {"close_location_5"}


def test_features_of_two_parts_stand_on_one_scale_whatever_their_unit_and_sign(panel, targets, evidence_rows):
    columns = forecast(panel, targets, evidence_rows, rows_of(panel, targets, 30, 100))
    by_session = columns["best_feature"].groupby(panel.session[evidence_rows])
    assert by_session.mean().abs().max() < 1e-12
    assert columns["best_feature"].abs().max() <= 0.5


def test_without_summaries_there_is_no_best_feature(panel, targets, evidence_rows, training_rows):
    found = baselines(panel, targets, [(training_rows, evidence_rows)])
    assert found["best_feature"].isna().all()
    assert set(found["best_feature_name"]) == {""}
