"""One append-only Delta table: created when first written, each write atomic and, where it has a name, done once."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

from models.errors import StoreError
from models.records import Record

if TYPE_CHECKING:
    from deltalake import DeltaTable, WriterProperties

ROW_GROUP: Final = 65_536
_BLOCKS: Final = {"batch_size": ROW_GROUP, "batch_readahead": 4, "fragment_readahead": 2}
"""Arrow would read ahead for gigabytes."""


class Tidied(Record):
    """What tidying did to one table. Its rows and the names of its writes are what they were."""

    files_before: int
    files_after: int
    """Data files that a reader opens."""
    removed: int
    """Files deleted: no version of the last seven days refers to them."""


@dataclass(frozen=True)
class Table:
    """A table at a path or URI. A column that an older table does not have is read as missing, and added when it is
    next written."""

    uri: str
    schema: pa.Schema

    def read(self, columns: list[str] | None = None, where: ds.Expression | None = None) -> pa.Table:
        """Rows that satisfy `where`, with column and file push-down; none where the table does not exist yet.

        Raises:
            StoreError: it is damaged or cannot be reached.
        """
        with self._explained("read"):
            table = self.open()
            if table is None:
                fields = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
                return fields.empty_table()
            dataset = table.to_pyarrow_dataset(schema=self.schema, filesystem=self._files())
            rows: pa.Table = dataset.to_table(columns=columns, filter=where)
            return rows

    def blocks(self, where: ds.Expression | None = None) -> Callable[[list[str]], Iterator[pa.RecordBatch]]:
        """Of the rows that satisfy `where`, some columns, a block at a time; asked again, the same rows in their order.

        Raises:
            StoreError: it is damaged or cannot be reached.
        """
        with self._explained("read"):
            table = self.open()
            dataset = table and table.to_pyarrow_dataset(schema=self.schema, filesystem=self._files())

        def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
            with self._explained("read"):
                if dataset is not None:
                    yield from dataset.to_batches(columns=columns, filter=where, **_BLOCKS)

        return read

    def distinct(self, column: str, where: ds.Expression | None = None) -> pa.Array:
        """Values of a column, each once, ascending; read in blocks, so that a large table takes no more memory.

        Raises:
            StoreError: it is damaged or cannot be reached.
        """
        found = pa.array([], self.schema.field(column).type)
        for block in self.blocks(where)([column]):
            found = pc.unique(pa.concat_arrays([found, pc.unique(block[column])]))
        return found.sort()

    def append(self, rows: pa.Table, once: str | None = None) -> bool:
        """Append in one commit. Under a name of `once` that was written before nothing happens and False is returned.

        Raises:
            StoreError: the place is read-only, full or damaged. Nothing was written.
        """
        from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        with self._explained("written"):
            table = self.open() or DeltaTable.create(self.uri, self.schema, mode="ignore")
            grown = {field.name for field in table.schema().fields} != set(self.schema.names)
            how: dict[str, Any] = {
                "mode": "append",
                "schema_mode": "merge" if grown else None,
                "writer_properties": _writing(),
            }
            if once is None:
                write_deltalake(table, rows.cast(self.schema), **how)
                return True
            if table.transaction_version(once) is not None:
                return False
            named = CommitProperties(app_transactions=[Transaction(once, 1)])
            try:
                write_deltalake(table, rows.cast(self.schema), commit_properties=named, **how)
            except CommitFailedError:
                if self.wrote(once):  # by another process, between the question and the commit
                    return False
                raise
            return True

    def wrote(self, once: str) -> bool:
        """Whether the write of this name is in the table."""
        with self._explained("read"):
            table = self.open()
            return table is not None and table.transaction_version(once) is not None

    def tidy(self) -> Tidied | None:
        """Put small files together, write a checkpoint, and delete what nothing refers to. None where no table is.

        Readers and writers may be at work meanwhile: for them the rows are the same before and after. Deleted is only
        what has been unreferenced for longer than Delta's retention of seven days.

        Raises:
            StoreError: it is damaged or cannot be written.
        """
        with self._explained("tidied"):
            table = self.open()
            if table is None:
                return None
            before = len(table.file_uris())
            table.optimize.compact(writer_properties=_writing())
            table.update_incremental()
            unreferenced = table.vacuum(dry_run=True, full=True)
            if unreferenced:  # each deletion is a commit of its own, and most weeks need none
                table.vacuum(dry_run=False, full=True)
            table.create_checkpoint()
            return Tidied(files_before=before, files_after=len(table.file_uris()), removed=len(unreferenced))

    def open(self) -> "DeltaTable | None":
        """The table as Delta sees it; None where it does not exist yet. Errors are Delta's own."""
        from deltalake import DeltaTable

        if not DeltaTable.is_deltatable(self.uri):
            return None
        self._refuse_empty_commits()
        return DeltaTable(self.uri)

    def _files(self) -> fs.FileSystem:
        """Arrow's own file system: delta-rs would lend one that calls Python from Arrow's threads, even at exit."""
        filesystem, path = fs.FileSystem.from_uri(self.uri)
        return fs.SubTreeFileSystem(path, filesystem)

    def _refuse_empty_commits(self) -> None:
        """delta-rs takes a commit of no bytes, as a power cut can leave it, for one that wrote nothing."""
        for file in self._files().get_file_info(fs.FileSelector("_delta_log")):
            if file.size == 0 and file.extension == "json":
                raise OSError(f"the commit {file.path} is empty")

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        from deltalake.exceptions import DeltaError

        try:
            yield
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(
                f"The table {self.uri} cannot be {done}: {_in_one_line(error)}. It is as it was, and the champion is "
                f"untouched. "
                f"Check that the place is there, writable and not full; if a file of the table is damaged or lost, "
                f"put it back from a backup or ingest the kept files under deliveries/ into a new store."
            ) from error


def _writing() -> "WriterProperties":
    """Small groups of rows, so that whoever asks for a few sessions can pass over the others."""
    from deltalake import WriterProperties

    return WriterProperties(max_row_group_size=ROW_GROUP, compression="ZSTD")


def _in_one_line(error: Exception) -> str:
    """delta-rs draws its causes as a coloured tree."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m|↳", "", str(error)).splitlines()]
    return ": ".join(line.rstrip(".:") for line in lines if line) or type(error).__name__
