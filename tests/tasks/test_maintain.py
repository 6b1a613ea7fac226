"""Housekeeping changes files and no answer."""

import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from flows.maintenance import maintenance
from models.config import OperationConfig, RetrainConfig, StorageConfig
from models.errors import StoreError
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.panel import build_panel
from models.placebo import stored_placebo
from models.records import CandidateRecord, FoldRecord, LedgerEntry, Snapshot
from models.tables import Table
from tasks.maintain import clear_old_folds, clear_old_nights, clear_parts, measure_placebo, tidy_tables
from tests.small_nights import config_at

ROOT = Path(__file__).parents[2]
SCHEMA = pa.schema([("session", pa.date32()), ("value", pa.float64())])
DAYS = 90


@pytest.fixture
def config(tmp_path) -> RetrainConfig:
    operation = OperationConfig(keep_nights_days=DAYS)
    return RetrainConfig(storage=StorageConfig(home=str(tmp_path / "home")), operation=operation)


@pytest.fixture
def locations(config) -> Locations:
    return Locations(config.storage)


@pytest.fixture
def numbers(locations) -> Table:
    """A table of twelve small writes, each done once under a name."""
    table = Table(locations.table("numbers"), SCHEMA)
    for day in range(1, 13):
        table.append(
            pa.table({"session": [date(2024, 5, day)] * 3, "value": [day, day + 0.5, None]}, SCHEMA), f"d{day}"
        )
    return table


def content(table: Table) -> pd.DataFrame:
    return table.read().to_pandas().sort_values(["session", "value"], ignore_index=True)


def decision(night_id: str, days_ago: float, verdict: str = "keep") -> LedgerEntry:
    then = datetime.now(UTC) - timedelta(days=days_ago)
    return LedgerEntry(
        night_id=night_id, session=then.date(), as_of=then, decided_at=then, verdict=verdict, reason="because",
        version=None, champion_before=None, champion_after=None, actor="tests",
    )  # fmt: skip


def a_night(locations: Locations, night_id: str) -> NightFiles:
    files = NightFiles(locations, night_id)
    for name in ("bars", "market"):
        files.write_frame(name, pd.DataFrame({"close": [1.0, 2.0]}))
    Path(files.uri("result.json")).write_text("{}")
    Path(files.uri("candidate")).mkdir()
    Path(files.uri("candidate/metadata.json")).write_text("{}")
    return files


def left_of(files: NightFiles) -> set[str]:
    root = Path(files.root)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_many_small_files_become_few_and_every_row_is_there(config, numbers):
    before = content(numbers)
    done = tidy_tables.fn(config)["numbers"]
    assert (done.files_before, done.files_after) == (12, 1)
    pd.testing.assert_frame_equal(content(numbers), before)


def test_every_name_of_a_write_survives_so_that_nothing_is_written_twice(config, numbers):
    tidy_tables.fn(config)
    delta = DeltaTable(numbers.uri)
    assert {delta.transaction_version(f"d{day}") for day in range(1, 13)} == {1}
    assert not numbers.append(pa.table({"session": [date(2024, 5, 1)], "value": [0.0]}, SCHEMA), once="d1")
    assert numbers.append(pa.table({"session": [date(2024, 5, 13)], "value": [13.0]}, SCHEMA), once="d13")


def test_a_table_opens_from_its_checkpoint_alone(config, numbers):
    before = content(numbers)
    tidy_tables.fn(config)
    log = Path(numbers.uri, "_delta_log")
    assert list(log.glob("*.checkpoint.parquet"))
    for commit in log.glob("*.json"):
        commit.unlink()
    pd.testing.assert_frame_equal(content(numbers), before)
    assert numbers.wrote("d1")


def test_files_that_nothing_refers_to_are_deleted_only_after_a_week(config, numbers):
    old, young = (Path(numbers.uri, f"part-left-behind-{age}.parquet") for age in ("old", "young"))
    for file in (old, young):
        file.write_bytes(b"of a write that was killed")
    eight_days_ago = time.time() - 8 * 86400
    os.utime(old, (eight_days_ago, eight_days_ago))
    before = content(numbers)
    assert tidy_tables.fn(config)["numbers"].removed == 1
    assert (old.exists(), young.exists()) == (False, True)
    assert len(list(Path(numbers.uri).glob("*.parquet"))) == 12 + 1 + 1, "yesterday's reader may still need the twelve"
    pd.testing.assert_frame_equal(content(numbers), before)


def test_once_more_there_is_nothing_left_to_do(config, numbers):
    tidy_tables.fn(config)
    version = DeltaTable(numbers.uri).version()
    done = tidy_tables.fn(config)["numbers"]
    assert (done.files_before, done.files_after, done.removed) == (1, 1, 0)
    assert DeltaTable(numbers.uri).version() == version


def test_a_damaged_table_is_told_and_left_as_it_is(config, numbers):
    last = max(Path(numbers.uri, "_delta_log").glob("*.json"))
    last.write_text("")
    with pytest.raises(StoreError, match="numbers cannot be tidied"):
        tidy_tables.fn(config)
    assert len(list(Path(numbers.uri).glob("*.parquet"))) == 12


def test_the_ledger_reads_and_appends_as_before(config, locations):
    ledger = Ledger(locations)
    for n in range(6):
        ledger.append(decision(f"n{n}", days_ago=200 - n))
    before = ledger.entries()
    assert tidy_tables.fn(config)["ledger"].files_after == 1
    assert ledger.entries() == before
    ledger.append(decision("n6", days_ago=1))
    ledger.append(decision("n7", days_ago=0))
    assert [one.night_id for one in ledger.entries()] == [f"n{n}" for n in range(8)]
    with pytest.raises(StoreError, match="decided already"):
        ledger.append(decision("n0", days_ago=0, verdict="promote"))


