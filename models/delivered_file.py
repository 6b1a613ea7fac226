"""A delivered file as a table of cells, whatever its dress: CSV, gzipped, in an archive, or Parquet."""

import csv
import gzip
import hashlib
import io
import json
import math
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.casting import Mask
from models.errors import DeliveryError
from models.locations import open_at, reaching

Lines = npt.NDArray[np.int64]

_DELIMITERS = ",;\t|"
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class DeliveredFile:
    """The bytes as they came."""

    name: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """The delivery's name in the store."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Cells:
    """The wanted columns of a file, still as delivered."""

    table: pa.Table
    well_formed: Mask
    """(n_lines,) whether the line has the right number of fields; only then it is a row of the table."""


@dataclass(frozen=True)
class Csv:
    """Comma separated text, already decompressed."""

    text: bytes
    name: str

    @cached_property
    def spans(self) -> Lines:
        """(n, 3) line number, start and end in bytes of every line that is not blank, the header first."""
        ends = np.flatnonzero(np.frombuffer(self.text, np.uint8) == ord("\n"))
        if not self.text.endswith(b"\n"):
            ends = np.append(ends, len(self.text))
        starts = np.concatenate(([0], ends[:-1] + 1))
        length = ends - starts
        first = np.frombuffer(self.text + b"\n", np.uint8)[starts]
        written = (length > 1) | ((length == 1) & (first != ord("\r")))
        spans: Lines = np.column_stack((np.arange(1, len(starts) + 1), starts, ends))[written]
        return spans

    @property
    def lines(self) -> Lines:
        return self.spans[1:, 0]

    @cached_property
    def delimiter(self) -> str:
        header = self._line(0)
        return max(_DELIMITERS, key=header.count)

    @cached_property
    def columns(self) -> list[str]:
        try:
            return next(csv.reader([self._line(0).lstrip("\ufeff")], delimiter=self.delimiter))
        except csv.Error as error:
            raise DeliveryError(
                f"Cannot read {self.name}: its first line is no header ({error}): {self._line(0)[:60]!r}… "
                f"Deliver CSV with the names of the columns in its first line, or Parquet."
            ) from error

    def cells(self, columns: list[str]) -> Cells:
        """The named columns as text; rows with a wrong number of fields are left out and told by their index."""
        from pyarrow import csv as arrow_csv

        if not len(self.lines):
            return Cells(pa.table({name: pa.array([], pa.string()) for name in columns}), np.zeros(0, np.bool_))
        malformed: list[int] = []

        def skip(row: Any) -> str:
            malformed.append(row.number - 2)  # counted from 1, and the header is 1
            return "skip"

        with _damage_told(self.name):
            table = arrow_csv.read_csv(
                io.BytesIO(self.text),
                # row numbers are told to the handler only without threads
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, encoding=self._encoding),
                parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=skip),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()), include_columns=columns
                ),
            )
        if table.num_rows + len(malformed) != len(self.lines):
            raise DeliveryError(
                f"Cannot read {self.name}: {len(self.lines)} lines but {table.num_rows + len(malformed)} rows, so some "
                f"quoted field runs over a line break, or a carriage return stands inside a line. "
                f"Ask the source for one row a line."
            )
        readable = np.ones(len(self.lines), np.bool_)
        readable[malformed] = False
        return Cells(table, readable)

    def raw(self, lines: Lines) -> list[str]:
        spans = self.spans[np.searchsorted(self.spans[:, 0], lines)].tolist()
        texts = [self._decoded(start, end) for _, start, end in spans]
        rows = self._fields(texts)  # at once: a delivery may be bad by the 100,000
        if len(rows) != len(texts):  # a quote that is not closed has swallowed lines
            rows = [(self._fields([text]) or [[]])[0] for text in texts]
        return [self._as_json(text, fields) for text, fields in zip(texts, rows, strict=True)]

    def only(self, lines: Lines, numbered: str) -> bytes:
        """A file of the header and these lines, byte for byte, with their numbers in a last column of this name."""
        rows = np.searchsorted(self.spans[:, 0], lines)
        spans, last = [self.spans[0], *self.spans[rows]], [numbered, *map(str, lines.tolist())]
        texts = [self.text[start:end].rstrip(b"\r") for _, start, end in spans]
        ends = [f"{self.delimiter}{cell}\n".encode() for cell in last]
        return b"".join(text + end for text, end in zip(texts, ends, strict=True))

    def _fields(self, lines: list[str]) -> list[list[str]]:
        try:
            return list(csv.reader(lines, delimiter=self.delimiter))
        except csv.Error:
            return []

    def _as_json(self, line: str, fields: list[str]) -> str:
        fits = len(fields) == len(self.columns) == len(set(self.columns))
        return json.dumps(dict(zip(self.columns, fields, strict=True)) if fits else {"line": line}, ensure_ascii=False)

    def _line(self, position: int) -> str:
        _, start, end = self.spans[position].tolist()
        return self._decoded(start, end)

    def _decoded(self, start: int, end: int) -> str:
        return self.text[start:end].decode(self._encoding, "replace").rstrip("\r")

    @cached_property
    def _encoding(self) -> str:
        try:
            self.text.decode()
        except UnicodeDecodeError:
            return "latin-1"
        return "utf-8"


@dataclass(frozen=True)
class Parquet:
    """A Parquet file in memory."""

    data: bytes
    name: str

    @cached_property
    def _file(self) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(io.BytesIO(self.data))

    @property
    def lines(self) -> Lines:
        return np.arange(1, self._file.metadata.num_rows + 1)

    @property
    def columns(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    def cells(self, columns: list[str]) -> Cells:
        with _damage_told(self.name):
            table = self._file.read(columns=columns)
        readable = pa.table([_readable(column) for column in table.columns], table.column_names)
        return Cells(readable, np.ones(table.num_rows, np.bool_))

    def raw(self, lines: Lines) -> list[str]:
        rows = self._file.read().take(pa.array(lines - 1)).to_pylist()
        return [json.dumps({name: _for_json(value) for name, value in row.items()}, default=str) for row in rows]

    def only(self, lines: Lines, numbered: str) -> bytes:
        """A file of these rows, with their numbers in a last column of this name."""
        from pyarrow import parquet

        stream = io.BytesIO()
        rows = self._file.read().take(pa.array(lines - 1)).append_column(numbered, pa.array(lines))
        parquet.write_table(rows, stream)
        return stream.getvalue()


def part_of(file: DeliveredFile, lines: Lines) -> DeliveredFile:
    """Some lines of a delivered file as a file of their own, to be read in the same way.

    A last column says which lines they are and of which file: so the part is never the same bytes as the whole, or as
    equal lines of another file.

    Args:
        file: A file with a table in it.
        lines: (n,) line numbers as `raw` takes them, ascending.
    """
    table = open_table(file)
    if table is None:
        raise ValueError(f"{file.name} holds no line")
    return DeliveredFile(f"{len(lines)} of {file.name}", table.only(lines, f"line of {file.sha256[:12]}"))


def receive(uri: str) -> DeliveredFile:
    """Fetch the bytes of a delivered file from a path or fsspec URI.

    Raises:
        DeliveryError: there is no such file, or it may not be read.
    """
    try:
        with reaching(uri), open_at(uri) as stream:
            return DeliveredFile(re.split(r"[/\\]", uri.rstrip("/"))[-1], stream.read())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DeliveryError(
            f"Cannot receive {uri}: there is no such file ({type(error).__name__}). "
            f"Check the path, or whether the source has delivered yet."
        ) from error
    except PermissionError as error:
        raise DeliveryError(f"Cannot receive {uri}: {error}. Let the user who runs this read the file.") from error
    except (ValueError, ImportError) as error:
        raise DeliveryError(
            f"Cannot receive {uri}: {error}. Give a local path or a URI that fsspec can open."
        ) from error


def open_table(file: DeliveredFile) -> Csv | Parquet | None:
    """The table in the file; None where it holds not even a header."""
    with _damage_told(file.name):
        data = _unpacked(file.data)
        if data.startswith(b"PAR1"):
            parquet = Parquet(data, file.name)
            return parquet if parquet.columns else None
    if b"\0" in data[:4096]:
        raise DeliveryError(
            f"Cannot read {file.name}: it is neither text nor Parquet (first bytes {data[:8]!r}). "
            f"Deliver CSV, gzipped CSV, a tar archive with prices.csv, or Parquet."
        )
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return Csv(data, file.name) if data.strip() else None


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError, pa.ArrowException, KeyError) as error:
        raise DeliveryError(
            f"Cannot read {name}: it is damaged, or an archive without prices.csv ({error}). "
            f"Ask the source to deliver it again."
        ) from error


def _unpacked(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if data[257:262] != b"ustar":
        return data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = next(name for name in [*archive.getnames(), "prices.csv"] if name.split("/")[-1] == "prices.csv")
        content = archive.extractfile(member)
        return content.read() if content else b""


def _for_json(value: Any) -> Any:
    """NaN and infinities as text: JSON has no such numbers."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries as their values, and bytes as text in the encodings that CSV has: UTF-8, or else Latin-1."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if cell is None else cell.decode("latin-1") for cell in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
