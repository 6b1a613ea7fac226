"""Append-only tables: what was written is read back, a named write happens once, and damage is always told."""

import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from models.errors import StoreError
from models.tables import Table

SCHEMA = pa.schema([("name", pa.string()), ("value", pa.float64())])


def rows(*values: float) -> pa.Table:
    return pa.table({"name": [f"n{value:g}" for value in values], "value": list(values)}, schema=SCHEMA)


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(str(tmp_path / "numbers"), SCHEMA)


def values(table: Table) -> list[float]:
    return sorted(table.read(["value"])["value"].to_pylist())


def commits(table: Table) -> list[Path]:
    return sorted(Path(table.uri, "_delta_log").glob("*.json"))


def told(act, *args) -> str:
    with pytest.raises(StoreError) as error:
        act(*args)
    return str(error.value)


def explains(message: str, table: Table) -> bool:
    """What, where, why (in the test's own assert), and how to mend it."""
    return table.uri in message and "champion is untouched" in message and "put it back from a backup" in message


@contextmanager
def no_room():
    """Files of this process cannot grow: every write fails as on a full disk, for root as well."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_distinct_values_come_from_all_writes_once_and_in_order(table):
    assert table.distinct("value").to_pylist() == []
    table.append(rows(3.0, 1.0))
    table.append(rows(2.0, 1.0))
    assert table.distinct("value").to_pylist() == [1, 2, 3]
    assert table.distinct("value", ds.field("name") != "n1").to_pylist() == [2, 3]


def test_a_table_of_before_a_column_was_thought_of_is_read_with_it_missing_and_written_with_it(table):
    table.append(rows(1.0, 2.0), once="old")
    wider = Table(table.uri, SCHEMA.append(pa.field("share", pa.float64())))
    assert wider.read()["share"].null_count == 2
    assert wider.read(["name"], ds.field("share").is_null()).num_rows == 2
    new = pa.table({"name": ["n3"], "value": [3.0], "share": [0.5]}, schema=wider.schema)
    assert wider.append(new, once="new")
    assert not wider.append(new, once="new")
    assert sorted(wider.read()["share"].to_pylist(), key=str) == [0.5, None, None]
    assert values(table) == [1.0, 2.0, 3.0]  # and the old way of reading still works


def test_a_table_that_was_never_written_is_empty(table):
    assert table.read().schema == SCHEMA
    assert table.read(["value"]).num_rows == 0
    assert not table.wrote("first")


def test_rows_are_read_back_by_column_and_condition(table):
    table.append(rows(1, 2))
    table.append(rows(3))
    found = table.read(["name"], ds.field("value") >= 2)
    assert sorted(found["name"].to_pylist()) == ["n2", "n3"]


def test_a_named_write_happens_once(table):
    assert table.append(rows(1), once="first")
    version = DeltaTable(table.uri).version()
    assert not table.append(rows(1), once="first")
    assert DeltaTable(table.uri).version() == version
    assert values(table) == [1]


def test_the_names_of_writes_outlive_a_checkpoint_and_compaction(table):
    table.append(rows(1), once="first")
    table.append(rows(2), once="second")
    delta = DeltaTable(table.uri)
    delta.optimize.compact()
    delta.create_checkpoint()
    assert table.wrote("first")
    assert not table.append(rows(1), once="first")
    assert values(table) == [1, 2]


def test_a_path_may_hold_spaces_and_signs(tmp_path):
    table = Table(str(tmp_path / "my store #1 100% ä"), SCHEMA)
    table.append(rows(1))
    assert values(table) == [1]


def test_a_cut_commit_is_told(table):
    table.append(rows(1))
    commits(table)[-1].write_text(commits(table)[-1].read_text()[:40])
    message = told(table.read)
    assert explains(message, table)
    assert "Json error" in message


def test_an_emptied_commit_is_told_and_not_taken_for_one_that_wrote_nothing(table):
    table.append(rows(1))
    commits(table)[-1].write_text("")
    message = told(table.read)
    assert explains(message, table)
    assert commits(table)[-1].name in message
    assert told(table.append, rows(2))


def test_a_lost_first_commit_is_told(table):
    table.append(rows(1))
    commits(table)[0].unlink()
    assert explains(told(table.append, rows(2)), table)


def test_a_lost_data_file_is_told_by_name(table):
    table.append(rows(1))
    (data,) = Path(table.uri).glob("*.parquet")
    data.unlink()
    message = told(table.read)
    assert explains(message, table)
    assert data.name in message


def test_a_damaged_data_file_is_told_by_name(table):
    table.append(rows(1))
    (data,) = Path(table.uri).glob("*.parquet")
    data.write_bytes(b"PAR1 no longer")
    assert data.name in told(table.read)


def test_a_file_where_the_table_should_be_is_told(table):
    Path(table.uri).write_text("in the way")
    message = told(table.append, rows(1))
    assert explains(message, table)
    assert "Not a directory" in message


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    table = Table(str(tmp_path / "file" / "numbers"), SCHEMA)
    assert explains(told(table.append, rows(1)), table)


def test_a_full_place_is_told_and_leaves_the_table_as_it_was(table):
    table.append(rows(1), once="first")
    with no_room():
        message = told(table.append, rows(2), "second")
    assert explains(message, table)
    assert "File too large" in message
    assert values(table) == [1]
    assert table.append(rows(2), once="second")


def test_a_named_write_of_two_writers_at_once_happens_once(table):
    table.append(rows(0))
    with ThreadPoolExecutor(8) as writers:
        done = list(writers.map(lambda _: table.append(rows(1), once="first"), range(8)))
    assert sum(done) == 1
    assert values(table) == [0, 1]
