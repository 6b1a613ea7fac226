"""Real deliveries, where they are: prices belong to vendors, so none is in the repository."""

import os
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(os.environ.get("BENCHMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real(name: str) -> Path:
    """A set of real data; skips the test where it is not at hand."""
    if not (FOLDER / name).exists():
        pytest.skip(f"no {name} in {FOLDER}; BENCHMARK_DATA names another folder")
    return FOLDER / name


def nightly_files(directory: Path) -> list[Path]:
    """The 198 nights of 2015 as files, in order; nine of them are the archives as they were delivered."""
    source = real("pystock_nightly")
    archives = {path.name.removesuffix(".tar.gz"): path for path in (source / "raw_drops").glob("*.tar.gz")}
    files = {}
    for day, rows in pd.read_parquet(source / "drops_2015.parquet").groupby("delivered_on"):
        files[f"{day:%Y%m%d}"] = directory / f"prices-{day:%Y-%m-%d}.csv"
        named = rows.drop(columns="delivered_on").rename(columns={"timestamp": "date"})
        named.assign(date=named["date"].dt.date).to_csv(files[f"{day:%Y%m%d}"], index=False)
    for day, archive in archives.items():
        files[day] = directory / f"prices-{day[:4]}-{day[4:6]}-{day[6:]}.tar.gz"
        files[day].write_bytes(archive.read_bytes())
    return [files[day] for day in sorted(files)]
