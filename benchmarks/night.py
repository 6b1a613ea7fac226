"""What a whole night costs beyond its stages: orchestration, registry, clean process, report, and every import.

The baseline is the night's own stage functions, called one after the other in one process without Prefect: snapshot,
targets, fit, evaluate, gate. All runs start from copies of one store, with one seed, so that they train the same model.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import Result, Row, Sample, gold_panel, in_own_process, main
from models.calendar import Calendar
from models.config import DataConfig, RetrainConfig, StorageConfig
from models.timings import Timings
from tests.real_prefect import server

NOCTURNE: Final = str(Path(sys.executable).with_name("nocturne"))
SETTINGS: Final = ("gate.first_champion=healthy",)
STAGES: Final = ("snapshot", "targets", "train", "evaluate", "gate")
BESIDE: Final = ("drift", "ingest", "folds", "decide", "score", "report")
"""What a night does besides: folds that are not stored, promotion with registry and clean process, scores, page."""


def measure() -> Result:
    """One bare run and two nights, one with a server of its own and one with a server that runs already."""
    files = gold_panel()
    with tempfile.TemporaryDirectory(prefix="night-") as directory:
        store = Path(directory, "store")
        before = stored(store, files)
        nocturne(store, "retrain", "--session", before, "--no-promote")  # trains the recipe folds
        bare = in_own_process("benchmarks.night", "--bare", copy_of(store, "bare"))
        alone = night(copy_of(store, "alone"))
        with server(Path(directory, "prefect")) as running:
            served = night(copy_of(store, "served"), PREFECT_API_URL=f"{running.url}/api")
    base = Sample(values=(sum(bare[stage] for stage in STAGES),))
    return Result(
        name="night",
        question="What does a whole night add to the sum of its stages?",
        baseline=f"the stage functions in one process without Prefect: {', '.join(STAGES)}; imports not counted",
        sizes=f"pooksoft_sp500_daily, {alone['rows']:,} bars; the recipe folds were trained the night before",
        rows=(
            added("with a temporary server", base, alone, at_most=60.0),
            added("with a running server", base, served, at_most=25.0),
        ),
        notes=(
            "The ratio is the seconds added, from the start of the command to its end.",
            f"Bare: {named(bare, STAGES)}.",
            *(f"{how}: {explained(one)}." for how, one in (("Temporary server", alone), ("Running server", served))),
        ),
    )


def stored(store: Path, files: tuple[Path, ...]) -> str:
    """Ingests the files; the last session but one."""
    nocturne(store, "ingest", *map(str, files))
    last = nocturne(store, "retrain", "--dry-run")["session"]
    return str(Calendar.of(DataConfig()).after(date.fromisoformat(last), -1))


def nocturne(home: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """A command's JSON."""
    process = {**os.environ, "NOCTURNE_HOME": str(home), **environment}
    done = subprocess.run([NOCTURNE, *arguments, "--json"], env=process, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def copy_of(store: Path, name: str) -> Any:
    """The store again, under another name beside it."""
    return shutil.copytree(store, store.with_name(name))


def night(home: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Seconds of a night by stage, and of its whole command."""
    began = time.perf_counter()
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    result = nocturne(home, "retrain", *settings, *arguments, **environment)
    wall = time.perf_counter() - began
    told = {key: result[key] for key in ("verdict", "version")}
    return {**result["timings"], **told, "wall": wall, "rows": result["snapshot"]["rows"]}


def added(case: str, base: Sample, one: Mapping[str, Any], at_most: float) -> Row:
    """What a night took and what that is more than the bare stages."""
    more = Sample(values=(one["wall"] - base.median,))
    return Row(case=case, unit="s", baseline=base, ours=Sample(values=(one["wall"],)), ratio=more, at_most=at_most)


def explained(one: Mapping[str, Any]) -> str:
    """Every second of a night by name."""
    around = one["wall"] - one["total"]
    between = one["total"] - sum(one.get(stage, 0.0) for stage in (*STAGES, *BESIDE))
    rest = f"start, imports, server and end {around:.1f}, between the stages {between:.1f}"
    return f"{named(one, (*STAGES, *BESIDE))}, {rest}; {one['verdict']}"


def named(seconds: Mapping[str, Any], stages: tuple[str, ...]) -> str:
    """`train 31.2, gate 2.0`."""
    return ", ".join(f"{stage} {seconds[stage]:.1f}" for stage in stages if stage in seconds)


def bare(home: str) -> dict[str, float]:
    """Seconds of each stage function, called by hand."""
    from models.quiet import load_tensorflow
    from tasks.evaluate import evaluate
    from tasks.gate import judge
    from tasks.snapshot import identify_night
    from tasks.targets import recompute_targets
    from tasks.train import fit_candidate

    load_tensorflow()
    import expectations.targets  # noqa: F401  # with Great Expectations, which a night imports while it trains

    gate = {"first_champion": "healthy"}
    config = RetrainConfig.model_validate({"gate": gate, "storage": StorageConfig(home=home)})
    timings = Timings()
    with timings("snapshot"):
        found = identify_night(None, config, datetime.now(UTC))
    with timings("targets"):
        recompute_targets.fn(found, config)
    with timings("train"):
        candidate = fit_candidate.fn(found.night_id, config.storage, None)
    with timings("evaluate"):
        evidence = evaluate.fn(found, candidate, config)
    with timings("gate"):
        judge.fn(found, candidate, evidence, config)
    return dict(timings.seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        print(json.dumps(bare(sys.argv[2])))
    else:
        main(measure, "night")
