"""The contract of the targets: what must be true of them before anything is trained on them. Every rule stops."""

import math
from collections.abc import Mapping
from typing import Final, get_args

import numpy as np
import pandas as pd

from expectations.gx import Suite
from expectations.rules import Rule, among, bar_namer, between, finding, measured, missing_breaks
from models.config import BoundedHead, TargetsConfig
from models.records import Finding

UP_SHARE: Final = (0.3, 0.7)
"""Range of the share of rows that went up: outside it one class is an artefact of the data."""
SECOND_COMPUTATION_TOLERANCE: Final = 1e-9

_LARGEST: Final = float(np.finfo(np.float64).max)


def check_targets(
    frame: pd.DataFrame, facts: Mapping[str, float], *, targets: TargetsConfig, name: str, docs: str | None
) -> tuple[Finding, ...]:
    """Check tonight's targets.

    A missing number breaks its rule, with one exception: without earlier nights `<head>_drift` is NaN and its rule is
    left out.

    Args:
        frame: `session`, `symbol`, `direction` (1 up, 0 down), `volatility`, `magnitude`; NaN where a row has none.
        facts: From models/target_checks.py: `up_share` and, of each bounded head that is trained, `<head>_p99`,
            `_mean`, `_drift`, `_zero_share`, `_second_computation`, `_constant_price`, `_clipped_share`.
        targets: The limits.
        name: What the Data Docs call this run.
        docs: Local directory of the Data Docs; None builds none.

    Returns:
        One finding per rule, held or not.
    """
    suite = Suite("targets", name, docs)
    columns = [column for column in ("direction", "volatility", "magnitude") if column in frame]
    rows = suite.check(frame[columns], [_range_rule(column) for column in columns])
    rules = _fact_rules(facts, targets)
    numbers = pd.DataFrame([{rule.name: facts.get(rule.name, math.nan) for rule in rules}], dtype=np.float64)
    outcomes = suite.check(missing_breaks(numbers), rules)
    suite.publish()
    named = [finding(outcome, "rows", bar_namer(frame)) for outcome in rows.values()]
    named += [finding(measured(out, facts.get(rule, math.nan)), "facts") for rule, out in outcomes.items()]
    return tuple(named)


def _range_rule(column: str) -> Rule:
    if column == "direction":
        return among("direction_range", "direction is 1 or 0 where there is one", column, [0.0, 1.0])
    return between(f"{column}_range", f"{column} is finite and not below zero", column, low=0, high=_LARGEST)


def _fact_rules(facts: Mapping[str, float], targets: TargetsConfig) -> list[Rule]:
    """One rule per fact, each named like the fact that it is about."""
    low, high = UP_SHARE
    rules = [between("up_share", f"the share that went up lies in [{low}, {high}]", "up_share", low=low, high=high)]
    for head in get_args(BoundedHead):
        if any(fact.startswith(f"{head}_") for fact in facts):
            rules += _head_rules(head, targets)
    return [rule for rule in rules if not _without_history(rule, facts)]


def _without_history(rule: Rule, facts: Mapping[str, float]) -> bool:
    return rule.name.endswith("_drift") and math.isnan(facts.get(rule.name, math.nan))


def _head_rules(head: BoundedHead, targets: TargetsConfig) -> list[Rule]:
    def fact(name: str, promise: str, *, low: float | None = None, high: float) -> Rule:
        return between(f"{head}_{name}", f"{head}: {promise}", f"{head}_{name}", low=low, high=high)

    p99, ratio = getattr(targets.max_p99, head), targets.drift_ratio
    clipped, tolerance = targets.max_clipped_share, SECOND_COMPUTATION_TOLERANCE
    same = f"a second computation differs by at most {tolerance:g}"
    rules = [
        fact("p99", f"the 99th percentile is at most {p99:g}", low=0, high=p99),
        fact("mean", "the mean is a positive number", low=math.ulp(0), high=_LARGEST),
        fact("drift", f"the mean is within a factor of {ratio:g} of the last nights'", low=1 / ratio, high=ratio),
        fact("second_computation", same, low=0, high=tolerance),
        fact("constant_price", "constant prices give exactly zero", low=0, high=0),
        fact("clipped_share", f"at most {clipped:g} of the training rows exceed the scale", low=0, high=clipped),
    ]
    if head == "volatility":  # a magnitude of exactly zero is common where a tick is large beside the price
        zeros = targets.max_zero_share
        rules.append(fact("zero_share", f"at most {zeros:g} of the rows are exactly zero", low=0, high=zeros))
    return rules
