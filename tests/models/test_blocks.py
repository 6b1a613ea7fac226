import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.blocks import in_blocks


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 100))
def test_blocks_hold_whole_series_and_every_row_once(lengths, size):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    blocks = in_blocks(lambda rows: (rows.start, rows.stop), offsets, size)
    assert [first for first, _ in blocks] == [0, *(last for _, last in blocks[:-1])]
    assert blocks[-1][1] == offsets[-1]
    assert {last for _, last in blocks} <= set(offsets.tolist())
    assert all(last - first >= size for first, last in blocks[:-1])


def test_nothing_is_one_empty_block():
    assert in_blocks(lambda rows: rows, np.array([0]), 10) == [slice(0, 0)]
