"""Members trained side by side in one network: what does each of them cost?

Run: `python -m benchmarks.ensemble`.
"""

from typing import Final

from benchmarks.fitting import dataset_of, material_of, timed_fit, trained
from benchmarks.measuring import Result, Row, Sample, main
from models.config import RetrainConfig, TrainingConfig
from tests.synthetic_market import market

SYMBOLS: Final = 120
SESSIONS: Final = 760
ROUNDS: Final = 5
MEMBERS: Final = (1, 3, 5)
CONFIG: Final = RetrainConfig(training=TrainingConfig(validation_sessions=1))


def measure() -> Result:
    """Seconds of an epoch by the number of members, against as many epochs of one."""
    material = material_of(dataset_of(market(SYMBOLS, SESSIONS, edge=0.3), CONFIG))
    rounds = [[timed_fit(material, trained(CONFIG, members=n), 4)[1].epoch for n in MEMBERS] for _ in range(ROUNDS)]
    alone, *together = (Sample(values=values) for values in zip(*rounds, strict=True))
    rows = (
        Row.of_times(f"an epoch of {n} members", Sample(values=tuple(n * value for value in alone.values)), seconds)
        for n, seconds in zip(MEMBERS[1:], together, strict=True)
    )
    return Result(
        name="ensemble",
        question="What does an epoch of several members cost, against training them one after the other?",
        baseline="as many times an epoch of one member, by the same loop",
        sizes=f"{len(material.train):,} training rows of {SYMBOLS} symbols × {SESSIONS} sessions (synthetic), batches "
        f"of {CONFIG.training.batch_size}; {ROUNDS} rounds in turns",
        rows=tuple(rows),
        notes=(f"An epoch of one member takes {alone} s.",),
    )


if __name__ == "__main__":
    main(measure, "ensemble")
