"""What every benchmark shares: timing, the machine in words, and a result that is shown and recorded as one table."""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ConfigDict

from models.gate.inputs import processor
from models.records import Record

ROOT: Final = Path(__file__).parents[1]
GIB: Final = 2**30
DATA: Final = Path(os.environ.get("BENCHMARK_DATA", ROOT.parent / "shared" / "data"))
"""Real panels, which belong to vendors and lie beside the clone, never in it."""
LIBRARIES: Final = ("tensorflow", "keras", "numpy", "pandas")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Sample(Record):
    """What one quantity came to, each time it was measured."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a time that never comes is infinite

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        spread = f" ({_short(low)} to {_short(high)})" if len(self.values) > 1 else ""
        return f"{_short(self.median)}{spread}"

    def plus(self, more: float) -> "Sample":
        """Each of these, and something that was measured apart."""
        return Sample(values=tuple(value + more for value in self.values))

    def per(self, amount: float) -> "Sample":
        """The amount handled in each of these times, per unit of time."""
        return Sample(values=tuple(amount / value for value in self.values))

    def over(self, other: "Sample") -> "Sample":
        """Quotients of what was measured in the same round; of the medians where the rounds do not match."""
        pairs = zip(self.values, other.values, strict=False)
        if len(self.values) != len(other.values):
            pairs = zip([self.median], [other.median], strict=True)
        return Sample(values=tuple(one / another for one, another in pairs))


class Row(Record):
    """One comparison of a benchmark."""

    case: str
    unit: str
    baseline: Sample
    ours: Sample
    ratio: Sample
    """In the sense in which the reach is asked, of each round."""
    at_least: float | None = None
    """Reach asked of the ratio, where more is better."""
    at_most: float | None = None
    """Reach asked of the ratio, where less is better."""

    @classmethod
    def of_times(cls, case: str, baseline: Sample, ours: Sample, at_least: float | None = None) -> "Row":
        """Seconds of both; the ratio says how many times sooner ours is done."""
        return cls(case=case, unit="s", baseline=baseline, ours=ours, ratio=baseline.over(ours), at_least=at_least)

    @classmethod
    def of_rates(cls, case: str, unit: str, baseline: Sample, ours: Sample, at_least: float | None = None) -> "Row":
        """What both handle in a second; the ratio says how many times more ours is."""
        return cls(case=case, unit=unit, baseline=baseline, ours=ours, ratio=ours.over(baseline), at_least=at_least)

    @property
    def asked(self) -> str:
        """The reach in words; empty where none was asked."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def reached(self) -> str:
        """yes or no; empty where nothing was asked."""
        if not self.asked:
            return ""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return "yes" if low <= self.ratio.median <= high else "**no**"


class Result(Record):
    """The answer of one benchmark."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a time that never comes is infinite
    name: str
    question: str
    baseline: str
    """In words."""
    sizes: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    """Why there are no figures; empty when there are."""
    failed: bool = False
    """Whether that is a fault, not something that this machine lacks."""
    machine: str = ""
    seconds: float = 0.0


class Skipped(Exception):
    """This benchmark cannot run here; says why."""


def in_turns(repeats: int, *cases: Callable[[], object]) -> tuple[Sample, ...]:
    """Seconds of each case, taken in turns, so that the noise of a shared machine meets them all."""
    times = [[seconds(case) for case in cases] for _ in range(repeats)]
    return tuple(Sample(values=values) for values in zip(*times, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def gold_panel() -> tuple[Path, ...]:
    """The files of the largest real panel.

    Raises:
        Skipped: they are not on this machine.
    """
    folder = DATA / "pooksoft_sp500_daily"
    files = tuple(sorted(folder.glob("*.parquet")))
    if not files:
        raise Skipped(f"no panel pooksoft_sp500_daily in {_relative(DATA)}; BENCHMARK_DATA names another folder")
    return files


def peak_memory() -> int:
    """Bytes of the largest resident set of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts on Linux what the process was forked from as well
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m module` with these arguments; what its last line says, as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def on_all_cores(work: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """What the work says of each item, in their order; each in a process that keeps to one core.

    Args:
        work: A function of a module, or a `partial` of one.
        items: What each call is given.
    """
    with ProcessPoolExecutor(os.cpu_count(), initializer=_keep_to_one_core) as pool:
        return list(pool.map(work, items))


def machine() -> str:
    """Processor, cores, memory, load before the run, and the versions that decide the speed."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {libraries}; load before the run {os.getloadavg()[0]:.1f}"
    )


def answer(measure: Callable[[], Result], name: str) -> Result:
    """The result of a benchmark with its machine and duration; one that cannot run here says why."""
    where, started = machine(), time.perf_counter()
    try:
        result = measure()
    except Skipped as reason:
        result = Result(name=name, question="", baseline="", sizes="", skipped=str(reason))
    return result.model_copy(update={"machine": where, "seconds": time.perf_counter() - started})


def main(measure: Callable[[], Result], name: str) -> None:
    """Run one benchmark from the command line: show its table, or write it as JSON for the table of all."""
    arguments = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    arguments.add_argument("--record", type=Path, help="write the result here, as JSON")
    path = arguments.parse_args().record
    result = answer(measure, name)
    print(table(result))
    if path:
        path.write_text(result.model_dump_json())


def table(result: Result) -> str:
    """One benchmark in Markdown."""
    if result.skipped:
        return f"## {result.name}\n\nSkipped: {result.skipped}.\n"
    lines = [
        f"## {result.name}",
        "",
        result.question,
        "",
        f"* Baseline: {result.baseline}",
        f"* Sizes: {result.sizes}",
        f"* Machine: {result.machine}",
        f"* Took {result.seconds:.0f} s. Each figure is a median, with the smallest and largest in brackets.",
        "",
        "| case | unit | baseline | ours | ratio | asked | reached |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.case} | {row.unit} | {row.baseline} | {row.ours} | {row.ratio} | {row.asked} | {row.reached} |"
            for row in result.rows
        ),
        "",
        *(f"* {note}" for note in result.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _keep_to_one_core() -> None:
    # Small products of matrices wait for each other's threads for longer than they take.
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _relative(folder: Path) -> str:
    return os.path.relpath(folder, ROOT)
