import math

import numpy as np
import pandas as pd
import pytest

from expectations.targets import check_targets
from models.config import TargetsConfig

FACTS = {
    "up_share": 0.5,
    **{
        f"{head}_{fact}": value
        for head in ("volatility", "magnitude")
        for fact, value in {
            "p99": 0.06,
            "mean": 0.02,
            "drift": 1.1,
            "zero_share": 0.001,
            "second_computation": 1e-12,
            "constant_price": 0.0,
            "clipped_share": 0.0,
        }.items()
    },
}
FRAME = pd.DataFrame(
    {
        "session": np.array(["2024-07-01"] * 4, "datetime64[s]"),
        "symbol": pd.Series(["A", "B", "C", "D"], dtype="str"),
        "direction": [1.0, 0.0, np.nan, 1.0],
        "volatility": [0.01, 0.02, np.nan, 0.0],
        "magnitude": [0.01, 0.02, np.nan, 0.0],
    }
)


def broken(frame: pd.DataFrame = FRAME, **facts: float) -> set[str]:
    findings = check_targets(frame, FACTS | facts, targets=TargetsConfig(), name="night", docs=None)
    assert all(found.level == "stop" for found in findings)
    return {found.rule for found in findings if not found.held}


def test_sound_targets_break_nothing_and_absent_ones_are_no_fault():
    assert broken() == set()


@pytest.mark.parametrize("value", [-1e-12, np.inf])
@pytest.mark.parametrize("head", ["volatility", "magnitude"])
def test_a_target_that_is_negative_or_infinite_is_found(head, value):
    frame = FRAME.copy()
    frame.loc[1, head] = value
    assert broken(frame) == {f"{head}_range"}


def test_a_direction_between_up_and_down_is_found():
    frame = FRAME.copy()
    frame.loc[1, "direction"] = 0.5
    assert broken(frame) == {"direction_range"}


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("up_share", 0.29),
        ("up_share", 0.71),
        ("volatility_p99", 0.26),
        ("magnitude_p99", 0.81),
        ("volatility_mean", 0.0),
        ("volatility_drift", 2.1),
        ("magnitude_drift", 0.49),
        ("volatility_zero_share", 0.02),
        ("magnitude_second_computation", 1e-6),
        ("volatility_constant_price", 1e-300),
        ("magnitude_clipped_share", 0.002),
    ],
)
def test_a_fact_beyond_its_limit_is_found(fact, value):
    assert broken(**{fact: value}) == {fact}


@pytest.mark.parametrize(
    "fact", sorted(fact for fact in FACTS if not fact.endswith("_drift") and fact != "magnitude_zero_share")
)
def test_a_fact_that_is_no_number_never_passes(fact):
    assert broken(**{fact: math.nan}) == {fact}


def test_a_fact_that_is_missing_never_passes():
    facts = {name: value for name, value in FACTS.items() if name != "volatility_p99"}
    findings = check_targets(FRAME, facts, targets=TargetsConfig(), name="night", docs=None)
    assert [found.rule for found in findings if not found.held] == ["volatility_p99"]


def test_without_earlier_nights_drift_is_not_asked():
    facts = FACTS | {"volatility_drift": math.nan, "magnitude_drift": math.nan}
    findings = check_targets(FRAME, facts, targets=TargetsConfig(), name="night", docs=None)
    assert not {found.rule for found in findings} & {"volatility_drift", "magnitude_drift"}


def test_a_broken_fact_is_told_with_its_number_and_its_limit():
    findings = check_targets(FRAME, FACTS | {"volatility_p99": 5.0}, targets=TargetsConfig(), name="night", docs=None)
    (found,) = [found for found in findings if not found.held]
    assert found.why == "Broken: volatility: the 99th percentile is at most 0.25; measured 5."
