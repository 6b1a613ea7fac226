"""What holds for the gate whatever the evidence: nothing broken passes, and nothing better fails."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.gate.test_verdict import CONFIG, HEALTHY, PREDICTIONS, check, judge, market, served

EASY = HEALTHY.model_copy(update={"policy": "always_if_healthy"})
"""Asks for the least that can be asked for."""

ASKED_OF_ALL = (*PREDICTIONS, "direction", "volatility_target", "magnitude_target", "p_up_prior")
"""Columns without which no policy promotes."""
BASELINES = ("volatility_har", "magnitude_ewma", "p_up_volatility_only")
"""Columns without which skill is not proven."""
TOLD_ONLY = ("reversal", "direction_next_close")
"""Columns that no check reads."""

HIGHER_P_UP_HELPS = ("direction_auc", "direction_over_volatility", "auc_to_champion", "guard_auc")
NEARER_VOLATILITY_HELPS = ("volatility_to_har", "qlike_to_champion", "guard_qlike", "volatility_mae_to_median")
NEARER_MAGNITUDE_HELPS = ("magnitude_to_ewma", "magnitude_mae_to_median")

seeds = st.integers(0, 10_000)
skills = st.floats(-0.1, 0.2)
champions = st.booleans()


def absent(frame, column, row):
    return frame.drop(columns=column)


def all_missing(frame, column, row):
    return frame.assign(**{column: np.nan})


def one(value):
    def damaged(frame, column, row):
        values = frame[column].to_numpy(copy=True)
        values[row] = value
        return frame.assign(**{column: values})

    return damaged


def unnamed(frame, column, row):
    return frame.assign(**{column: frame[column].where(np.arange(len(frame)) != row)})


rows = st.integers(0, len(market()) - 1)
columns_of_a_frame = st.sampled_from(tuple(market().columns))
damages = st.sampled_from([absent, all_missing, one(np.inf), one(-np.inf)])


@given(damage=damages, column=st.sampled_from(ASKED_OF_ALL), row=rows, first=champions)
@settings(max_examples=30, deadline=None)
def test_a_column_that_is_missing_or_not_finite_is_never_promoted_by_any_policy(damage, column, row, first):
    broken = damage(market(), column, row)
    verdict = judge(broken, EASY, None if first else served(market()))
    assert verdict.verdict == "keep"
    assert verdict.failed


@given(damage=damages, column=st.sampled_from(BASELINES), row=rows, first=champions)
@settings(max_examples=30, deadline=None)
def test_a_baseline_that_is_missing_or_not_finite_proves_no_skill(damage, column, row, first):
    if column == "p_up_volatility_only" and damage not in (absent, all_missing):
        return  # a score that is infinite still ranks
    verdict = judge(damage(market(), column, row), CONFIG, None if first else served(market()))
    assert verdict.verdict == "keep"
    assert {check.group for check in verdict.failed} == {"skill"}


@given(damage=st.sampled_from([absent, all_missing]), column=st.sampled_from(TOLD_ONLY))
@settings(max_examples=6, deadline=None)
def test_a_column_that_is_only_told_decides_nothing(damage, column):
    assert judge(damage(market(), column, 0)).checks[1:3] == judge(market()).checks[1:3]
    assert judge(damage(market(), column, 0)).verdict == "promote"


@given(data=st.data(), columns=st.lists(columns_of_a_frame, max_size=4), first=champions)
@settings(max_examples=60, deadline=None)
def test_whatever_is_wrong_with_the_frame_there_is_a_verdict_and_its_failed_checks_have_names(data, columns, first):
    whole = market(skill=data.draw(skills), seed=data.draw(seeds))
    frame = whole.iloc[: data.draw(st.sampled_from([0, 1, 24, 1000, len(whole)]))]
    for column in set(columns) if len(frame) else ():
        numeric = column not in ("session", "symbol", "fold", "version")
        damage = data.draw(damages) if numeric else data.draw(st.sampled_from([absent, unnamed]))
        frame = damage(frame, column, data.draw(rows) % len(frame))
    verdict = judge(frame, data.draw(st.sampled_from([CONFIG, HEALTHY, EASY])), None if first else served(market()))
    if verdict.verdict == "keep":
        assert all(check.name and check.why for check in verdict.failed)
        assert verdict.failed
        assert verdict.reason
    else:
        assert not set(columns) - {*TOLD_ONLY, *BASELINES, "fold"}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "left",
    [
        lambda frame: frame.iloc[:0],
        lambda frame: pd.DataFrame(),
        lambda frame: frame[frame["session"] == frame["session"].iloc[0]],
        lambda frame: frame.assign(direction=1.0),
        lambda frame: frame.assign(direction=1.0, p_up_prior=1.0),
        lambda frame: frame.assign(direction=0.0),
        lambda frame: frame.assign(direction=0.5),
        lambda frame: frame.assign(p_up=0.5, volatility=0.01, magnitude=0.02),
        lambda frame: pd.concat([frame, frame.iloc[:1]]),
    ],
    ids=[
        "no rows",
        "no columns",
        "one session",
        "up only",
        "up only, as the prior says",
        "down only",
        "labels that are none",
        "all ties",
        "a row twice",
    ],
)
def test_evidence_that_tells_nothing_keeps_the_champion_under_every_policy(left, first):
    for config in (CONFIG, HEALTHY, EASY):
        verdict = judge(left(market()), config, None if first else served(market()))
        assert verdict.verdict == "keep"
        assert verdict.failed


def test_rows_that_cannot_be_told_apart_are_named():
    verdict = judge(pd.concat([market(), market().iloc[:2]]))
    assert verdict.reason.startswith("unreadable evidence: ")
    assert "2 rows repeat" in verdict.reason


def passed(verdict, names):
    """The checks of these names by whether they passed; those that were not asked are left out."""
    return {check.name: check.passed for check in verdict.checks if check.name in names}


def never_worse(before, after, names):
    was, now = passed(before, names), passed(after, names)
    return was.keys() == now.keys() and all(now[name] or not was[name] for name in was)


@given(skill=skills, seed=seeds, reach=st.floats(0.0, 1.0), relative=st.booleans())
@settings(max_examples=12, deadline=None)
def test_raising_p_up_of_rows_that_rose_fails_no_check_that_passed(skill, seed, reach, relative):
    frame, champion = market(skill, seed), served(market(seed=seed))
    moved = reach * np.random.default_rng(seed).random(len(frame))
    better = frame.assign(p_up=frame["p_up"] + moved * (frame["direction"] - frame["p_up"]))
    before, after = (judge(of, champion=champion, relative=relative) for of in (frame, better))
    assert passed(before, HIGHER_P_UP_HELPS).keys() == set(HIGHER_P_UP_HELPS)
    assert never_worse(before, after, HIGHER_P_UP_HELPS)
    first, then = (judge(of, HEALTHY, relative=relative) for of in (frame, better))
    assert never_worse(first, then, ("direction_not_below_chance",))


@given(skill=skills, seed=seeds, reach=st.floats(0.0, 1.0))
@settings(max_examples=15, deadline=None)
def test_what_is_too_good_stays_so_when_it_gets_better(skill, seed, reach):
    frame = market(skill, seed)
    better = frame.assign(p_up=frame["p_up"] + reach * (frame["direction"] - frame["p_up"]))
    before, after = (check(judge(of), "not_too_good") for of in (frame, better))
    assert before.passed or not after.passed


@pytest.mark.parametrize(
    ("head", "names"), [("volatility", NEARER_VOLATILITY_HELPS), ("magnitude", NEARER_MAGNITUDE_HELPS)]
)
@given(seed=seeds, factor=st.floats(0.5, 2.0), reach=st.floats(0.0, 1.0))
@settings(max_examples=10, deadline=None)
def test_a_forecast_nearer_to_what_came_fails_no_check_that_passed(head, names, seed, factor, reach):
    champion = served(market(seed=seed))
    frame = market(seed=seed).assign(**{head: lambda of: factor * of[head]})
    moved = reach * np.random.default_rng(seed).random(len(frame))
    better = frame.assign(**{head: frame[head] + moved * (frame[f"{head}_target"] - frame[head])})
    before, after = (judge(of, champion=champion) for of in (frame, better))
    assert passed(before, names).keys() == set(names)
    assert never_worse(before, after, names)
    first, then = (judge(of, HEALTHY) for of in (frame, better))
    assert never_worse(first, then, ("volatility_no_worse_than_har",))
