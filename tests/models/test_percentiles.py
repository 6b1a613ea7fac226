from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import PerHead, TargetsConfig
from models.percentiles import head_scale, proposed_scale, round_up, target_percentiles

positive = st.floats(1e-6, 1e3)


def test_the_headroom_rule_gives_the_published_scales():
    config = TargetsConfig(scale_rule="headroom")
    assert proposed_scale("volatility", {"max": 0.107}, config) == 0.15
    assert proposed_scale("magnitude", {"max": 0.50}, config) == 0.6


def test_the_percentile_rule_takes_the_larger_of_its_two_terms():
    config = TargetsConfig()
    assert proposed_scale("volatility", {"p99": 0.05, "p99.9": 0.08}, config) == 0.15
    assert proposed_scale("volatility", {"p99": 0.05, "p99.9": 0.2}, config) == 0.3


def test_fixed_scales_are_taken_as_given():
    config = TargetsConfig(scale_rule="fixed", fixed_scales=PerHead(volatility=0.123, magnitude=0.6))
    assert proposed_scale("volatility", {}, config) == 0.123


@pytest.mark.parametrize(("value", "rounded"), [(0.1498, 0.15), (0.6000000000001, 0.6), (0.151, 0.16), (12.1, 13.0)])
def test_scales_are_rounded_up_to_two_digits(value, rounded):
    assert round_up(value) == rounded


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="positive"):
        round_up(value)


@given(positive)
def test_rounding_up_never_lowers_a_scale_nor_adds_more_than_a_tenth(value):
    assert value * (1 - 1e-8) <= round_up(value) <= value * 1.11


@given(st.lists(positive, min_size=1, max_size=200))
def test_percentiles_are_monotone(values):
    levels = list(target_percentiles(np.array(values)).values())
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(levels))


@given(st.lists(positive, min_size=1, max_size=200), st.integers(1, 5))
def test_a_single_bad_tick_moves_the_headroom_scale_but_not_the_percentile_scale(values, times):
    sample = np.tile(np.array(values), 2000)[:2000]
    spiked = np.append(sample, sample.max() * 100 * times)
    tolerant, fragile = TargetsConfig(), TargetsConfig(scale_rule="headroom")
    scales = [head_scale("volatility", y, tolerant).scale for y in (sample, spiked)]
    assert scales[1] <= scales[0] * 1.2
    assert head_scale("volatility", spiked, fragile).scale > 10 * head_scale("volatility", sample, fragile).scale


def _nights(*proposals, scale=0.15):
    return [{"volatility_scale": scale, "volatility_proposed": proposed} for proposed in proposals]


def test_a_scale_stays_while_its_proposal_is_in_the_band():
    values = np.full(1000, 0.16 / 3)
    assert head_scale("volatility", values, TargetsConfig(), _nights(0.15)).scale == 0.15


def test_a_scale_moves_once_its_proposal_has_left_the_band_for_several_nights():
    values = np.full(1000, 0.30 / 3)
    config = TargetsConfig(scale_nights=3)
    assert head_scale("volatility", values, config, _nights(0.15, 0.15, 0.30)).scale == 0.15
    assert head_scale("volatility", values, config, _nights(0.15, 0.30, 0.30)).scale == 0.30


def test_clipped_targets_are_counted():
    values = np.append(np.full(999, 0.01), 0.5)
    config = TargetsConfig(scale_rule="fixed")
    assert head_scale("volatility", values, config).clipped_share == pytest.approx(1e-3)
