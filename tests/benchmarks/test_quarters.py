"""A night on real stocks: its AUC and its interval, computed again by others' code."""

from datetime import date

import pytest

from benchmarks.quarters import nights, quarter_ends
from tests.real_data import real


def test_the_quarters_end_with_their_last_sessions():
    assert quarter_ends()[:2] == [date(2010, 3, 31), date(2010, 6, 30)]
    assert quarter_ends()[-3:] == [date(2013, 6, 28), date(2013, 9, 30), date(2013, 12, 31)]


@pytest.mark.slow
def test_a_second_computation_agrees_with_what_a_night_on_real_stocks_says(monkeypatch):
    monkeypatch.setenv("BENCHMARK_DATA", str(real("pooksoft_sp500_daily").parent))
    (night,) = nights(40, [date(2010, 3, 31)])
    metrics, again = night["metrics"], night["again"]
    assert metrics["direction_auc"] == pytest.approx(again.auc, abs=1e-9)
    width = metrics["direction_auc_high"] - metrics["direction_auc_low"]
    assert metrics["direction_auc_low"] == pytest.approx(again.low, abs=width / 4)
    assert metrics["direction_auc_high"] == pytest.approx(again.high, abs=width / 4)
