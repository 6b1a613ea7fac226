"""Symbols that changed their company."""

from datetime import date

import pandas as pd
import pytest

from models.config import DataConfig
from models.errors import ConfigError
from models.panel import build_panel
from models.renames import read_map_files
from tests.real_data import real


def test_map_files_say_when_each_company_began_to_use_its_symbol(tmp_path):
    (tmp_path / "map_files_wm.csv").write_text("19980102,uw,N\n19980716,uw,N\n20090804,wmi,N\n20501231,wm,N\n")
    (tmp_path / "map_files_wm.1.csv").write_text("19980102,wm\n20080926,wm\n")
    (tmp_path / "factor_files_wm.csv").write_text("19980102,0.86,0.5,1\n")
    assert read_map_files(str(tmp_path)).renames == {
        "UW": (date(1998, 1, 2),),
        "WM": (date(1998, 1, 2), date(2009, 8, 5)),
        "WMI": (date(1998, 7, 17),),
    }


@pytest.mark.parametrize("text", ["1998-01-02,wm\n", "19980102\n"])
def test_a_line_that_is_none_is_named(tmp_path, text):
    (tmp_path / "map_files_wm.csv").write_text("19980102,uw\n" + text)
    with pytest.raises(ConfigError, match=r"Line 2 .*map_files_wm.csv"):
        read_map_files(str(tmp_path))


def test_a_folder_without_map_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No map file"):
        read_map_files(str(tmp_path))


def test_re_used_symbols_are_two_companies_even_without_a_gap_between_them():
    source = real("lean_sample")
    bars = pd.read_parquet(source / "lean_us_daily.parquet").rename(columns={"timestamp": "session"})
    bars = bars[bars["symbol"].isin(["FB", "AAA", "WM"])].sort_values(["symbol", "session"], ignore_index=True)
    data = DataConfig(
        renames=read_map_files(str(source / "factor_files")).renames, gap_sessions=100_000, min_universe=20
    )
    panel = build_panel(bars, data)
    begins = panel.session_of(panel.offsets[:-1][panel.segments > 0]).astype("datetime64[D]")
    starts = dict(zip(panel.symbols[panel.segments > 0].tolist(), begins.astype(str).tolist(), strict=True))
    assert starts == {"AAA": "2020-09-09", "FB": "2012-05-18", "WM": "2009-08-05"}
