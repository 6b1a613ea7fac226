"""A whole night on a GPU, against the same night on the CPU of the same machine: what is a GPU worth to a night?

Run: `python -m benchmarks.gpu_night` on a machine with a GPU; elsewhere it is skipped. Both begin with copies of one
store, in which a night on the GPU has left its recipe folds.
"""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu import require_gpu
from benchmarks.measuring import Result, Row, Sample, gold_panel, main
from benchmarks.night import copy_of, explained, night, nocturne, stored

ON_GPU: Final = ("--set", "training.require_gpu=true")
HIDDEN: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
PARTS: Final = {"wall": "from command to end", "train": "train", "evaluate": "evaluate"}


def measure() -> Result:
    """One night on each, and what the GPU's night has recorded computed again on the CPU."""
    card = require_gpu()
    files = gold_panel()
    with tempfile.TemporaryDirectory(prefix="gpu-night-") as directory:
        store = Path(directory, "store")
        before = stored(store, files)
        first = night(store, "--session", before, "--no-promote", *ON_GPU)
        home = copy_of(store, "gpu")
        on_gpu = night(home, *ON_GPU)
        verified = nocturne(home, "verify", on_gpu["version"], **HIDDEN)
        on_cpu = night(copy_of(store, "cpu"), **HIDDEN)
    return Result(
        name="gpu_night",
        question="How much sooner is a whole night done with a GPU?",
        baseline="the same night on the CPU of that machine, as shipped",
        sizes=f"pooksoft_sp500_daily, {on_gpu['rows']:,} bars; recipe folds trained the night before; one night each",
        rows=tuple(
            Row.of_times(told, Sample(values=(on_cpu[part],)), Sample(values=(on_gpu[part],)))
            for part, told in PARTS.items()
        ),
        notes=(
            f"{card}: {explained(on_gpu)}.",
            f"CPU: {explained(on_cpu)}.",
            f"The night before, which trained the recipe folds on the GPU: {explained(first)}.",
            f"What the GPU's night recorded, computed again without one: {compared(verified)}.",
        ),
    )


def compared(verified: dict[str, Any]) -> str:
    """How many of the comparisons came out how."""
    counts = Counter(one["outcome"] for one in verified["comparisons"])
    return ", ".join(f"{outcome} {count}" for outcome, count in counts.items())


if __name__ == "__main__":
    main(measure, "gpu_night")
