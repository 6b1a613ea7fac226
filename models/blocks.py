"""Work on whole series a block at a time: what lies between bars and result then stays in the processor's cache."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

_MOST_THREADS: Final = 8
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Both are parameters of glibc's mallopt(3)."""


def in_blocks(work: Callable[[slice], T], offsets: npt.NDArray[np.int64], size: int) -> list[T]:
    """The answers of `work` for all rows, in order; several blocks at a time, so `work` must not depend on another's.

    Args:
        work: Asked once for each block of rows, from several threads.
        offsets: (n + 1,) first row of each series, and the number of rows.
        size: Rows of a block at least; it ends with a series.
    """
    _keep_freed_memory()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as threads:
        return list(threads.map(work, _blocks(offsets, size)))


def _blocks(offsets: npt.NDArray[np.int64], size: int) -> list[slice]:
    cuts = [0]
    for boundary in offsets[1:].tolist():
        if boundary - cuts[-1] >= size:
            cuts.append(boundary)
    if cuts[-1] != offsets[-1] or not offsets[-1]:
        cuts.append(int(offsets[-1]))
    return [slice(*part) for part in pairwise(cuts)]


@cache
def _keep_freed_memory() -> None:
    """For this process, let glibc use again what arrays of a block have freed.

    By default it gives them back to the kernel one by one, and the next block pays for every page of them anew: of the
    first summaries of 1.5 million bars that was half the time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 128 << 20)
