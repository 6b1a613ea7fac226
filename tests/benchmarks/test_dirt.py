"""What docs/data.md says of splits and bad ticks, on the real sets where they are."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.dirt import PRICES, Found, prices_alone
from models.actions import SMALLEST
from models.bar_columns import judged_bars
from models.config import DataConfig
from models.ticks import Ticks
from tests.real_data import real


def suspects(bars: pd.DataFrame) -> np.ndarray:
    judged = judged_bars(bars, DataConfig())
    return np.flatnonzero(judged.kept)[judged.suspects.rows]


@pytest.mark.slow
def test_stated_splits_of_the_gold_panel_are_found_from_prices_alone():
    files = sorted(real("pooksoft_sp500_daily").glob("*.parquet"))
    bars = pd.concat([pd.read_parquet(file) for file in files]).rename(columns={"timestamp": "session"})
    bars = bars.rename(columns={"split_coefficient": "split_ratio"}).sort_values(
        ["symbol", "session"], ignore_index=True
    )
    contradicted = judged_bars(bars, DataConfig()).factors.contradicted
    names = bars["symbol"] + " " + bars["session"].dt.strftime("%Y-%m-%d")
    assert names[contradicted].tolist() == ["ANTM 2002-03-18", "GNRC 2010-02-12"]
    events = np.flatnonzero((np.abs(np.log(bars["split_ratio"])) > SMALLEST) & ~contradicted)
    found = Found("ours", suspects(prices_alone(bars)), events)
    assert found.recall >= 0.95
    assert found.precision >= 0.9


def test_every_unadjusted_split_of_the_dirty_pack_is_suspect():
    rows = pd.read_parquet(real("dirty_pack") / "dirty_pack_shared.parquet")
    rows = rows[rows["defect"] == "split_unadjusted_raw_close"].drop(columns="adj_close")
    rows = rows.rename(columns={"timestamp": "session"})
    missed = [case for case, bars in rows.groupby("case") if not len(suspects(bars.reset_index(drop=True)))]
    assert (rows["case"].nunique(), missed) == (15, [])


def test_every_series_in_another_unit_is_found_and_its_repaired_twin_left_alone():
    rows = pd.read_parquet(real("yfinance_labelled_defects") / "yfinance_defects.parquet")
    rows = rows[rows["defect"] == "100x-error"].rename(columns={"timestamp": "session"})
    wrong = {}
    for (symbol, repaired), bars in rows.groupby(["symbol", "is_fixed"]):
        ticks: Ticks = judged_bars(
            bars[["symbol", "session", *PRICES, "volume"]].fillna(0.0).sort_values("session", ignore_index=True),
            DataConfig(),
        ).ticks
        wrong[symbol, repaired] = int(ticks.unit_error.sum())
    assert wrong["SSW-JO", False] > 0
    assert wrong["AET-L", False] > 0
    assert wrong["SSW-JO", True] == wrong["AET-L", True] == 0
