"""Whole nights on a GPU, against the same nights on the CPU of the same machine: what is a GPU worth to a night?

Run: `python -m benchmarks.gpu_night` on a machine with a GPU; elsewhere it is skipped. Both devices begin with copies
of one store. The first night trains the recipe folds, the second finds them stored.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu import require_gpu
from benchmarks.measuring import Result, Row, Sample, gold_panel, main
from benchmarks.night import copy_of, explained, night, nocturne, stored

CORES: Final = os.cpu_count() or 1
HIDDEN: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
NIGHTS: Final = ("a night that trains the recipe folds", "a night that finds them stored")
PARTS: Final = {"wall": "from command to end", "train": "train", "evaluate": "evaluate"}


def measure() -> Result:
    """Two nights on each, and the GPU's champion looked at on the CPU."""
    require_gpu()
    files = gold_panel()
    with tempfile.TemporaryDirectory(prefix="gpu-night-") as directory:
        store = Path(directory, "store")
        before = stored(store, files)
        home = copy_of(store, "gpu")
        on_gpu = nights(home, before, "training.require_gpu=true")
        verified = nocturne(home, "verify", on_gpu[1]["version"], **HIDDEN)
        on_cpu = nights(copy_of(store, "cpu"), before, f"training.threads={CORES}", **HIDDEN)
    return Result(
        name="gpu_night",
        question="How much sooner is a whole night done with a GPU?",
        baseline=f"the same nights on the CPU of that machine, with {CORES} threads",
        sizes=f"pooksoft_sp500_daily, {on_gpu[0]['rows']:,} bars; one night each",
        rows=tuple(
            Row.of_times(f"{name}: {told}", Sample(values=(theirs[part],)), Sample(values=(ours[part],)))
            for name, theirs, ours in zip(NIGHTS, on_cpu, on_gpu, strict=True)
            for part, told in PARTS.items()
        ),
        notes=(
            *(
                f"{device}, {name}: {explained(one)}."
                for device, both in (("GPU", on_gpu), ("CPU", on_cpu))
                for name, one in zip(NIGHTS, both, strict=True)
            ),
            f"What the GPU's night recorded, computed again without one: {compared(verified)}.",
        ),
    )


def nights(home: Path, before: str, setting: str, **environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last session but one, then the last."""
    asked = ("--set", setting)
    first = night(home, "--session", before, "--no-promote", *asked, **environment)
    return first, night(home, *asked, **environment)


def compared(verified: dict[str, Any]) -> str:
    """How many of the comparisons came out how."""
    counts = Counter(one["outcome"] for one in verified["comparisons"])
    return ", ".join(f"{outcome} {count}" for outcome, count in counts.items())


if __name__ == "__main__":
    main(measure, "gpu_night")
