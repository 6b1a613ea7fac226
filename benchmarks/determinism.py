"""What bit-identical weights cost: an epoch with deterministic operations against one without.

Run: `python -m benchmarks.determinism`. TensorFlow cannot leave determinism once it is on, so each measurement has a
process of its own, in turns.
"""

import json
import sys
from typing import Final

from benchmarks.fitting import dataset_of, material_of, timed_fit, trained
from benchmarks.measuring import Result, Row, Sample, in_own_process, main
from models.config import RetrainConfig
from models.synthetic import MarketSettings, synthetic_market

ROUNDS: Final = 3
EPOCHS: Final = 4
MARKET: Final = MarketSettings(symbols=100, sessions=1000)


def measure() -> Result:
    """Seconds of an epoch, both ways."""
    seconds: dict[str, list[float]] = {"free": [], "deterministic": []}
    for _ in range(ROUNDS):
        for kind, values in seconds.items():
            values.append(in_own_process("benchmarks.determinism", f"--{kind}")["epoch"])
    free, fixed = (Sample(values=tuple(values)) for values in seconds.values())
    row = Row(case="an epoch", unit="s", baseline=free, ours=fixed, ratio=fixed.over(free))
    return Result(
        name="determinism",
        question="What do bit-identical weights cost? The ratio is how many times longer an epoch takes.",
        baseline="the same fit with training.deterministic = false",
        sizes=f"{MARKET.symbols} symbols × {MARKET.sessions} sessions, default network, {ROUNDS} rounds",
        rows=(row,),
    )


def epoch(deterministic: bool) -> float:
    """Median seconds of an epoch after the first."""
    dataset = dataset_of(synthetic_market(MARKET).bars, RetrainConfig())
    config = trained(dataset.config, deterministic=deterministic)
    _, clock = timed_fit(material_of(dataset), config, EPOCHS)
    return clock.epoch


if __name__ == "__main__":
    if sys.argv[1:2] in (["--free"], ["--deterministic"]):
        print(json.dumps({"epoch": epoch(sys.argv[1] == "--deterministic")}))
    else:
        main(measure, "determinism")
