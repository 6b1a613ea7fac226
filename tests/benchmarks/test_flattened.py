"""Numbers that say nothing, and what says something on the same rows."""

import numpy as np
import pytest

from benchmarks.flattened import (
    HEADS,
    PANEL,
    PRIORS,
    constant_auc,
    flattened_auc,
    head_checks,
    named_heads,
    random_head,
    volatility_only,
)
from benchmarks.simulated_evidence import SimulatedMarket


@pytest.fixture(scope="module")
def market():
    return SimulatedMarket.draw(PANEL, seed=0)


@pytest.mark.parametrize("shares", PRIORS.values(), ids=list(PRIORS))
def test_the_closed_form_is_what_a_constant_scores(shares):
    labels = np.repeat(np.arange(len(shares)), np.array(shares) * 10)
    prior = np.array(shares) / sum(shares)
    assert flattened_auc(labels, np.tile(prior, (len(labels), 1))) == pytest.approx(constant_auc(shares), abs=1e-9)


def test_of_two_classes_a_constant_scores_the_share_of_the_larger():
    assert [constant_auc((share, 1 - share)) for share in (0.5, 0.65, 0.9)] == pytest.approx([0.5, 0.65, 0.9])


def test_volatility_alone_looks_like_skill_until_direction_is_asked():
    known = volatility_only(50_000)
    assert known.flattened > 0.65
    assert known.up_against_down > 0.55
    assert known.direction == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", named_heads())
def test_every_head_is_inside_its_bound_and_only_a_sound_one_is_healthy(market, name):
    checks = head_checks(named_heads()[name](market), market)
    assert checks["volatility_in_range"].passed
    assert all(check.passed for check in checks.values()) == (name == "sound")


def test_no_weights_can_leave_the_bound_and_untrained_ones_are_found_elsewhere(market):
    for seed in range(0, HEADS, 20):
        checks = head_checks(random_head(market, seed), market)
        assert checks["volatility_in_range"].passed
        assert not all(check.passed for check in checks.values())
