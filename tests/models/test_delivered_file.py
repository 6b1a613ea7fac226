"""A delivered file as a table of cells, whatever its dress; every data line is a row or told to be none."""

import gzip
import io
import json
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.delivered_file import DeliveredFile, open_table, receive
from models.errors import DeliveryError

TEXT = "symbol,close\nA,1.5\nB,2\n"
COLUMNS = ["symbol", "close"]


def opened(data: bytes | str):
    return open_table(DeliveredFile("prices", data.encode() if isinstance(data, str) else data))


def rows(data: bytes | str) -> list[tuple[str, str]]:
    cells = opened(data).cells(COLUMNS)
    return list(zip(*(map(str, cells.table.column(name).to_pylist()) for name in COLUMNS), strict=True))


def refusal(act, *args) -> str:
    with pytest.raises(DeliveryError) as refused:
        act(*args)
    return str(refused.value)


def parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


def tar(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("\n", "\r\r\n").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.rstrip().encode(),
        b"\n\n" + TEXT.replace("B", "\nB").encode(),
        b'"symbol","close"\n"A","1.5"\n"B","2"\n',
        gzip.compress(TEXT.encode()),
        tar("drop/prices.csv", TEXT.encode()),
        gzip.compress(tar("drop/prices.csv", TEXT.encode())),
        parquet(pd.DataFrame({"symbol": ["A", "B"], "close": ["1.5", "2"]})),
        parquet(pd.DataFrame({"symbol": ["A", "B"], "close": ["1.5", "2"]}).astype("category")),
    ],
)
def test_the_same_rows_come_out_of_every_dress(data):
    assert rows(data) == [("A", "1.5"), ("B", "2")]


@pytest.mark.parametrize(
    ("cells", "read"),
    [([b"A", b"\xc3\x9c", None], ["A", "Ü", None]), ([b"A", b"\xdc", None], ["A", "Ü", None])],
    ids=["UTF-8", "Latin-1"],
)
def test_bytes_in_a_parquet_file_are_text_as_in_csv(cells, read):
    stream = io.BytesIO()
    pq.write_table(pa.table({"close": ["1", "2", "3"], "symbol": pa.array(cells, pa.binary())}), stream)
    table = opened(stream.getvalue())
    assert table.cells(["symbol", "close"]).table["symbol"].to_pylist() == read
    assert json.loads(table.raw(np.array([2]))[0])["close"] == "2"


def test_the_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "prices.parquet"
    path.write_bytes(gzip.compress(TEXT.encode()))
    assert open_table(receive(str(path))).columns == COLUMNS


def test_the_name_and_the_sha256_are_those_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text(TEXT)
    file = receive((tmp_path / "a.csv").as_uri())
    assert file.name == "a.csv"
    assert file.sha256 == DeliveredFile("other name", TEXT.encode()).sha256


def test_text_that_is_not_utf8_is_read_as_latin_1():
    assert rows("symbol,close\nÄ,1\n".encode("latin-1")) == [("Ä", "1")]


@pytest.mark.parametrize("blank", [b"", b"\n \n", tar("prices.csv", b"")])
def test_a_file_of_nothing_is_no_table(blank):
    assert opened(blank) is None


@pytest.mark.parametrize("header", ["symbol,close\n", "symbol,close"])
def test_a_header_alone_is_a_table_without_rows(header):
    assert not len(opened(header).lines)
    assert rows(header) == []


def test_lines_with_a_wrong_number_of_fields_are_told_by_their_number():
    table = opened("symbol,close\nA,1\n\nB\nC,3\nD,4,5\nE,5\n")
    cells = table.cells(COLUMNS)
    assert table.lines[cells.well_formed].tolist() == [2, 5, 7]
    assert table.lines[~cells.well_formed].tolist() == [4, 6]


def test_malformed_lines_are_found_behind_the_first_block_of_a_large_file():
    half = 500_000
    table = opened("symbol,close\n" + "ABCDEFG,1.5\n" * half + "B\n" + "ABCDEFG,1.5\n" * half + "\nC,1,2\n")
    cells = table.cells(COLUMNS)
    assert table.lines[~cells.well_formed].tolist() == [half + 2, 2 * half + 4]
    assert cells.table.num_rows == 2 * half


def test_a_raw_row_is_json_with_the_names_of_the_header():
    table = opened('symbol,close\n"A ""x""",1.5\nB\n')
    named, whole = (json.loads(row) for row in table.raw(np.array([2, 3])))
    assert named == {"symbol": 'A "x"', "close": "1.5"}
    assert whole == {"line": "B"}


def test_a_raw_row_of_parquet_is_json_even_where_a_number_is_none():
    stream = io.BytesIO()
    pq.write_table(pa.table({"symbol": ["A", "B"], "close": [float("nan"), float("-inf")]}), stream)
    raw = opened(stream.getvalue()).raw(np.array([2, 1]))
    found = [json.loads(row, parse_constant=pytest.fail)["close"] for row in raw]
    assert found == ["-inf", "nan"]


@pytest.mark.parametrize("broken", ['A,1\n"B\nC",2\n', 'A,1\n"B,2\nC,3\n', "A,1\rB,2\n"])
def test_a_row_that_is_no_line_is_refused_as_a_whole(broken):
    assert "one row a line" in refusal(rows, "symbol,close\n" + broken)


def test_a_missing_file_is_told_with_its_path(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none.csv", tmp_path / "file" / "none.csv", tmp_path):
        message = refusal(receive, str(path))
        assert str(path) in message
        assert "Check the path" in message


def test_a_place_that_nothing_can_open_is_told():
    assert "fsspec" in refusal(receive, "no-such-protocol://bucket/prices.csv")


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress(TEXT.encode() * 99)[:30],
        gzip.compress(TEXT.encode())[:12] + b"\xff" * 20,
        tar("other.csv", TEXT.encode()),
        parquet(pd.DataFrame({"symbol": ["A"], "close": [1.0]}))[:200],
    ],
)
def test_a_damaged_file_asks_for_another_delivery(damaged):
    assert "Ask the source to deliver it again" in refusal(rows, damaged)


def test_a_parquet_file_with_damaged_pages_asks_for_another_delivery():
    data = bytearray(parquet(pd.DataFrame({"symbol": [str(k) for k in range(5000)], "close": np.arange(5000.0)})))
    data[4:60] = b"\xff" * 56
    assert "Ask the source to deliver it again" in refusal(rows, bytes(data))


@pytest.mark.parametrize("other", [TEXT.encode("utf-16"), b"PK\x03\x04\0\0\0\0"])
def test_what_is_neither_text_nor_parquet_says_what_to_deliver(other):
    assert "Deliver CSV" in refusal(opened, other)


def test_one_endless_line_is_no_header():
    assert "first line is no header" in refusal(lambda: opened("[" + "1" * 200_000 + "]").columns)


def test_a_quote_that_is_not_closed_keeps_the_raw_rows_after_it_apart():
    table = opened('symbol,close\nA,"1\nB,2\n')
    assert [json.loads(row) for row in table.raw(np.array([2, 3]))] == [
        {"symbol": "A", "close": "1"},
        {"symbol": "B", "close": "2"},
    ]
