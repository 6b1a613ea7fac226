"""The week's work: tables that stay fast, nights that stay small, and the label placebo of the recipe in use.

Nothing that was decided is lost, and of what was learnt only recipe folds that nobody asks any more.
"""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import fsspec
import pyarrow as pa
from prefect import task

from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations, is_local
from models.night import NightFiles, NightRecord
from models.notation import duration, fixed
from models.placebo import PlaceboRecord, measure, store_placebo
from models.records import CandidateRecord, Record
from models.tables import Table, Tidied
from tasks.outside import RETRIED
from tasks.run_log import sum_up

FRAMES: Final = ("bars.parquet", "market.parquet")
"""Of a night, what is large and can be read again from the tables."""
PART_AGE_S: Final = 24 * 3600.0
"""A part that was last written so long ago is nobody's any more."""


class ClearedNights(Record):
    """Nights whose copies of the bars were deleted."""

    nights: int
    bytes_freed: int


class MaintenanceResult(Record):
    """What was done in one home."""

    tables: dict[str, Tidied]
    nights: int
    """Nights whose copies of the bars were deleted: decided longer ago than operation.keep_nights_days."""
    bytes_freed: int
    """By these copies."""
    folds: int
    """Recipe folds deleted that no later night was judged with."""
    parts: int
    """Half-written files and directories of processes that were killed, now deleted."""
    placebo: PlaceboRecord | None
    """Direction AUCs of the last night's recipe on shuffled labels; None where no night has left its bars."""


@task(name="tidy tables", **RETRIED)
def tidy_tables(config: RetrainConfig) -> dict[str, Tidied]:
    """Tidy every Delta table of the home, by name.

    Raises:
        StoreError: one is damaged or cannot be written; those before it in the alphabet are done.
    """
    locations = Locations(config.storage)
    filesystem, path = fsspec.core.url_to_fs(locations.tables)
    places = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
    names = sorted(place.rstrip("/").rpartition("/")[2] for place in places)
    tidied = {name: Table(locations.table(name), pa.schema([])).tidy() for name in names}
    return {name: done for name, done in tidied.items() if done is not None}


@task(name="clear old nights", **RETRIED)
def clear_old_nights(config: RetrainConfig) -> ClearedNights:
    """Delete the copies of the bars that old nights read; a night that is not decided keeps them, since it needs them.

    Raises:
        StoreError: the ledger cannot be read.
    """
    locations = Locations(config.storage)
    before = datetime.now(UTC) - timedelta(days=config.operation.keep_nights_days)
    old = [entry.night_id for entry in Ledger(locations).entries() if entry.decided_at < before]
    freed = [_clear(NightFiles(locations, night_id)) for night_id in old]
    return ClearedNights(nights=sum(map(bool, freed)), bytes_freed=sum(freed))


@task(name="clear old folds", **RETRIED)
def clear_old_folds(config: RetrainConfig) -> int:
    """Delete recipe folds that no night of the last operation.keep_nights_days was judged with; returns how many.

    A fold that is wanted again later is trained again.

    Raises:
        StoreError: the ledger cannot be read.
    """
    locations = Locations(config.storage)
    since = datetime.now(UTC) - timedelta(days=config.operation.keep_nights_days)
    nights = [entry.night_id for entry in Ledger(locations).entries() if entry.decided_at >= since]
    used = {key for night_id in nights for key in _folds_of(NightFiles(locations, night_id))}
    filesystem, path = fsspec.core.url_to_fs(locations.folds)
    kept = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
    unused = [fold for fold in kept if fold.rstrip("/").rpartition("/")[2] not in used and _is_aged(filesystem, fold)]
    for fold in unused:
        filesystem.rm(fold, recursive=True)
    return len(unused)


def _folds_of(files: NightFiles) -> Iterator[str]:
    if files.has("candidate.json"):
        yield from (fold.key for fold in files.read_record("candidate", CandidateRecord).folds)


def _is_aged(filesystem: fsspec.AbstractFileSystem, fold: str) -> bool:
    """A night that is not decided yet may have just trained it."""
    written = [filesystem.modified(file) for file in filesystem.find(fold)]
    return not written or (datetime.now(UTC) - max(written)).total_seconds() > PART_AGE_S


@task(name="measure placebo", **RETRIED)
def measure_placebo(config: RetrainConfig) -> PlaceboRecord | None:
    """Measure and keep the label placebo of the newest night that was judged and still has its bars.

    Raises:
        StoreError: the ledger cannot be read.
    """
    locations = Locations(config.storage)
    for entry in reversed(Ledger(locations).entries()):
        files = NightFiles(locations, entry.night_id)
        if entry.version is None or entry.verdict == "rollback" or not files.has(FRAMES[0]):
            continue
        settings = files.read_config(config.storage)
        night = NightRecord.of(files.read_record("night", NightRecord).snapshot, settings)  # of the code that runs now
        placebo = measure(files.read_dataset(settings), night.recipe, night.snapshot.session)
        store_placebo(placebo, locations)
        sum_up(
            f"{len(placebo.aucs)} shuffles of the labels of {placebo.session} gave a mean AUC of "
            f"{fixed(placebo.mean)}, standard deviation {fixed(placebo.sd)}, in {duration(placebo.seconds)}."
        )
        return placebo
    return None


@task(name="clear parts", **RETRIED)
def clear_parts(config: RetrainConfig) -> int:
    """Delete what processes were killed while writing, `….part`; returns how many there were.

    Only where Nocturne writes that way: a home may lie among files of others. Object stores show no parts.
    """
    locations = Locations(config.storage)
    places = (locations.nights, locations.folds, locations.deliveries, f"{locations.home}/server")
    found = {part for place in filter(is_local, places) for part in Path(place).rglob("*.part")}
    left = [part for part in found if _is_old(part)]
    for part in left:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
    return len(left)


def _is_old(part: Path) -> bool:
    try:
        return time.time() - part.stat().st_mtime > PART_AGE_S
    except FileNotFoundError:  # its process has just given it its name
        return False


def _clear(files: NightFiles) -> int:
    freed = 0
    for name in FRAMES:
        filesystem, path = fsspec.core.url_to_fs(files.uri(name))
        if filesystem.exists(path):
            freed += int(filesystem.size(path))
            filesystem.rm_file(path)
    return freed
