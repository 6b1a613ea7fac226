"""Whole places brought in: what is new, in order of delivery, and one bad file does not hold up those behind it."""

import contextlib
import gzip
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from models.config import RetrainConfig
from models.errors import DeliveryError, DeliveryStopped, StoreError
from models.locations import Locations
from models.records import DeliveryRecord
from models.settings import load_settings
from models.sources import Delivered
from models.store import BarsStore
from tasks.ingest import bring_in, take_each

DAYS = ["2024-07-01", "2024-07-02", "2024-07-03"]
NOW = datetime(2024, 7, 9, 22, tzinfo=UTC)
PATTERN = "source.known_at_pattern=(\\d{4}-\\d{2}-\\d{2})"


def bars(day: str, close: float = 2.0, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"symbol": ["A", "B"], "timestamp": day, "open": close, "high": 9.0, "low": 1.0})
    return frame.assign(close=close, volume=10, **columns)


def text(day: str, **columns) -> str:
    return bars(day, **columns).to_csv(index=False)


@pytest.fixture
def config(tmp_path) -> RetrainConfig:
    return load_settings(assignments=[f"storage.home={tmp_path / 'home'}", PATTERN]).config


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three nights, delivered in another order than their names have."""
    (tmp_path / "in").mkdir()
    for prefix, day in zip("cba", DAYS, strict=True):
        (tmp_path / "in" / f"{prefix}-{day}.csv").write_text(text(day))
    return tmp_path / "in"


def bring(config: RetrainConfig, *places: object) -> tuple[list[DeliveryRecord], Exception | None]:
    def take(one: Delivered) -> DeliveryRecord:
        return bring_in(one.address, config, None, NOW, one.origin)

    return take_each([str(place) for place in places], config, take)


def days(config: RetrainConfig) -> list[str]:
    return [str(one.first) for one in BarsStore(Locations(config.storage)).deliveries()]


def test_a_directory_is_brought_in_by_the_date_of_delivery_and_the_next_time_only_what_is_new(config, folder):
    records, failure = bring(config, folder)
    assert failure is None
    assert days(config) == DAYS
    (folder / "d-2024-07-05.csv").write_text(text("2024-07-05"))
    records, _ = bring(config, folder)
    assert [record.name for record in records] == ["d-2024-07-05.csv"]
    assert bring(config, folder) == ([], None)


@pytest.mark.slow
def test_a_changed_file_is_a_delivery_and_one_that_is_only_touched_changes_nothing(config, folder):
    bring(config, folder)
    (folder / f"c-{DAYS[0]}.csv").write_text(text(DAYS[0], close=3.0))
    (folder / f"b-{DAYS[1]}.csv").touch()
    records, _ = bring(config, f"{folder}/*.csv")
    assert [(record.account.revised, record.repeated) for record in records] == [(2, False), (0, True)]


def test_bad_files_are_told_by_name_and_the_others_are_in_and_nothing_is_lost(config, folder):
    (folder / f"b-{DAYS[1]}.csv").write_bytes(gzip.compress(text(DAYS[1]).encode())[:40])
    (folder / "bb-2024-07-02.csv").write_text("symbol,timestamp,open,high,low,close,volume\n")
    records, failure = bring(config, folder)
    assert sum(record.account.accepted for record in records) == 4
    assert isinstance(failure, DeliveryStopped)
    assert "2 of 4 deliveries were not taken, the others are in" in str(failure)
    assert f"Cannot read b-{DAYS[1]}.csv: it is damaged" in str(failure)
    assert "bb-2024-07-02.csv was stopped" in str(failure)
    (folder / f"b-{DAYS[1]}.csv").write_text(text(DAYS[1]))
    (folder / "bb-2024-07-02.csv").unlink()
    records, failure = bring(config, folder)
    assert (len(records), failure) == (1, None)


def test_a_directory_that_disappears_between_two_files_is_told_and_what_was_read_is_in(config, folder):
    def take(one: Delivered) -> DeliveryRecord:
        record = bring_in(one.address, config, None, NOW, one.origin)
        for path in folder.iterdir():
            path.unlink()
        return record

    records, failure = take_each([str(folder)], config, take)
    assert [record.account.accepted for record in records] == [2]
    assert isinstance(failure, DeliveryError)
    for prefix, day in zip("ba", DAYS[1:], strict=True):
        assert f"{folder}/{prefix}-{day}.csv" in str(failure)


@pytest.mark.slow
def test_a_prefix_in_s3_is_brought_in_like_a_directory(config, s3):
    for day in DAYS[:2]:
        s3.put(f"prices/{day}.csv.gz", gzip.compress(text(day).encode()))
    records, failure = bring(config, "s3://market/prices/")
    assert ([record.account.accepted for record in records], failure) == ([2, 2], None)
    s3.put(f"prices/{DAYS[2]}.csv", text(DAYS[2]))
    assert [record.name for record in bring(config, "s3://market/prices/")[0]] == [f"{DAYS[2]}.csv"]


@pytest.mark.parametrize(
    ("columns", "rule"),
    [({"volume": -5.0}, "negative_volume"), ({"open": 1e9, "high": 1e9, "close": 1e9}, "implausible_price")],
)
def test_a_bad_row_is_told_with_file_line_and_rule(config, tmp_path, columns, rule):
    frame = bars(DAYS[0]).astype({"volume": float})
    for name, value in columns.items():
        frame.loc[1, name] = value
    (tmp_path / "prices.csv").write_text(frame.to_csv(index=False))
    (record,), _ = bring(config, tmp_path / "prices.csv")
    assert record.account.by_rule == {rule: 1}
    (found,) = [one for one in record.findings if not one.held]
    assert (record.name, found.rule, found.examples) == ("prices.csv", rule, ("B 2024-07-01 (line 3)",))


def test_a_symbol_in_another_case_is_told_and_stays_another_series(config, tmp_path):
    for name, content in (("1", bars(DAYS[0])), ("2", bars(DAYS[1]).replace({"symbol": {"A": "a"}}))):
        (tmp_path / f"{name}.csv").write_text(content.to_csv(index=False))
    _, second = bring(config, tmp_path / "1.csv", tmp_path / "2.csv")[0]
    found = {one.rule: one.examples for one in second.findings if not one.held}
    assert found["symbol_case"] == ("a 2024-07-02 (line 2)",)


def test_mixed_time_zones_in_a_column_each_mean_their_own_instant(config, tmp_path):
    frame = pd.concat([bars(DAYS[0]).head(1)] * 3).assign(
        symbol=list("ABC"), timestamp=["2024-07-01T16:00-04:00", "2024-07-01T20:00Z", "2024-07-02T05:00+09:00"]
    )
    (tmp_path / "prices.csv").write_text(frame.to_csv(index=False))
    (record,), _ = bring(config, tmp_path / "prices.csv")
    assert (record.account.accepted, str(record.first), str(record.last)) == (3, DAYS[0], DAYS[0])


@pytest.fixture
def full_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_of_the_writes_loses_nothing_and_the_same_file_is_taken_when_there_is_room(
    folder, full_disk, tmp_path
):
    first, second, _ = sorted(folder.iterdir())
    places = [f"storage.{name}={full_disk}/{name}" for name in ("tables", "deliveries")]
    config = load_settings(assignments=[f"storage.home={tmp_path / 'home'}", PATTERN, *places]).config
    bring(config, first)
    store, before = BarsStore(Locations(config.storage)), days(config)
    free, told = 0, []
    while True:
        leave_free(full_disk, free)
        try:
            (record,), failure = bring(config, second)
            break
        except StoreError as error:
            told.append(str(error))
            assert days(config) == before
            assert not store.as_known(NOW).duplicated(["symbol", "session"]).any()
        free += 4096
    assert len(told) > 3
    assert all("not full" in message and ("No space" in message or "os error 28" in message) for message in told)
    assert len({message.partition(" cannot be ")[0] for message in told}) > 2  # the file, and more than one table
    assert (record.account.accepted, failure) == (2, None)
    assert len(store.as_known(NOW)) == 4


def leave_free(disk: Path, n_bytes: int) -> None:
    """Fill a file system up to so much."""
    stuffing = disk / "stuffing"
    stuffing.unlink(missing_ok=True)
    room = shutil.disk_usage(disk).free - n_bytes
    with contextlib.suppress(OSError):  # pages that directories take
        stuffing.write_bytes(b"\0" * room)


def test_a_stopped_file_is_not_taken_again_once_a_later_one_has_brought_its_session(config, tmp_path):
    place = tmp_path / "prices"
    place.mkdir()
    home = config.storage.home
    strict = load_settings(
        assignments=[f"storage.home={home}", PATTERN, "contract.levels.nonpositive_price=stop"]
    ).config
    preliminary = bars(DAYS[0], close=3.0)
    preliminary.loc[1, "open"] = 0.0
    (place / "a.csv").write_text(preliminary.to_csv(index=False))
    assert isinstance(bring(strict, place)[1], DeliveryStopped)
    (place / "b.csv").write_text(text(DAYS[0], close=5.0))
    bring(strict, place)
    records, failure = bring(config, place)  # now no rule would stop the first one
    assert (records, failure) == ([], None)
    assert BarsStore(Locations(config.storage)).as_known(datetime(2042, 1, 1, tzinfo=UTC))["close"].tolist() == [5, 5]
