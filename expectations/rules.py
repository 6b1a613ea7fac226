"""What a rule of a contract is, and how its outcome becomes a finding. Knows nothing of Great Expectations."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.config import Level
from models.records import Finding

IntArray = npt.NDArray[np.int64]
_MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Rule:
    """One rule: a standard expectation over one frame, and what happens when it is broken."""

    name: str
    promise: str
    """What holds when the rule holds: `every price is above zero`."""
    expectation: str
    """Name of a Great Expectations expectation, such as expect_column_values_to_be_between."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    level: Level = "stop"


@dataclass(frozen=True)
class Outcome:
    """What one rule found on one frame."""

    rule: Rule
    held: bool
    rows: IntArray
    """Positions of the rows that broke it, ascending; none for a rule about the frame as a whole."""
    total: int
    """Rows of the frame."""
    observed: float | None
    """The measured number, where the rule is about one number and not about rows."""


def between(
    name: str,
    promise: str,
    column: str,
    *,
    low: float | None = None,
    high: float | None = None,
    strict: bool = False,
    mostly: float = 1.0,
) -> Rule:
    """The values of a column lie in [low, high], or inside it when strict; `mostly` of them where that is enough."""
    bounds = {"min_value": low, "max_value": high, "strict_min": strict, "strict_max": strict, "mostly": mostly}
    return Rule(name, promise, "expect_column_values_to_be_between", {"column": column, **bounds})


def among(name: str, promise: str, column: str, values: Iterable[object]) -> Rule:
    """The values of a column are all among these."""
    return Rule(name, promise, "expect_column_values_to_be_in_set", {"column": column, "value_set": list(values)})


def not_empty(name: str, promise: str) -> Rule:
    """The frame has rows."""
    return Rule(name, promise, "expect_table_row_count_to_be_between", {"min_value": 1})


def missing_breaks(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with infinity where a number is missing: expectations pass over nulls, and nothing missing may pass."""
    return frame.fillna(np.inf)


def bar_namer(frame: pd.DataFrame, lines: IntArray | None = None) -> Callable[[int], str]:
    """Readable name of the row at a position: `DHR 2010-06-14`, with the line of the file where that is known."""

    def name(row: int) -> str:
        symbol, session = frame["symbol"].iloc[row], frame["session"].iloc[row]
        place = f"row {row}" if lines is None else f"line {lines[row]}"
        if pd.isna(symbol) or pd.isna(session):
            return place
        return f"{symbol} {session:%Y-%m-%d}" + ("" if lines is None else f" ({place})")

    return name


def measured(outcome: Outcome, value: float) -> Outcome:
    """The outcome of a rule on a frame of one row, as the outcome of the one number in it."""
    return replace(outcome, rows=outcome.rows[:0], observed=value)


def finding(outcome: Outcome, unit: str, example: Callable[[int], str] | None = None) -> Finding:
    """The outcome in words.

    Args:
        outcome: What the rule found.
        unit: What one row of the frame is: `rows`, `sessions`.
        example: Readable name of the row at a position; none where there is nothing to name.
    """
    rule = outcome.rule
    rows = () if outcome.held or example is None else outcome.rows[:_MOST_EXAMPLES]
    return Finding(
        rule=rule.name,
        level=rule.level,
        count=0 if outcome.held else max(len(outcome.rows), 1),
        why=_sentence(outcome, unit),
        examples=tuple(example(int(row)) for row in rows) if example else (),
    )


def _sentence(outcome: Outcome, unit: str) -> str:
    promise = outcome.rule.promise
    if outcome.observed is not None:
        return f"{'Held' if outcome.held else 'Broken'}: {promise}; measured {outcome.observed:,.6g}."
    if outcome.held:
        return f"Held over {outcome.total:,} {unit}: {promise}."
    return f"Broken in {len(outcome.rows):,} of {outcome.total:,} {unit}: {promise}."
