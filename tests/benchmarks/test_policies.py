"""The year that policies are compared on: what the models are, what the registry keeps, and a year under the gate."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.policies import (
    BROKEN,
    CONFIG,
    NIGHTS,
    POLICIES,
    RECIPE_AUC,
    SCALES,
    THRESHOLD,
    State,
    Year,
    broken_passed,
    broken_row,
    judged,
    live,
    row,
)

KINDS = ("equal", *BROKEN, *["equal"] * (NIGHTS - 1 - len(BROKEN)))


@pytest.fixture(scope="module")
def year():
    """One whose second to fourth nights bring the three broken candidates."""
    return replace(Year.draw(0), kinds=KINDS)


@pytest.mark.parametrize("folds", [True, False], ids=["21 and folds", "250"])
def test_what_the_champion_says_tonight_it_says_of_sessions_after_its_training(year, folds):
    fresh = year.fresh(40, 60, folds)
    assert fresh["session"].min() > pd.Timestamp(year.trained_until(40, folds))
    assert fresh["session"].max() == year.frame(60, folds)["session"].max()


def test_with_folds_a_night_answers_for_its_last_sessions_alone(year):
    frame = year.frame(1, folds=True)
    own = frame[frame["version"] == "night 1"]
    assert own["session"].nunique() == CONFIG.fresh_sessions
    assert (own["volatility"] == 0.98 * SCALES["volatility"]).all()
    assert frame["volatility"].max() > frame.drop(own.index)["volatility"].max()


def test_two_nights_of_one_recipe_hold_the_same_folds_where_both_had_them(year):
    one, other = (year.frame(night, folds=True) for night in (10, 12))
    both = one.merge(other, on=["session", "symbol"])
    folds = both[(both["version_x"] == "recipe fold") & (both["version_y"] == "recipe fold")]
    assert folds["session"].nunique() == CONFIG.evidence_sessions - CONFIG.fresh_sessions - 2
    assert folds["p_up_x"].equals(folds["p_up_y"])


def test_there_is_no_anchor_while_the_champion_served_then(year):
    assert State(year, 100, [0] * 100).anchor is None
    assert State(year, 100, [*[0] * 50, *[50] * 50]).anchor == 0


@pytest.mark.parametrize("night", [1, 2], ids=BROKEN[:2])
def test_a_stuck_or_constant_candidate_is_kept_out_even_where_health_alone_is_asked(year, night):
    verdict = judged(State(year, night, [0] * night), CONFIG.model_copy(update={"policy": "always_if_healthy"}))
    assert verdict.verdict == "keep"
    assert {check.group for check in verdict.failed} >= {"health"}


def test_the_gate_finds_all_that_it_asks_for(year):
    verdict = judged(State(year, 100, [*[0] * 50, *[50] * 50]), CONFIG)
    assert [check.name for check in verdict.checks if check.value is None] == []
    assert {"auc_to_champion", "guard_auc", "auc_to_anchor"} <= {check.name for check in verdict.checks}


def test_broken_candidates_of_all_years_are_counted_by_kind():
    year = dict.fromkeys(BROKEN, (1, 2))
    assert broken_row("policy", [year, year]) == "| policy | 2 of 4 | 2 of 4 | 2 of 4 |"


@pytest.mark.slow
def test_a_threshold_on_one_head_lets_another_be_stuck():
    passed = broken_passed((f"AUC of at least {THRESHOLD}", 1))
    assert passed["saturated"][0] > 0
    assert passed["constant"][0] == passed["flipped"][0] == 0


@pytest.mark.slow
def test_a_years_account_adds_up(year):
    every = live(year, POLICIES["every candidate"])
    assert (every.promotions, every.days_broken, every.days_worse) == (NIGHTS - 1, len(BROKEN), 0)
    assert every.true_auc == pytest.approx(RECIPE_AUC, abs=0.002)
    assert "| 249 | 0.0 % |" in row("every candidate", [every])


@pytest.mark.slow
def test_a_record_is_only_ever_raised_and_what_serves_looks_better_than_it_is():
    ratchet = live(Year.draw(0), POLICIES["AUC above the champion's recorded one"])
    assert ratchet.selection > 0.002
    assert ratchet.promotions < 25


@pytest.mark.slow
def test_under_the_gate_what_is_recorded_is_true_and_nothing_broken_serves_for_long():
    year = replace(Year.draw(1), kinds=(*["equal"] * 5, *BROKEN, *["equal"] * (NIGHTS - 5 - len(BROKEN))))
    kept = live(year, POLICIES["**`non_inferior`**, `gate.folds = single`"], nights=25)
    assert kept.promotions > 0
    assert np.abs(kept.selection) < 0.005
    assert kept.days_broken == 0
