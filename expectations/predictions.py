"""The contract of predictions: tonight's before they are published, a candidate's before it is judged.

Tonight's that break a rule are not published; a candidate's fail its health.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from expectations.gx import Suite
from expectations.rules import Rule, bar_namer, between, finding, missing_breaks, not_empty
from models.records import Finding

NEAR_SCALE: Final = 0.9
MOST_NEAR_SCALE: Final = 0.005
"""At most this share of a bounded head may lie above 0.9 × scale: more is a saturated head."""
NEAR_ZERO: Final = 0.005
MOST_NEAR_ZERO: Final = 0.05
"""At most this share of a bounded head may lie below 0.005 × scale: more is a dead head."""

_LARGEST: Final = float(np.finfo(np.float64).max)
_UNIQUE: Final = Rule(
    "duplicate",
    "a symbol has one prediction in a session",
    "expect_compound_columns_to_be_unique",
    {"column_list": ["session", "symbol"]},
)


def check_predictions(
    frame: pd.DataFrame, *, scales: Mapping[str, float], name: str, docs: str | None
) -> tuple[Finding, ...]:
    """Check predictions, of one session or of many.

    Args:
        frame: `session`, `symbol`, `p_up` and a column for each head in `scales`. A missing value or column breaks
            its rules.
        scales: Scale of each bounded head that the model has; empty when it has direction alone.
        name: What the Data Docs call this run.
        docs: Local directory of the Data Docs; None builds none.

    Returns:
        One finding per rule, held or not; of an empty frame only that it is empty.
    """
    suite = Suite("predictions", name, docs)
    heads = {"p_up": 1.0, **scales}
    values = frame.reindex(columns=list(heads)).astype(np.float64).reset_index(drop=True)
    findings = [
        finding(out, "rows") for out in suite.check(values, [not_empty("empty", "there are predictions")]).values()
    ]
    if len(frame):
        rules = [rule for head, scale in heads.items() for rule in _head_rules(head, scale)]
        rows = suite.check(missing_breaks(values), rules)
        keys = frame[["session", "symbol"]].reset_index(drop=True)
        rows |= suite.check(keys, [_UNIQUE])
        findings += [finding(outcome, "rows", bar_namer(frame)) for outcome in rows.values()]
        findings += _check_spread(suite, values.assign(session=keys["session"]), list(heads))
    suite.publish()
    return tuple(findings)


def _head_rules(head: str, scale: float) -> list[Rule]:
    # The network computes in float32, where the scale itself may round to a little more than the scale.
    top = max(scale, float(np.float32(scale)))
    rules = [
        between(f"{head}_finite", f"{head} is a number", head, low=-_LARGEST, high=_LARGEST),
        between(f"{head}_range", f"{head} lies in [0, {scale:g}]", head, low=0, high=top),
    ]
    if head == "p_up":
        return rules
    most, least = f"at most {MOST_NEAR_SCALE:.1%}", f"at most {MOST_NEAR_ZERO:.1%}"
    above, below = NEAR_SCALE * scale, NEAR_ZERO * scale
    return [
        *rules,
        between(f"{head}_saturated", f"{most} lie above {above:g}", head, high=above, mostly=1 - MOST_NEAR_SCALE),
        between(f"{head}_dead", f"{least} lie below {below:g}", head, low=below, mostly=1 - MOST_NEAR_ZERO),
    ]


def _check_spread(suite: Suite, values: pd.DataFrame, heads: list[str]) -> list[Finding]:
    """No head says the same of every symbol of a session; sessions of one symbol cannot tell."""
    by_session = values.groupby("session")[heads]
    several = by_session.size() >= 2
    spread = (by_session.max() - by_session.min())[several].reset_index()
    promise = "differs between the symbols of a session"
    rules = [between(f"{head}_constant", f"{head} {promise}", head, low=0, strict=True) for head in heads]
    outcomes = suite.check(spread[heads], rules)

    def name(row: int) -> str:
        return f"{spread['session'].iloc[row]:%Y-%m-%d}"

    return [finding(outcome, "sessions", name) for outcome in outcomes.values()]
