"""Small nights back to back on one Prefect server, through the deployments of prefect.yaml: does anything grow?

Run: `python -m benchmarks.soak --nights 50`. The baseline is the same run's own first fifth, against its last fifth:
memory and open files of server and workers, temporary files of ours, the database, and the seconds of a night that are
neither data nor training.
"""

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from models.config import StorageConfig
from models.locations import Locations
from models.night import NightFiles
from models.records import NightResult
from tasks.ingest import bring_in
from tests.real_prefect import Server, server, until
from tests.small_nights import config_at, deliver, settings_of
from tests.synthetic_market import market

HISTORY = 200
"""Sessions before the first night."""


@dataclass(frozen=True)
class Measured:
    """What was seen after a night; sizes in MB."""

    server_memory: float
    worker_memory: float
    server_files: float
    worker_files: float
    temporary: float
    database: float
    run_seconds: float
    orchestration_seconds: float
    """From the run's start to its end, less what the night itself accounts for."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nights", type=int, default=50)
    nights = arguments.parse_args().nights
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        seen = list(soak(Path(directory), nights))
    show(seen)


def soak(directory: Path, nights: int) -> Iterator[Measured]:
    """Run the nights and measure after each."""
    home = directory / "home"
    bars = market(n_symbols=30, n_sessions=HISTORY + nights, edge=0.5, seed=4, restless=0.17)
    sessions = bars["session"].drop_duplicates().to_list()
    history = bars[bars["session"] < sessions[HISTORY]]
    bring_in(deliver(history, directory / "in", "history.csv"), config_at(home), None, datetime.now(UTC))
    with server(directory / "prefect", NOCTURNE_HOME=str(home)) as one:
        for pool in ("cpu", "gpu"):
            one.do("work-pool", "create", pool, "--type", "process")
        one.do("deploy", "--all")
        with one.worker("cpu", directory / "cpu") as cpu, one.worker("gpu", directory / "gpu") as gpu:
            for session in sessions[HISTORY:]:
                tonight = bars[bars["session"] == session]
                path = deliver(tonight, directory / "in", f"night-{session:%Y-%m-%d}.csv")
                yield night(one, (cpu.pid, gpu.pid), home, session, path)


def night(one: Server, workers: tuple[int, ...], home: Path, session: pd.Timestamp, delivery: str) -> Measured:
    """One night, and what there is after it."""
    with one.client() as client:
        deployment = client.read_deployment_by_name("retrain/nightly")
        settings = settings_of(source={"known_at_pattern": r"(\d{4}-\d{2}-\d{2})"})
        stated = {"session": f"{session:%Y-%m-%d}", "deliveries": [delivery], "config": settings}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=stated)

        def ended() -> Any:
            now = client.read_flow_run(run.id)
            return now if now.state and now.state.is_final() else None

        run = until(ended, within_s=600)
    assert run.state.is_completed(), run.state.message
    newest = max((home / "nights").glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    result = NightFiles(Locations(StorageConfig(home=str(home))), newest.parent.name).read_record("result", NightResult)
    seconds = run.total_run_time.total_seconds()
    assert one.process is not None
    return Measured(
        server_memory=memory(one.process.pid),
        worker_memory=sum(map(memory, workers)),
        server_files=len(os.listdir(f"/proc/{one.process.pid}/fd")),
        worker_files=sum(len(os.listdir(f"/proc/{worker}/fd")) for worker in workers),
        temporary=len(list(Path(tempfile.gettempdir()).glob("nocturne-*"))),
        database=sum(path.stat().st_size for path in one.home.glob("prefect.db*")) / 1e6,
        run_seconds=seconds,
        orchestration_seconds=seconds - result.timings["total"],
    )


def memory(process: int) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def show(seen: list[Measured]) -> None:
    """Median and range of the first and of the last fifth, and their ratio."""
    fifth = max(len(seen) // 5, 1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(seen)} nights of 30 symbols; first and last {fifth} of them: median (smallest to largest)")
    for one in fields(Measured):
        first, last = ([getattr(night, one.name) for night in part] for part in (seen[:fifth], seen[-fifth:]))
        before, after = statistics.median(first), statistics.median(last)
        ratio = f"{after / before:.2f}" if before else "–"
        print(f"{one.name:<24}{_spread(first):>28}{_spread(last):>28}   × {ratio}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
