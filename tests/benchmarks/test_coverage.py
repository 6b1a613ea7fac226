"""DeLong's interval against the textbook, and a reduced study of what the gate's own interval holds."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from benchmarks.coverage import SKILLED, Held, coverage_row, covers, iid_interval, intervals, null_checks, share
from benchmarks.simulated_evidence import MarketSettings
from models.bootstrap import Interval
from models.config import GateConfig
from models.gate.evidence import Evidence

REDUCED = MarketSettings(sessions=120, symbols=30)
PANELS = 200


def independent_rows(relative, n_sessions=50, n_symbols=60):
    random = np.random.default_rng(2)
    n = n_sessions * n_symbols
    frame = pd.DataFrame(
        {
            "session": np.repeat(pd.bdate_range("2020-01-06", periods=n_sessions).as_unit("s"), n_symbols),
            "symbol": np.tile(np.arange(n_symbols), n_sessions).astype(str),
            "direction": random.integers(2, size=n).astype(float),
            "p_up": random.normal(size=n),
        }
    )
    return Evidence.of(frame, GateConfig(), reach=1, relative=relative)


@pytest.mark.parametrize("relative", [True, False])
def test_delongs_error_without_skill_is_that_of_the_rank_sum(relative):
    interval = iid_interval(independent_rows(relative), 0.9)
    n = 3000 if relative else 60
    rank_sum = math.sqrt((n + 1) / (12 * (n / 2) ** 2) / (1 if relative else 50))
    assert (interval.high - interval.low) / 2 / 1.6449 == pytest.approx(rank_sum, rel=0.03)


def test_an_interval_without_ends_holds_nothing():
    assert not covers(Interval(0.5, math.nan, math.nan), 0.5)


def test_a_share_is_told_with_its_exact_interval():
    assert share([True] * 5 + [False] * 95) == "5.0 % (1.6 to 11.3)"


def test_misses_are_counted_on_the_side_on_which_the_truth_lies():
    held = Held(Interval(0.55, 0.54, 0.56), Interval(0.5, 0.4, 0.6), 10)
    assert "| 100.0 % | 0.0 % |" in coverage_row("panel", 0.53, [held, held])


@pytest.mark.slow
@pytest.mark.parametrize("relative", [True, False])
def test_the_interval_holds_the_truth_as_often_as_it_says_and_delongs_does_not(relative):
    settings = MarketSettings(**{**vars(REDUCED), "relative": relative})
    held = [intervals(settings, SKILLED, seed) for seed in range(PANELS)]
    ours, iid = (np.mean([covers(one[of], SKILLED) for one in held]) for of in (0, 1))
    assert 0.84 <= ours <= 0.96  # 90 % and the luck of 200 panels: 2.8 standard errors
    assert iid < 0.84


@pytest.mark.slow
def test_without_skill_no_more_than_one_in_twenty_passes():
    passed = [null_checks(REDUCED, seed).skill for seed in range(PANELS)]
    assert sum(passed) <= binom.ppf(0.995, PANELS, 0.05)
