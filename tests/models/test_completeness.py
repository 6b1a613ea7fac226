"""How complete a session is, by the symbols that usually deliver."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from models.completeness import coverage_of, refuse_partial, share_of_usual, waits_for_the_rest
from models.config import ContractConfig
from models.errors import DeliveryStopped
from models.records import Snapshot

DAYS = np.arange("2024-07-01", "2024-07-11", dtype="datetime64[D]")
TONIGHT = DAYS[-1].item()


def delivered(**sessions_of: list[int]) -> pd.DataFrame:
    """Bars of symbols on the numbered days."""
    rows = [(symbol, DAYS[day]) for symbol, days in sessions_of.items() for day in days]
    return pd.DataFrame(rows, columns=["symbol", "session"]).astype({"session": "datetime64[s]"})


def test_only_symbols_that_usually_deliver_are_missed():
    bars = delivered(A=[*range(10)], B=[*range(9)], DELISTED=[0, 1, 2, 3], THREE_DAYS=[6, 7, 8], NEW=[9])
    assert share_of_usual(bars, TONIGHT) == 0.5


def test_half_of_the_sessions_are_usual():
    assert share_of_usual(delivered(A=range(9), HALF=[0, 2, 4, 6, 8, 9]), TONIGHT) == 0.5


def test_later_sessions_and_repeated_rows_change_nothing():
    bars = delivered(A=range(10), B=range(10))
    assert share_of_usual(pd.concat([bars, bars]), DAYS[6].item()) == share_of_usual(bars[:7], DAYS[6].item()) == 1


def test_with_too_few_sessions_before_it_nobody_can_say():
    assert np.isnan(share_of_usual(delivered(A=[5, 6, 7, 8, 9]), TONIGHT))
    assert np.isnan(share_of_usual(delivered(), TONIGHT))


@pytest.mark.parametrize(
    ("level", "share", "waits"),
    [("wait", 0.49, True), ("wait", 0.5, False), ("wait", None, False), ("stop", 0.1, False), ("warn", 0.1, False)],
)
def test_a_night_waits_where_its_session_came_by_half_and_the_policy_is_to_wait(level, share, waits):
    session = date(2024, 7, 10)
    snapshot = Snapshot(
        session=session, as_of=datetime(2024, 7, 11, tzinfo=UTC), hash="h", rows=1, first=session, last=session,
        symbols=1, completeness=share,
    )  # fmt: skip
    why = waits_for_the_rest(snapshot, ContractConfig.model_validate({"levels": {"completeness": level}}))
    assert bool(why) == waits
    assert not waits or ("49.0 %" in why and "2024-07-10" in why and "50 %" in why)


def partial_night(coverage: float | None, level: str) -> tuple[Snapshot, ContractConfig]:
    snapshot = Snapshot(
        session=TONIGHT, as_of=datetime(2024, 7, 11, tzinfo=UTC), hash="h", rows=1, first=TONIGHT, last=TONIGHT,
        symbols=1, coverage=coverage,
    )  # fmt: skip
    return snapshot, ContractConfig.model_validate({"levels": {"completeness": level}})


@pytest.mark.parametrize(("coverage", "partial"), [(0.385, True), (None, False), (0.9, False), (1.0, False)])
def test_a_night_of_a_partial_session_waits_stops_or_goes_on_by_the_level_of_completeness(coverage, partial):
    for level in ("stop", "wait", "warn"):
        snapshot, contract = partial_night(coverage, level)
        assert bool(waits_for_the_rest(snapshot, contract)) == (partial and level == "wait")
        if partial and level == "stop":
            with pytest.raises(DeliveryStopped, match=r"2024-07-10 is partial.*38\.5.*90.*completeness=wait"):
                refuse_partial(snapshot.session, snapshot.coverage, contract)
        else:
            refuse_partial(snapshot.session, snapshot.coverage, contract)


def test_the_coverage_of_a_session_is_that_of_its_median_symbol():
    sessions = pd.to_datetime(["2024-07-01"] * 3 + ["2024-07-02"])
    bars = pd.DataFrame({"session": sessions, "coverage": [0.2, 0.5, 1.0, 0.1]})
    assert coverage_of(bars, date(2024, 7, 1)) == 0.5
    assert coverage_of(bars.drop(columns="coverage"), date(2024, 7, 1)) == 1.0
    assert np.isnan(coverage_of(bars, date(2024, 7, 3)))
