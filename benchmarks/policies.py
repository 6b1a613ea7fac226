"""A year of nights under each policy: how often is something promoted, how much of it is worse, and what is recorded?

Each night brings a refresh of one recipe. Most are exactly as good as each other; some are truly worse, and some are
broken. Policies meet the same candidates on the same market, so they differ by their rules alone. Ours are `decide` of
`models.gate` with the frames that a registry keeps. Beside them stand the rules that one would write first, which judge
each model on all sessions of its own holdout.

Run: `python -m benchmarks.policies`, with `--years 10` for less noise.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.measuring import Sample, machine, on_all_cores
from benchmarks.simulated_evidence import CALENDAR, SCALES, MarketSettings, SimulatedMarket, scales
from models.config import GateConfig, HeadLosses, TargetsConfig
from models.gate import ChampionEvidence, decide
from models.records import Finding, Scale, Verdict
from models.scores import FloatArray, direction_auc

NIGHTS: Final = 250
QUARTER: Final = 63
RECIPE_AUC: Final = 0.53
WORSE_BY: Final = 0.01
WORSE_NIGHTS: Final = 1 / 10
BROKEN_NIGHTS: Final = 1 / 25
BROKEN: Final = ("saturated", "constant", "flipped")
"""Volatility stuck near its bound; the same direction and volatility for all; P(up) the wrong way round."""
THRESHOLD: Final = 0.52

CONFIG: Final = GateConfig(bootstrap_replicates=200)
TARGETS: Final = TargetsConfig()
SETTINGS: Final = MarketSettings(
    sessions=1 + CONFIG.evidence_sessions + NIGHTS, reach=TARGETS.horizon_sessions, relative=True
)
HELD: Final = (Finding(rule="range", level="stop", count=0, why="held"),)

Forecasts = dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Year:
    """A market, the models that its nights make, and what is kept of them."""

    market: SimulatedMarket
    kinds: tuple[str, ...]
    """What each night's candidate is: equal, worse, or one of `BROKEN`."""
    seed: int

    @classmethod
    def draw(cls, seed: int) -> "Year":
        random = np.random.default_rng([seed, 2])
        shares = [1.0 - WORSE_NIGHTS - BROKEN_NIGHTS, WORSE_NIGHTS, *[BROKEN_NIGHTS / len(BROKEN)] * len(BROKEN)]
        later = random.choice(["equal", "worse", *BROKEN], size=NIGHTS - 1, p=shares)
        return cls(SimulatedMarket.draw(SETTINGS, seed), ("equal", *map(str, later)), seed)

    def true_auc(self, night: int) -> float:
        """Of the night's own model, in the long run."""
        lower = {"worse": RECIPE_AUC - WORSE_BY, "constant": 0.5, "flipped": 1.0 - RECIPE_AUC}
        return lower.get(self.kinds[night], RECIPE_AUC)

    def model(self, night: int) -> Forecasts:
        """What the night's own model says of every session."""
        return _model(self.market, self.kinds[night], 1000 * (self.seed + 1) + night)

    @cached_property
    def folds(self) -> Forecasts:
        """What the recipe folds say, each of its own quarter; they are as good as the recipe, whatever a night does."""
        quarters = range(-(-SETTINGS.sessions // QUARTER))
        said = [self.market.forecasts(RECIPE_AUC, 10**6 * (self.seed + 1) + quarter) for quarter in quarters]
        pieces = [slice(quarter * QUARTER, (quarter + 1) * QUARTER) for quarter in quarters]
        return {head: np.concatenate([of[head][at] for of, at in zip(said, pieces, strict=True)]) for head in said[0]}

    @cached_property
    def scales(self) -> dict[str, Scale]:
        """One set for all nights."""
        return scales(self.market.rows)

    def own_from(self, night: int, folds: bool) -> int:
        """The first session that the night's own model is judged on."""
        return 1 + night + (CONFIG.evidence_sessions - CONFIG.fresh_sessions if folds else 0)

    def trained_until(self, night: int, folds: bool) -> date:
        """The eve of that session."""
        return _date(self.market.days[self.own_from(night, folds) - 1])

    def session(self, night: int) -> date:
        """On which the last label of the night's evidence ended."""
        return _date(self.market.days[night + CONFIG.evidence_sessions + SETTINGS.reach])

    def frame(self, night: int, folds: bool) -> pd.DataFrame:
        """The night's out-of-sample frame, as the registry keeps it with the model."""
        begin, own, end = 1 + night, self.own_from(night, folds), 1 + night + CONFIG.evidence_sessions
        columns = {
            head: np.concatenate([self.folds[head][begin:own], said[own:end]]).ravel()
            for head, said in self.model(night).items()
        }
        n = SETTINGS.symbols
        fold = np.repeat(np.append(np.arange(begin, own) // QUARTER, np.full(end - own, NIGHTS)), n)
        version = np.where(fold == NIGHTS, f"night {night}", "recipe fold")
        return self.market.rows[begin * n : end * n].assign(**columns, fold=fold, version=version)

    def fresh(self, night: int, tonight: int, folds: bool) -> pd.DataFrame:
        """What the model of an earlier night says of tonight's evidence rows after its own training."""
        begin, end = max(1 + tonight, self.own_from(night, folds)), 1 + tonight + CONFIG.evidence_sessions
        n = SETTINGS.symbols
        said = {head: values[begin:end].ravel() for head, values in self.model(night).items()}
        return self.market.rows[["session", "symbol"]][begin * n : end * n].assign(**said)

    def recorded_auc(self, night: int, folds: bool) -> float:
        """Direction AUC of the night's frame: what the registry says of the model from then on."""
        return _recorded_auc(self, night, folds)

    def luck(self, folds: bool, nights: int = NIGHTS) -> float:
        """Recorded minus true AUC of all candidates that are neither worse nor broken: of the market, not of a rule."""
        sound = [night for night, kind in enumerate(self.kinds[:nights]) if kind == "equal"]
        return float(np.mean([self.recorded_auc(night, folds) for night in sound])) - RECIPE_AUC


class State(NamedTuple):
    """What a rule may look at."""

    year: Year
    night: int
    served: Sequence[int]
    """The night whose model served after each night before this one."""

    @property
    def champion(self) -> int:
        return self.served[-1]

    @property
    def anchor(self) -> int | None:
        """What served `gate.anchor_sessions` before, unless it is the champion or nothing did."""
        at = self.night - CONFIG.anchor_sessions
        return self.served[at] if at >= 0 and self.served[at] != self.champion else None


Rule = Callable[[State], bool]
"""Whether tonight's candidate becomes champion."""


def beats_record(state: State) -> bool:
    """A higher AUC than the one that was recorded of the champion."""
    return state.year.recorded_auc(state.night, False) > state.year.recorded_auc(state.champion, False)


def beats_champion(state: State, folds: bool) -> bool:
    """A higher AUC than the champion's on the rows that tonight's own model is judged on."""
    rows = state.year.frame(state.night, folds)
    ours = rows[rows["version"] == f"night {state.night}"]
    theirs = state.year.fresh(state.champion, state.night, folds)["p_up"][ours.index]
    return direction_auc(ours["direction"], ours["p_up"]) > direction_auc(ours["direction"], theirs)


def above_threshold(state: State) -> bool:
    """An AUC that reaches a number."""
    return state.year.recorded_auc(state.night, False) >= THRESHOLD


def passes_gate(state: State, config: GateConfig) -> bool:
    """The gate itself."""
    return judged(state, config).verdict == "promote"


def judged(state: State, config: GateConfig) -> Verdict:
    """The gate's verdict on tonight's candidate.

    Args:
        state: What serves, and what served.
        config: `folds` says whose predictions the frames hold.
    """
    year, folds = state.year, config.folds == "quarterly"
    return decide(
        year.frame(state.night, folds),
        config=config,
        targets=TARGETS,
        relative=SETTINGS.relative,
        heads=("direction", "volatility", "magnitude"),
        losses=HeadLosses(),
        scales=year.scales,
        session=year.session(state.night),
        trained_until=year.trained_until(state.night, folds),
        agreement=0.0,
        findings=HELD,
        champion=_evidence(state, state.champion, folds),
        calendar=CALENDAR,
        anchor=None if state.anchor is None else _evidence(state, state.anchor, folds),
    )


def _evidence(state: State, night: int, folds: bool) -> ChampionEvidence:
    return ChampionEvidence(
        version=f"night {night}",
        session=state.year.session(night),
        same_recipe=True,
        trained_until=state.year.trained_until(night, folds),
        stored=state.year.frame(night, folds),
        fresh=state.year.fresh(night, state.night, folds),
    )


def _gate(**changed: str) -> Rule:
    config = GateConfig.model_validate(CONFIG.model_dump() | changed)
    return lambda state: passes_gate(state, config)


def _some_nights(rule: Rule) -> Rule:
    """One night a month: for a rule that promotes nothing, whose every other night would say the same."""
    return lambda state: state.night % CONFIG.fresh_sessions == 0 and rule(state)


class Policy(NamedTuple):
    """A rule, and on which sessions a model itself is judged."""

    rule: Rule
    folds: bool
    """The last 21 and recipe folds before; else all 250."""


POLICIES: Final[Mapping[str, Policy]] = {
    "every candidate": Policy(lambda state: True, False),
    "AUC above the champion's recorded one": Policy(beats_record, False),
    "AUC above the champion's on the same rows": Policy(lambda state: beats_champion(state, False), False),
    f"AUC of at least {THRESHOLD}": Policy(above_threshold, False),
    "**`non_inferior`**, `gate.folds = single`": Policy(_gate(folds="single"), False),
    "AUC above the champion's on the last 21": Policy(lambda state: beats_champion(state, True), True),
    "**`non_inferior`** (as shipped)": Policy(_gate(), True),
    "`always_if_healthy`": Policy(_gate(policy="always_if_healthy"), True),
    "`manual`": Policy(_some_nights(_gate(policy="manual")), True),
}


class Outcome(NamedTuple):
    """A year under one policy."""

    promotions: float
    worse: float
    """Promotions of a model that is truly worse."""
    days_worse: float
    days_broken: float
    true_auc: float
    """Of what served, mean over the days."""
    bias: float
    """Recorded minus true AUC of what served, mean over the days."""
    selection: float
    """The same less that of candidates which nobody selected: without the market's luck, which all of a year share."""


def live(year: Year, policy: Policy, nights: int = NIGHTS) -> Outcome:
    """A year of nights, or the first of it; what the first night made serves already."""
    served = [0]
    for night in range(1, nights):
        served.append(night if policy.rule(State(year, night, served)) else served[-1])
    promoted = [night for night in range(1, nights) if served[night] == night]
    kinds = [year.kinds[night] for night in served]
    true = np.array([year.true_auc(night) for night in served])
    recorded = np.array([year.recorded_auc(night, policy.folds) for night in served])
    bias = float((recorded - true).mean())
    return Outcome(
        promotions=len(promoted),
        worse=sum(year.kinds[night] == "worse" for night in promoted),
        days_worse=kinds.count("worse"),
        days_broken=sum(kind in BROKEN for kind in kinds),
        true_auc=float(true.mean()),
        bias=bias,
        selection=bias - year.luck(policy.folds, nights),
    )


def year_under(case: tuple[str, int]) -> Outcome:
    """A year by its seed.

    Args:
        case: Name of the policy, and the seed.
    """
    name, seed = case
    return live(Year.draw(seed), POLICIES[name])


def broken_passed(case: tuple[str, int]) -> dict[str, tuple[int, int]]:
    """How many broken candidates of each kind the policy promotes where the last sound one serves, and of how many.

    Args:
        case: Name of the policy, and the seed of the year.
    """
    name, seed = case
    year = Year.draw(seed)
    passed: dict[str, list[bool]] = {kind: [] for kind in BROKEN}
    champion = 0
    for night in range(1, NIGHTS):
        kind = year.kinds[night]
        if kind in BROKEN:
            passed[kind].append(POLICIES[name].rule(State(year, night, [champion] * night)))
        champion = night if kind == "equal" else champion
    return {kind: (sum(of), len(of)) for kind, of in passed.items()}


def broken_row(name: str, years: Sequence[Mapping[str, tuple[int, int]]]) -> str:
    """One line of the second table: of all years together."""
    totals = [[sum(year[kind][part] for year in years) for part in (0, 1)] for kind in BROKEN]
    return f"| {name} | " + " | ".join(f"{passed} of {offered}" for passed, offered in totals) + " |"


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """One line of the table: counts of the median year with the smallest and largest, shares and AUCs of all years."""
    promoted, worse = (sum(getattr(one, of) for one in outcomes) for of in ("promotions", "worse"))
    bias, selection = (np.array([getattr(one, of) for one in outcomes]) for of in ("bias", "selection"))
    cells = (
        name,
        "21 + folds" if POLICIES[name].folds else "250",
        str(Sample(values=tuple(one.promotions for one in outcomes))),
        f"{100 * worse / promoted:.1f} %" if promoted else "none",
        str(Sample(values=tuple(one.days_worse for one in outcomes))),
        str(Sample(values=tuple(one.days_broken for one in outcomes))),
        f"{np.mean([one.true_auc for one in outcomes]):.4f}",
        f"{bias.mean():+.4f} ({bias.min():+.4f} to {bias.max():+.4f})",
        f"{selection.mean():+.4f}",
    )
    return f"| {' | '.join(cells)} |"


def _date(day: np.datetime64) -> date:
    found: date = day.astype("datetime64[D]").item()
    return found


@lru_cache(maxsize=2 * NIGHTS)
def _recorded_auc(year: Year, night: int, folds: bool) -> float:
    frame = year.frame(night, folds)
    return direction_auc(frame["direction"], frame["p_up"])


@lru_cache(maxsize=100)
def _model(market: SimulatedMarket, kind: str, seed: int) -> Forecasts:
    said = market.forecasts(RECIPE_AUC - WORSE_BY * (kind == "worse"), seed)
    stuck = np.full_like(said["volatility"], 0.98 * SCALES["volatility"])
    broken: dict[str, Callable[[], Forecasts]] = {
        "saturated": lambda: {"volatility": stuck},
        "constant": lambda: {head: np.full_like(said[head], said[head].mean()) for head in ("p_up", "volatility")},
        "flipped": lambda: {"p_up": 1.0 - said["p_up"]},
    }
    return said | (broken[kind]() if kind in broken else {})


def main() -> None:
    """Print the tables as they grow."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__.partition("\n")[0])
    arguments.add_argument("--years", type=int, default=3, help="simulated years of 250 nights for each policy")
    n_years, started = arguments.parse_args().years, time.perf_counter()
    print(
        f"{machine()}; {n_years} years of {NIGHTS} nights, {CONFIG.evidence_sessions} sessions × {SETTINGS.symbols} "
        f"symbols of evidence, {CONFIG.bootstrap_replicates} replicates; true AUC {RECIPE_AUC}, one candidate in "
        f"{1 / WORSE_NIGHTS:.0f} worse by {WORSE_BY}, one in {1 / BROKEN_NIGHTS:.0f} broken ({', '.join(BROKEN)})\n"
    )
    print(
        "| promoted is | judged itself on | promotions a year | of them truly worse | days with a worse model | days "
        "with a broken model | true AUC of what serves | recorded − true | of it by "
        "selection |\n" + "|---" * 9 + "|"
    )
    for name in POLICIES:
        print(row(name, on_all_cores(year_under, [(name, seed) for seed in range(n_years)])), flush=True)
    print(f"\n| broken candidates promoted | {' | '.join(BROKEN)} |\n" + "|---" * (1 + len(BROKEN)) + "|")
    for name in POLICIES:
        print(broken_row(name, on_all_cores(broken_passed, [(name, seed) for seed in range(n_years)])), flush=True)
    print(f"\nTook {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
