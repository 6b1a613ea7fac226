"""What weighs most in a failed check: the same as leaving the rows out and computing everything again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bootstrap import difference, influence
from models.config import GateConfig
from models.gate.evidence import Evidence, absolute_errors
from models.gate.influence import HEAVIEST, pearson, standard_deviation, weighed
from models.records import above, at_least, at_most, within
from models.scores import correlation, direction_auc, mae, qlike, qlike_losses
from tests.models.gate.test_verdict import CONFIG, HEALTHY, check, judge, market, served

CONFIG_OF_GATE = GateConfig(bootstrap_replicates=100)


def evidence(frame, relative=True):
    return Evidence.of(frame, CONFIG_OF_GATE, reach=5, relative=relative)


def ragged(seed=1):
    """A few symbols and sessions, with gaps, ties, rows without a direction, and a session of one class."""
    random = np.random.default_rng(seed)
    frame = market(seed=seed, n_sessions=12)
    frame = frame[frame["symbol"] < "S09"]
    frame = frame[random.random(len(frame)) > 0.2].reset_index(drop=True)
    frame["p_up"] = frame["p_up"].round(2)
    frame["direction"] = frame["direction"].where(random.random(len(frame)) > 0.1)
    first = frame["session"] == frame["session"].min()
    return frame.assign(direction=frame["direction"].mask(first & frame["direction"].notna(), 1.0))


def area(frame, relative):
    session = None if relative else frame["session"].to_numpy()
    return direction_auc(frame["direction"], frame["p_up"], session)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("grouped", ["session", "symbol"])
@pytest.mark.parametrize("seed", range(4))
def test_the_auc_without_a_session_or_symbol_is_that_of_the_other_rows(grouped, relative, seed):
    frame = ragged(seed)
    rows = evidence(frame, relative)
    groups = rows if grouped == "session" else rows.by_symbol
    names = np.unique(frame[grouped])
    owed = influence(groups.auc("p_up"), len(names))
    expected = [area(frame, relative) - area(frame[frame[grouped] != name], relative) for name in names]
    np.testing.assert_allclose(owed, expected, atol=1e-12)


def test_a_symbol_without_which_a_class_is_missing_has_no_influence():
    frame = market(n_sessions=5)
    frame = frame.assign(direction=(frame["symbol"] == "S03").astype(float))
    owed = influence(evidence(frame).by_symbol.auc("p_up"), frame["symbol"].nunique())
    assert np.flatnonzero(np.isnan(owed)).tolist() == [3]


def test_losses_spreads_and_correlations_without_a_symbol_are_those_of_the_other_rows():
    frame = market()
    symbols = evidence(frame).by_symbol
    target, forecast = (symbols.column(name) for name in ("volatility_target", "volatility"))
    of_statistic = {
        "mae": (symbols.mean_loss(absolute_errors, "volatility_target", "volatility"), mae),
        "qlike": (symbols.mean_loss(qlike_losses, "volatility_target", "volatility"), qlike),
        "sd": (standard_deviation(symbols, target), lambda realised, _: np.std(realised)),
        "correlation": (pearson(symbols, target, forecast), correlation),
    }
    for name, (statistic, score) in of_statistic.items():
        owed = influence(statistic, len(symbols.names))
        for number, symbol in enumerate(symbols.names):
            left = frame[frame["symbol"] != symbol]
            columns = (frame["volatility_target"], frame["volatility"])
            whole, without = score(*columns), score(left["volatility_target"], left["volatility"])
            assert owed[number] == pytest.approx(whole - without, rel=1e-6, abs=1e-12), name


def test_a_symbol_that_went_wrong_is_the_one_that_is_named():
    frame = market()
    broken = frame.assign(volatility=frame["volatility"].mask(frame["symbol"] == "S07", 20 * frame["volatility"]))
    ratio = check(judge(broken), "volatility_to_har")
    assert ratio.weighs.symbols[0].name == "S07"
    assert ratio.weighs.symbols[0].value_without < ratio.bound < ratio.value


def test_a_session_that_went_wrong_is_the_one_that_is_named():
    frame = market(skill=0.15)
    day = frame["session"].unique()[31]
    upside_down = frame["p_up"].mask(frame["session"] == day, 1 - 9 * frame["direction"])
    auc = check(judge(frame.assign(p_up=upside_down), champion=served(frame)), "auc_to_champion")
    assert auc.weighs.sessions[0].name == f"{pd.Timestamp(day):%Y-%m-%d}"
    assert auc.weighs.sessions[0].value_without > auc.value


def test_the_row_outside_its_range_is_named_by_session_and_symbol():
    frame = market()
    row = 777
    frame.loc[row, "volatility"] = 0.9
    outside = check(judge(frame), "volatility_in_range")
    assert [one.name for one in outside.weighs.symbols] == [frame.loc[row, "symbol"]]
    assert [one.value_without for one in outside.weighs.sessions] == [1.0]


def test_nothing_weighs_in_a_check_that_passed():
    assert [one for one in judge(market()).checks if one.weighs is not None] == []


def test_every_failed_check_that_rests_on_rows_says_what_weighs_most():
    frame = market()
    wrong = frame.assign(p_up=1 - frame["p_up"], volatility=3 * frame["volatility"], magnitude=4 * frame["magnitude"])
    for config, champion in ((CONFIG, served(frame)), (HEALTHY, None)):
        failed = [one for one in judge(wrong, config, champion).failed if one.change is not None]
        assert len(failed) >= 6
        for one in failed:
            assert 0 < len(one.weighs.symbols) <= HEAVIEST, one.name


def test_what_weighs_most_pulls_towards_the_side_on_which_the_check_failed():
    rows = evidence(market())
    measure = lambda of: difference(of.auc("p_up"), of.auc("reversal"))  # noqa: E731
    too_low = weighed(above("c", "skill", 0.2, 0.3, ""), rows, measure)
    too_high = weighed(at_most("c", "skill", 0.2, 0.1, ""), rows, measure)
    assert all(one.value_without > 0.2 for one in too_low.weighs.sessions + too_low.weighs.symbols)
    assert all(one.value_without < 0.2 for one in too_high.weighs.sessions + too_high.weighs.symbols)


numbers = st.floats(-1e6, 1e6).map(lambda value: value + 0.0)
makers = st.sampled_from([above, at_least, at_most])


@given(make=makers, value=numbers, bound=numbers)
@settings(max_examples=300)
def test_the_smallest_change_flips_a_failed_check_and_half_of_it_does_not(make, value, bound):
    failed = make("c", "health", value, bound, "")
    if failed.passed:
        assert failed.change is None
        return
    assert make("c", "health", value + failed.change, bound, "").passed
    if abs(failed.change) > 1e-6:
        assert not make("c", "health", value + failed.change / 2, bound, "").passed


@given(value=numbers, low=numbers, width=st.floats(1.0, 1e3))
@settings(max_examples=200)
def test_the_smallest_change_of_a_range_leads_to_its_nearer_end(value, low, width):
    failed = within("c", "health", value, (low, low + width), "")
    if not failed.passed:
        assert within("c", "health", value + failed.change, (low, low + width), "").passed
        assert abs(failed.change) <= max(abs(value - low), abs(value - low - width)) * (1 + 1e-9) + 1e-9
