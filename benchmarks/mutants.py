"""Known mistakes, one a night: do the night's own checks see each of them?

A small market is delivered, a first night leaves a champion, and a night a month later is run once as it should be and
once with each mistake: snapshot, targets with their contract, recipe folds, candidate, evidence, gate. A mistake is
caught by a check that fails and did not fail in the sound night, or by a night that stops with a reason. The direction
planted in the market is stronger than real ones, so that a small market shows it, and the limit of what is too good is
raised to suit.

A mistake that no check is meant for counts as unseen even if the data move so that some check fails.

Run: `python -m benchmarks.mutants`, or with the names of some mistakes. Exit status 1 when fewer than 95 of 100 are
caught, when one goes unseen that benchmarks/mistakes.py does not explain, or when the sound night fails a check.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measuring import machine
from models.calendar import Calendar
from models.config import RetrainConfig
from models.errors import NocturneError
from models.locations import Locations
from models.night import NightRecord
from models.quiet import load_tensorflow
from models.records import CandidateRecord, Verdict
from models.synthetic import MarketSettings, synthetic_market
from tests.small_nights import config_at

MARKET: Final = MarketSettings(symbols=60, sessions=360, edge=0.2, restless=0.1, gaps=0.01, splits=2, delistings=3)
GATE: Final = {
    "folds": "quarterly",
    "evidence_sessions": 80,
    "first_champion": "skilled",
    "suspicious_auc_low": 0.65,
}
MONTH: Final = 21
ASKED: Final = 0.95
SHOWN: Final = 4
MODELS: Final = ("skill", "champion")
"""Groups that measure how good a model is; all others ask how its numbers come about."""


class Night(NamedTuple):
    """What a night's checks said."""

    failed: dict[str, str]
    """Name → group; of a night that stopped, the kind of error and `stop`."""
    told: str
    """The reason in words."""


@dataclass(frozen=True)
class Bench:
    """A store with a market in it and a champion that was trained a month before the night in question."""

    config: RetrainConfig
    session: date

    @classmethod
    def prepare(cls, home: Path) -> "Bench":
        """Deliver the market and let a first night's candidate serve."""
        from tasks.ingest import bring_in

        config = config_at(home, gate=GATE)
        bars = synthetic_market(MARKET, config.targets.horizon_sessions).bars
        delivered = home.with_suffix(".parquet")
        bars.assign(timestamp=bars["session"].dt.date).drop(columns="session").to_parquet(delivered)
        bring_in(str(delivered), config, None, datetime.now(UTC))
        bench = cls(config, bars["session"].max().date())
        bench._let_serve(*bench._judged(Calendar.of(config.data).after(bench.session, -MONTH)))
        return bench

    def night(self, name: str | None = None) -> Night:
        """The night in question, from its snapshot on, with a mistake or as it should be."""
        from benchmarks.mistakes import MISTAKES

        shutil.rmtree(Locations(self.config.storage).nights, ignore_errors=True)
        shutil.rmtree(Locations(self.config.storage).folds, ignore_errors=True)
        try:
            with MISTAKES[name].making() if name else nullcontext():
                verdict = self._judged(self.session)[-1]
        except NocturneError as stopped:
            return Night({type(stopped).__name__: "stop"}, str(stopped))
        return Night({check.name: check.group for check in verdict.failed}, verdict.reason)

    def _judged(self, session: date) -> tuple[NightRecord, CandidateRecord, Verdict]:
        from tasks.evaluate import evaluate
        from tasks.gate import judge
        from tasks.snapshot import identify_night
        from tasks.targets import recompute_targets
        from tasks.train import fit_candidate

        config = self.config
        night = identify_night(session, config, datetime.now(UTC))
        recompute_targets.fn(night, config)
        candidate = fit_candidate.fn(night.night_id, config.storage, None)
        evidence = evaluate.fn(night, candidate, config)
        return night, candidate, judge.fn(night, candidate, evidence, config)

    def _let_serve(self, night: NightRecord, candidate: CandidateRecord, verdict: Verdict) -> None:
        from tasks.promote import let_serve, register

        grounds = register(night, candidate, verdict, {}, self.config)
        let_serve(grounds, verdict, {}, None, Locations(self.config.storage))


def caught_by(mutated: Night, sound: Night) -> dict[str, str]:
    """Name → group of what fails with the mistake and not without it."""
    return {name: group for name, group in mutated.failed.items() if name not in sound.failed}


def shown(caught: dict[str, str]) -> str:
    """The checks, those first that ask how a number comes about."""
    names = sorted(caught, key=lambda name: caught[name] in MODELS)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(f'{caught[name]} `{name}`' for name in names[:SHOWN])}{more}" or "**nothing**"


def run(names: Sequence[str]) -> bool:
    """Run the nights and print the table; whether enough was caught."""
    from benchmarks.mistakes import MISTAKES

    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        bench = Bench.prepare(Path(directory, "home"))
        sound = bench.night()
        print(f"{machine()}\n\nThe sound night: {sound.told}. Failed: {', '.join(sound.failed) or 'none'}.\n")
        print("| mistake | what is wrong | caught by | s |\n|---|---|---|---|")
        found = {}
        for name in names:
            began = time.perf_counter()
            found[name] = caught_by(bench.night(name), sound)
            took = time.perf_counter() - began
            print(f"| {name} | {MISTAKES[name].what} | {shown(found[name])} | {took:.0f} |", flush=True)
    unseen = [name for name, caught in found.items() if not caught or MISTAKES[name].unseen]
    by_models = [name for name, caught in found.items() if caught and set(caught.values()) <= set(MODELS)]
    share = 1 - len(unseen) / len(found)
    print(f"\nCaught: {len(found) - len(unseen)} of {len(found)}, {share:.1%}; at least {ASKED:.0%} asked.")
    print(f"Of them by skill or champion alone: {', '.join(by_models) or 'none'}.")
    for name in unseen:
        print(f"Not caught: {name}. {MISTAKES[name].unseen or '**Unexplained.**'}")
    return share >= ASKED and not sound.failed and all(MISTAKES[name].unseen for name in unseen)


def main() -> None:
    """Of all mistakes, or of those named."""
    load_tensorflow()
    from benchmarks.mistakes import MISTAKES

    arguments = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__.partition("\n")[0])
    arguments.add_argument("names", nargs="*", metavar="name", help=", ".join(MISTAKES))
    names = arguments.parse_args().names or list(MISTAKES)
    if unknown := set(names) - set(MISTAKES):
        arguments.error(f"no mistake {', '.join(sorted(unknown))}; there are {', '.join(MISTAKES)}")
    sys.exit(0 if run(names) else 1)


if __name__ == "__main__":
    main()