def judged_with(locations: Locations, night_id: str, *keys: str) -> None:
    folds = tuple(
        FoldRecord(
            fold=n, key=key, version=f"fold-{key}", trained_until=date(2024, 3, 31), rows=1, epochs=1, penalty=None,
            seconds=1.0, reused=False,
        )
        for n, key in enumerate(keys)
    )  # fmt: skip
    candidate = CandidateRecord(
        version=night_id, uri="", hashes={}, scales={}, trained_until=date(2024, 6, 1), recipe="r", epochs=1,
        seconds=1.0, head_weights={}, folds=folds,
    )  # fmt: skip
    NightFiles(locations, night_id).write_record("candidate", candidate)


def test_folds_stay_as_long_as_a_recent_night_was_judged_with_them(config, locations):
    two_days_ago = time.time() - 2 * 86400
    for key in ("gone", "shared", "newest", "training"):
        place = Path(locations.folds, key)
        place.mkdir(parents=True)
        (place / "fold.json").write_text("{}")
        if key != "training":  # by a night that goes on right now
            os.utime(place / "fold.json", (two_days_ago, two_days_ago))
    for night_id, days_ago, keys in (("old", 2 * DAYS, ("gone", "shared")), ("young", 1, ("shared", "newest"))):
        Ledger(locations).append(decision(night_id, days_ago))
        judged_with(locations, night_id, *keys)
    assert clear_old_folds.fn(config) == 1
    assert {place.name for place in Path(locations.folds).iterdir()} == {"shared", "newest", "training"}


def test_only_nights_that_were_decided_long_ago_lose_their_copies_of_the_bars(config, locations):
    ledger = Ledger(locations)
    old, recent, open_one = (a_night(locations, name) for name in ("old", "recent", "open"))
    ledger.append(decision("old", days_ago=DAYS + 1))
    ledger.append(decision("recent", days_ago=DAYS - 1))
    whole = left_of(recent)
    size = sum(Path(old.uri(name)).stat().st_size for name in ("bars.parquet", "market.parquet"))
    cleared = clear_old_nights.fn(config)
    assert (cleared.nights, cleared.bytes_freed) == (1, size)
    assert left_of(old) == {"result.json", "candidate/metadata.json"}
    assert left_of(recent) == left_of(open_one) == whole
    assert clear_old_nights.fn(config).nights == 0


WRITING = """
import os, sys
from models.locations import write_whole
os.fsync = lambda _: (print("half way", flush=True), input())
write_whole(sys.argv[1], b"half of it")
"""


def killed_while_writing(uri: str) -> Path:
    """What is left of a file whose process was killed before the file had its name."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITING, uri], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    writer.stdout.readline()
    writer.kill()
    writer.communicate()
    return Path(f"{uri}.{writer.pid}.part")


def a_day_ago(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 25 * 3600,) * 2)


def test_what_killed_processes_left_half_written_is_deleted_after_a_day(config, locations):
    night = a_night(locations, "n")
    whole = left_of(night)
    old, fresh = killed_while_writing(night.uri("verdict.json")), killed_while_writing(night.uri("told.json"))
    candidate = Path(night.uri("candidate.part"))
    candidate.mkdir()
    theirs = Path(locations.home, "movie.part")
    theirs.touch()
    a_day_ago(old, candidate, theirs, Path(night.uri("bars.parquet")))
    assert clear_parts.fn(config) == 2
    assert (old.exists(), candidate.exists()) == (False, False)
    assert left_of(night) == whole | {fresh.name}, "it may be that somebody writes it now"
    assert theirs.exists(), "where Nocturne writes no parts they are somebody else's"


def test_the_recipe_in_use_is_measured_on_shuffled_labels_and_its_next_night_finds_that(config, locations, make_market):
    settings = config_at(Path(locations.home))
    bars = make_market(n_symbols=25, n_sessions=160)
    files = NightFiles(locations, "judged")
    market = build_panel(bars, settings.data).market.rename("market_return").rename_axis("session")
    last = bars["session"].max().date()
    snapshot = Snapshot(
        session=last, as_of=datetime.now(UTC), hash="h", rows=len(bars), first=last, last=last, symbols=25
    )
    night = NightRecord.of(snapshot, settings)
    files.write_frame("bars", bars)
    files.write_frame("market", market.reset_index())
    files.write_record("config", settings)
    files.write_record("night", night)
    Ledger(locations).append(decision("judged", days_ago=1).model_copy(update={"version": "v"}))
    Ledger(locations).append(decision("without a candidate", days_ago=0))
    measured = measure_placebo.fn(config)
    assert stored_placebo(night.recipe, locations) == measured
    assert measured.session == last


def test_the_flow_does_it_all_and_an_empty_home_is_no_fault(config, locations, prefect):
    empty = maintenance(config)
    assert (empty.tables, empty.parts, empty.placebo) == ({}, 0, None)
    a_night(locations, "old")
    Ledger(locations).append(decision("old", days_ago=DAYS + 1))
    a_day_ago(killed_while_writing(f"{locations.nights}/old/told.json"))
    done = maintenance(config)
    assert done.nights == 1
    assert done.tables.keys() == {"ledger"}
    assert done.parts == 1
