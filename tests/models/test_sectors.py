"""Lists of sectors, those that can be read and those that cannot."""

import pytest

from models.errors import ConfigError
from models.sectors import read_sectors


def test_a_list_is_read_whatever_the_case_of_its_header(tmp_path):
    place = tmp_path / "sectors.csv"
    place.write_text(
        "Symbol,Name,Sector\nA,Agilent,Health Care\nTRUE,TrueCar,Technology\nB,Barnes,\nNA,National,Financials\n"
    )
    assert read_sectors(str(place)) == {"A": "Health Care", "TRUE": "Technology", "NA": "Financials"}


def test_the_demo_brings_its_own_list():
    sectors = read_sectors("demo")
    assert sectors["AIG"] == "Financials"
    assert len(set(sectors.values())) == 10


@pytest.mark.parametrize("content", ["ticker,group\nA,B\n", "", None])
def test_what_is_no_list_is_told_with_how_to_mend_it(tmp_path, content):
    place = tmp_path / "sectors.csv"
    if content is not None:
        place.write_text(content)
    with pytest.raises(ConfigError, match="Name a CSV with the columns symbol and sector"):
        read_sectors(str(place))
