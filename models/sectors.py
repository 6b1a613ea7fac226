"""Which sector a symbol belongs to, where the source says so. It is shown in the report and read by no model."""

from collections.abc import Mapping
from xml.etree import ElementTree

import pandas as pd

from models.delivery import demo_file
from models.errors import ConfigError, NocturneError
from models.locations import open_at


def read_sectors(place: str) -> Mapping[str, str]:
    """Symbol → sector from a list.

    Args:
        place: Path or URI of a CSV with columns `symbol` and `sector`, or `demo` for the list beside the demo's bars.

    Raises:
        ConfigError: it cannot be read, or is no such list.
    """
    try:
        if place == "demo":
            listed = ElementTree.parse(demo_file("SP_500.xml")).getroot()
            return {symbol.attrib["ticker"]: symbol.attrib["sector"] for symbol in listed}
        with open_at(place) as file:
            rows = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])  # NA is a symbol
        rows = rows.rename(columns=str.lower)[["symbol", "sector"]].dropna()
    except (OSError, ValueError, KeyError, ImportError, ElementTree.ParseError, NocturneError) as error:
        raise ConfigError(
            f"source.sectors = {place!r} is no list of sectors ({error}). Name a CSV with the columns symbol and "
            f"sector, or leave it empty: the report then shows no parts by sector."
        ) from error
    return dict(zip(rows["symbol"], rows["sector"], strict=True))
