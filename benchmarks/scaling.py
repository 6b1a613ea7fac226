"""How do time and memory of a night's training grow with its bars?

Run: `python -m benchmarks.scaling`, or `python -m benchmarks.scaling --bars 20_000_000` for one size alone. Each size
is made and measured in processes of its own, so that no peak of memory hides another.
"""

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measuring import GIB, Result, Row, Sample, answer, in_own_process, main, peak_memory, table
from models.config import RetrainConfig

SESSIONS: Final = 2000
SIZES: Final = {100_000: 3, 1_000_000: 3, 10_000_000: 1}
"""Bars, and how often each is measured."""
REACH: Final = 1.3
BASE_MEMORY: Final = 1.5 * GIB
"""Python, TensorFlow and the graph."""
COPIES: Final = 3
LARGE: Final = 20_000_000
LARGE_MEMORY: Final = 12 * GIB
CONFIG: Final = RetrainConfig()


class Night(NamedTuple):
    """One size, measured once."""

    bars: int
    train: int
    """Training rows."""
    preparation: float
    """Seconds from bars to summaries, targets, rows and scales."""
    epoch: float
    """Seconds of an epoch, its validation included, not the first."""
    fit: float
    """Seconds of a fit of two epochs, from the material to the fitted trunk."""
    peak: int
    before_fit: int
    """Peaks of memory in bytes: of all, and until the fit began."""
    bytes_of_bars: int
    bytes_of_summaries: int

    @property
    def allowed(self) -> float:
        """Bytes that the peak may reach."""
        return BASE_MEMORY + COPIES * (self.bytes_of_bars + self.bytes_of_summaries)


def measure(sizes: dict[int, int] = SIZES) -> Result:
    """Seconds per million bars and peaks of memory of each size."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        files = {size: Path(directory, f"{size}.parquet") for size in sizes}
        for size, file in files.items():
            in_own_process("benchmarks.scaling", "--make", str(size), str(file))
        order = [size for turn in range(max(sizes.values())) for size in sizes if turn < sizes[size]]
        measured = [Night(**in_own_process("benchmarks.scaling", "--measure", str(files[size]))) for size in order]
    nights = {size: [night for night in measured if night.bars == size] for size in sizes}
    return Result(
        name="scaling",
        question="Does a night cost more per bar when it has more of them?",
        baseline="the next smaller size, per million bars; for memory, what may be used: "
        f"{BASE_MEMORY / GIB:g} GiB and {COPIES} × the bytes of the bars and their summaries",
        sizes=f"{', '.join(f'{size:,}' for size in sizes)} synthetic bars over {SESSIONS} sessions, measured "
        f"{', '.join(map(str, sizes.values()))} times in turns, each in a process of its own; members = "
        f"{CONFIG.training.members}, batches of {CONFIG.training.batch_size}",
        rows=(*_times(nights), *_memory(nights)),
        notes=tuple(_told(seen) for seen in nights.values()),
    )


def make(size: int, file: Path) -> None:
    """Write that many synthetic bars."""
    from tests.synthetic_market import market

    market(size // SESSIONS, SESSIONS).to_parquet(file, index=False)


def night(file: Path) -> Night:
    """A night's training from its bars, as the task does it: everything stays in memory until the fit ends."""
    import pandas as pd

    from benchmarks.fitting import dataset_of, material_of, timed_fit

    bars = pd.read_parquet(file)
    started = time.perf_counter()
    dataset = dataset_of(bars, CONFIG)
    material = material_of(dataset)
    preparation, before_fit = time.perf_counter() - started, peak_memory()
    _, clock = timed_fit(material, CONFIG, 2)
    return Night(
        bars=len(bars),
        train=len(material.train),
        preparation=preparation,
        epoch=clock.epoch,
        fit=time.perf_counter() - started - preparation,
        peak=peak_memory(),
        before_fit=before_fit,
        bytes_of_bars=int(bars.memory_usage(deep=True).sum()),
        bytes_of_summaries=material.summaries.nbytes,
    )


def _times(nights: dict[int, list[Night]]) -> list[Row]:
    rows = []
    for part in ("preparation", "epoch"):
        costs = {
            size: Sample(values=tuple(getattr(one, part) / size * 1e6 for one in seen)) for size, seen in nights.items()
        }
        rows += [
            Row(
                case=f"{part}, {larger:,} bars against {smaller:,}",
                unit="s per million bars",
                baseline=costs[smaller],
                ours=costs[larger],
                ratio=costs[larger].over(costs[smaller]),
                at_most=REACH,
            )
            for smaller, larger in pairwise(nights)
        ]
    return rows


def _memory(nights: dict[int, list[Night]]) -> list[Row]:
    rows = []
    for size, seen in nights.items():
        limits = {"what may be used": seen[0].allowed}
        if size == LARGE:
            limits[f"{LARGE_MEMORY / GIB:g} GiB"] = LARGE_MEMORY
        peak = Sample(values=tuple(one.peak / GIB for one in seen))
        for name, limit in limits.items():
            allowed = Sample(values=(limit / GIB,))
            ratio = Sample(values=(peak.median / allowed.median,))
            case = f"peak memory of {size:,} bars, against {name}"
            rows.append(Row(case=case, unit="GiB", baseline=allowed, ours=peak, ratio=ratio, at_most=1.0))
    return rows


def _told(seen: list[Night]) -> str:
    one = seen[0]
    return (
        f"{one.bars:,} bars: {one.train:,} training rows; preparation {one.preparation:.2f} s, an epoch "
        f"{one.epoch:.2f} s, a fit of two epochs {one.fit:.1f} s; bars {one.bytes_of_bars / GIB:.2f} GiB, summaries "
        f"{one.bytes_of_summaries / GIB:.2f} GiB, peak until the fit {one.before_fit / GIB:.2f} GiB, of all "
        f"{one.peak / GIB:.2f} GiB."
    )


def _command_line() -> None:
    arguments = argparse.ArgumentParser(add_help=False)
    arguments.add_argument("--bars", type=int)
    arguments.add_argument("--make", nargs=2)
    arguments.add_argument("--measure", type=Path)
    asked, _ = arguments.parse_known_args()
    if asked.make:
        make(int(asked.make[0]), Path(asked.make[1]))
        print("{}")
    elif asked.measure:
        print(json.dumps(night(asked.measure)._asdict()))
    elif asked.bars:
        print(table(answer(lambda: measure({asked.bars: 1}), "scaling")))
    else:
        main(measure, "scaling")


if __name__ == "__main__":
    _command_line()
