"""Reading what was known last, in blocks: the same as sorting all rows at once, whatever the blocks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from models.facts import VALUES
from models.last_known import Blocks, last_known
from models.panel import BAR_COLUMNS

MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.date32()),
        ("timestamp", MOMENT),
        ("known_at", MOMENT),
        ("sequence", pa.int64()),
        *((name, pa.float64()) for name in VALUES),
    ]
)
SESSIONS = [date(1969, 12, 30), date(1969, 12, 31), date(1970, 1, 1), date(2024, 7, 1)]

rows_of_bars = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["B", "A", "Ä", "AA"]),
            "session": st.sampled_from(SESSIONS),
            "known_at": st.integers(-3, 3).map(lambda hour: datetime(1970, 1, 1, 3 + hour, tzinfo=UTC)),
            **dict.fromkeys(BAR_COLUMNS, st.integers(1, 9).map(float)),
            "split_ratio": st.sampled_from([None, None, 2.0]),
            "dividend": st.none(),
            "coverage": st.sampled_from([None, 1.0, 1.0, 0.5]),
        }
    ),
    max_size=30,
)


def table_of(rows: list[dict[str, object]]) -> pa.Table:
    said = [
        {"timestamp": datetime(2000, 1, 1, tzinfo=UTC), **row, "sequence": number} for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(said, schema=SCHEMA)


def in_blocks(table: pa.Table, size: int) -> Blocks:
    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from table.select(columns).to_batches(max_chunksize=size)

    return read


def all_at_once(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = table_of(rows).to_pandas()
    frame = frame.sort_values(["symbol", "session", "known_at", "sequence"])
    frame = frame.drop_duplicates(["symbol", "session"], keep="last", ignore_index=True)
    said = [name for name in VALUES[len(BAR_COLUMNS) : -1] if frame[name].notna().any()]
    frame["coverage"] = frame["coverage"].astype(float).fillna(1.0)
    partly = ["coverage"] if (frame["coverage"] != 1.0).any() else []
    frame["session"] = frame["session"].astype("datetime64[s]")
    return frame[["symbol", "session", "timestamp", *BAR_COLUMNS, *said, *partly]]


@given(rows=rows_of_bars, size=st.integers(1, 12))
def test_in_blocks_it_is_the_same_as_all_at_once(rows, size):
    found = last_known(in_blocks(table_of(rows), size))
    if rows:
        pd.testing.assert_frame_equal(found, all_at_once(rows))
    else:
        assert found.columns.tolist() == ["symbol", "session", "timestamp", *BAR_COLUMNS]
        assert found.empty


def test_blocks_are_let_go():
    said = [{"symbol": "A", "session": day, "known_at": datetime.now(UTC), "close": 1.0} for day in SESSIONS] * 500
    block = table_of(said).to_batches()[0]
    before, most = pa.total_allocated_bytes(), 0

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        nonlocal most
        for _ in range(20):
            yield block.select(columns).take(pa.array(range(len(block))))
            most = max(most, pa.total_allocated_bytes() - before)

    assert len(last_known(read)) == len(SESSIONS)
    assert 0 < most < 4 * block.nbytes
