"""Of each symbol and session the row that was known last, read in blocks: what a night reads may fill half a memory.

The rows are read twice. The first time their keys, to see which of them count and where each belongs; the second time
their values, which go from each block to their places. Beside the result there are never more than a few integers for
each row, and a few blocks.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from models.facts import VALUES
from models.panel import BAR_COLUMNS

Blocks = Callable[[list[str]], Iterator[pa.RecordBatch]]
"""Some columns of the same rows, in the same order each time."""

_Ints = npt.NDArray[np.int64]
_DAY_ZERO: Final = 1 << 31
"""Lifts a session above zero, so that one before 1970 does not borrow from the symbol's half of a key."""
_SECONDS: Final = 86_400


def last_known(blocks: Blocks) -> pd.DataFrame:
    """Canonical bars, sorted by symbol and session, one row each; of equal times known the one stored later.

    Args:
        blocks: Rows of the table of bars, among them several of the same symbol and session.

    Returns:
        `symbol, session, timestamp`, prices, volume, the optional columns in which anything is said, and `coverage`
        where it is not 1 throughout.
    """
    symbols, key = _keys(blocks)
    order = _last_of_each(key, blocks)
    place = np.full(len(key), -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    key = key[order]
    del order
    columns: dict[str, Any] = {
        "symbol": pa.DictionaryArray.from_arrays((key >> 32).astype(np.int32), symbols).dictionary_decode().to_pandas(),
        "session": (((key & 0xFFFF_FFFF) - _DAY_ZERO) * _SECONDS).view("datetime64[s]"),
    }
    del key
    return pd.DataFrame(columns | _values(blocks, place, len(columns["symbol"])), copy=False)


def _keys(blocks: Blocks) -> tuple[pa.Array, _Ints]:
    """The symbols in their order, and of each row its symbol's place in them (upper half) and its session."""
    codes: dict[str, int] = {}
    parts: list[_Ints] = []
    for block in blocks(["symbol", "session"]):
        names = block["symbol"].dictionary_encode()
        code = np.array([codes.setdefault(name, len(codes)) for name in names.dictionary.to_pylist()], np.int64)
        days = block["session"].cast(pa.int32()).to_numpy().astype(np.int64)
        parts.append((code[names.indices.to_numpy()] << 32) + (days + _DAY_ZERO))
    ranks = np.empty(len(codes), np.int64)
    ranks[[codes[name] for name in sorted(codes)]] = np.arange(len(codes))
    for part in parts:
        np.add(part, (ranks[part >> 32] - (part >> 32)) << 32, out=part)
    return pa.array(sorted(codes), pa.large_string()), np.concatenate([*parts, np.empty(0, np.int64)])


def _last_of_each(key: _Ints, blocks: Blocks) -> _Ints:
    """Positions of the rows that count, in the order of their keys."""
    order = np.arange(len(key)) if (key[1:] >= key[:-1]).all() else np.argsort(key)
    ordered = key[order]
    again = ordered[1:] == ordered[:-1]
    if again.any():
        several = np.append(again, False) | np.append(False, again)
        order[several] = _by_time(order[several], ordered[several], len(key), blocks)
    return order[np.append(~again, True)] if len(key) else order


def _by_time(rows: _Ints, key: _Ints, n_rows: int, blocks: Blocks) -> _Ints:
    """These rows sorted by key, then by when they were known, then as they were stored."""
    wanted = np.zeros(n_rows, bool)
    wanted[rows] = True
    begin, parts = 0, []
    for block in blocks(["known_at", "sequence"]):
        some = wanted[begin : begin + len(block)]
        begin += len(block)
        parts.append([block[name].cast(pa.int64()).to_numpy()[some] for name in ("sequence", "known_at")])
    sequence, known_at = (np.concatenate(column) for column in zip(*parts, strict=True))
    nth = np.cumsum(wanted)[rows] - 1
    sorted_rows: _Ints = rows[np.lexsort((sequence[nth], known_at[nth], key))]
    return sorted_rows


def _values(blocks: Blocks, place: npt.NDArray[np.int32], n_rows: int) -> dict[str, Any]:
    """The other columns, each value put where its row belongs; rows whose place is below zero are left out."""
    moments = np.empty(n_rows, np.int64)
    found = {name: np.empty(n_rows) for name in BAR_COLUMNS}
    begin = 0
    for block in blocks(["timestamp", *VALUES]):
        at = place[begin : begin + len(block)]
        begin += len(block)
        counts = at >= 0
        at = at[counts]
        moments[at] = block["timestamp"].cast(pa.int64()).to_numpy()[counts]
        for name in VALUES:
            unsaid = 1.0 if name == "coverage" else np.nan
            values = block[name].fill_null(unsaid).to_numpy()[counts]
            if name not in found and not np.array_equal(values, np.full(len(values), unsaid), equal_nan=True):
                found[name] = np.full(n_rows, unsaid)
            if name in found:
                found[name][at] = values
    timestamp = pd.Series(moments.view("datetime64[us]"), copy=False).dt.tz_localize("UTC")
    return {"timestamp": timestamp, **{name: found[name] for name in VALUES if name in found}}
