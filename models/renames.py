"""When a symbol begins to mean another company, from map files in LEAN's format: one file a company, `date,ticker[,…]`
a line, in which each ticker was used up to and including its date."""

import csv
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

from models.errors import ConfigError
from models.records import Record


class Renames(Record):
    """For `data.renames` of the configuration."""

    renames: dict[str, tuple[date, ...]]
    """Symbol → days on which a company began to trade under it, ascending."""


def read_map_files(folder: str) -> Renames:
    """Every ticker of every company in a folder, with the days on which its use began.

    A company's very first day is among them: a break before the first bar of a series changes nothing.

    Args:
        folder: Directory of CSV files whose names begin with `map_files`, or that lie in a directory of that name.

    Raises:
        ConfigError: there is no map file, or a line of one is none.
    """
    place = Path(folder).expanduser()
    files = [path for path in sorted(place.glob("*.csv")) if "map_files" in (place.name, path.name[:9])]
    if not files:
        raise ConfigError(
            f"No map file in {folder}: looked for map_files*.csv, and for *.csv where that is its name. "
            f"Name the folder that holds them."
        )
    begun: dict[str, set[date]] = {}
    for path in files:
        with path.open(encoding="utf-8", newline="") as lines:
            for symbol, day in _begins(path, csv.reader(lines)):
                begun.setdefault(symbol, set()).add(day)
    return Renames(renames={symbol: tuple(sorted(days)) for symbol, days in sorted(begun.items())})


def _begins(path: Path, lines: Iterable[list[str]]) -> Iterable[tuple[str, date]]:
    before: tuple[str, date] | None = None
    for number, line in enumerate(lines, 1):
        try:
            until, symbol = datetime.strptime(line[0], "%Y%m%d").date(), line[1].strip().upper()
        except (IndexError, ValueError) as error:
            raise ConfigError(
                f"Line {number} of the map file {path} is no `date,ticker`: {','.join(line)!r}. Dates read 20090804; "
                f"take the line out or write it so."
            ) from error
        if before is None:
            yield symbol, until
        elif before[0] != symbol:
            yield symbol, before[1] + timedelta(days=1)
        before = symbol, until
