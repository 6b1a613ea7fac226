"""The contract of what is usual: tonight's columns and features lie where those of the last sessions did. It warns."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from expectations.gx import Suite
from expectations.rules import between, finding
from models.drift import BEYOND, SESSIONS, ColumnDrift
from models.records import Finding


def check_drift(
    columns: Sequence[ColumnDrift], features: Sequence[ColumnDrift], *, name: str, docs: str | None
) -> tuple[Finding, ...]:
    """Check the distances of one session.

    Args:
        columns: Of the delivered columns.
        features: Of what the network reads.
        name: What the Data Docs call this run.
        docs: Local directory of the Data Docs; None builds none.

    Returns:
        One finding for each kind of which anything is known, at level warn.
    """
    suite = Suite("drift", name, docs)
    kinds = {"column_drift": ("column", columns), "feature_drift": ("feature", features)}
    found = [_check(suite, rule, kind, measured) for rule, (kind, measured) in kinds.items() if measured]
    if found:
        suite.publish()
    return tuple(found)


def _check(suite: Suite, rule: str, kind: str, measured: Sequence[ColumnDrift]) -> Finding:
    measured = sorted(measured, key=lambda one: -one.excess)
    promise = (
        f"a {kind} lies at most {BEYOND:g} times as far from the last {SESSIONS} sessions as the farthest of them did"
    )
    excess = pd.DataFrame({"excess": [one.excess for one in measured]})

    def told(row: int) -> str:
        one = measured[row]
        return f"{one.name}: {one.tonight:.2f}, at most {max(one.earlier):.2f} before"

    asked = replace(between(rule, promise, "excess", high=1.0), level="warn")
    return finding(suite.check(excess, [asked])[rule], f"{kind}s", told)
