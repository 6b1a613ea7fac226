"""Which losses, starts and heads are best: the table of docs/model.md.

Every recipe is fitted on the same rows with the same seeds and judged out of sample on the same sessions, against
log-HAR for volatility, scaled EWMA volatility for magnitude, and the direction that the best forecast of a synthetic
market reaches.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml

from benchmarks.fitting import dataset_of, material_of
from benchmarks.measuring import ROOT, Skipped, gold_panel, machine
from models.baselines import baselines
from models.bootstrap import Resamples, block_length, difference, pooled_auc
from models.config import RetrainConfig
from models.dataset import Dataset
from models.fit import Material, fit
from models.panel import FloatArray
from models.scores import direction_auc, qlike
from models.synthetic import MarketSettings, synthetic_market

SEEDS: Final = (1, 2, 3)
GOLD_SYMBOLS: Final = 100
"""Every fifth symbol of the real panel, so that a table of all recipes and seeds takes minutes."""
REPLICATES: Final = 1000

_ORIGINS_LOSSES: Final = {"losses": {"volatility": "mse", "magnitude": "huber"}}
RECIPES: Final[Mapping[str, dict[str, Any]]] = {
    "default: qlike, bce, both lines": {},
    "no line for direction": {"network": {"direction_offset": "none"}},
    "no log-HAR offset": {"network": {"offset": "none"}},
    "no lines at all": {"network": {"offset": "none", "direction_offset": "none"}},
    "direction head alone": {"network": {"heads": ["direction"]}},
    "volatility bce": {"training": {"losses": {"volatility": "bce", "magnitude": "bce"}}},
    "magnitude relative_l1": {"training": {"losses": {"volatility": "qlike", "magnitude": "relative_l1"}}},
    "mse, huber": {"training": _ORIGINS_LOSSES},
    "mse, huber, unweighted": {"training": {**_ORIGINS_LOSSES, "gradient_shares": None}},
    "gradient shares 1 : 1 : 1": {"training": {"gradient_shares": {"direction": 1, "volatility": 1, "magnitude": 1}}},
    "step 1e-3": {"training": {"learning_rate": 1e-3}},
    "hidden layer of 64": {"network": {"hidden": [64]}},
    "no hidden layer": {"network": {"hidden": []}},
}


@dataclass(frozen=True)
class Scores:
    """One fit, out of sample."""

    auc: float
    volatility: float
    """QLIKE over that of log-HAR."""
    volatility_mae: float
    """Mean absolute error over that of log-HAR."""
    magnitude: float
    """Mean absolute error over that of scaled EWMA volatility."""
    epochs: int
    seconds: float
    p_up: FloatArray


@dataclass(frozen=True)
class Contest:
    """A panel on which all recipes compete, with what they are held against."""

    name: str
    dataset: Dataset
    material: Material
    forecasts: pd.DataFrame
    """Baselines on the evidence rows."""

    @classmethod
    def of(cls, name: str, bars: pd.DataFrame) -> "Contest":
        dataset = dataset_of(bars, RetrainConfig())
        forecasts = baselines(dataset.panel, dataset.targets, [(dataset.train, dataset.evidence)])
        return cls(name, dataset, material_of(dataset), forecasts)

    def fit(self, config: RetrainConfig) -> Scores:
        """Fit a recipe and score it on the evidence."""
        started = time.perf_counter()
        scales = replace(self.dataset, config=config).scales()
        fitted = fit(replace(self.material, scales=scales), config)
        spent = time.perf_counter() - started
        rows, targets, har = self.dataset.evidence, self.dataset.targets, self.forecasts["volatility_har"].to_numpy()
        outputs = {k: np.asarray(v, float).mean(axis=0) for k, v in fitted.trunk(self.material.summaries[rows]).items()}
        volatility, magnitude = (getattr(targets, head)[rows] for head in ("volatility", "magnitude"))
        p_up, bounded = outputs["direction"][:, 1], "volatility" in outputs
        ewma = self.forecasts["magnitude_ewma"].to_numpy()
        return Scores(
            auc=direction_auc(targets.direction[rows], p_up),
            volatility=qlike(volatility, outputs["volatility"]) / qlike(volatility, har) if bounded else np.nan,
            volatility_mae=_error(volatility, outputs["volatility"]) / _error(volatility, har) if bounded else np.nan,
            magnitude=_error(magnitude, outputs["magnitude"]) / _error(magnitude, ewma) if bounded else np.nan,
            epochs=fitted.epochs,
            seconds=spent,
            p_up=p_up,
        )

    def gain(self, ours: Sequence[Scores], theirs: Sequence[Scores]) -> tuple[float, float, float]:
        """Paired difference of the AUCs of the seeds' mean P(up), and its 90 % interval over blocks of sessions."""
        rows = self.dataset.evidence
        label = self.dataset.targets.direction[rows]
        _, session = np.unique(self.dataset.panel.session[rows], return_inverse=True)
        n_sessions = int(session.max()) + 1
        mine, other = (
            pooled_auc(label, np.mean([one.p_up for one in scores], axis=0), session, n_sessions)
            for scores in (ours, theirs)
        )
        block = block_length(self.dataset.config.targets.horizon_sessions)
        draws = difference(mine, other)(Resamples.draw(n_sessions, block=block, n_replicates=REPLICATES).weights)
        point = difference(mine, other)(np.ones((1, n_sessions)))[0]
        low, high = np.quantile(draws, (0.05, 0.95))
        return float(point), float(low), float(high)


def _error(target: FloatArray, forecast: FloatArray) -> float:
    return float(np.abs(target - forecast).mean())


def contests() -> Iterator[Contest]:
    """The real panel, where it is at hand, and the reference market."""
    try:
        files = gold_panel()
    except Skipped as reason:
        print(f"Without the real panel: {reason}.")
    else:
        bars = pd.concat([pd.read_parquet(file) for file in files])
        chosen = sorted(bars["symbol"].unique())[:: max(1, bars["symbol"].nunique() // GOLD_SYMBOLS)][:GOLD_SYMBOLS]
        yield Contest.of("pooksoft_sp500_daily", _canonical(bars[bars["symbol"].isin(chosen)]))
    yield Contest.of("synthetic reference", synthetic_market(MarketSettings()).bars)


def _canonical(bars: pd.DataFrame) -> pd.DataFrame:
    """The panel's columns as the store has them; its prices are raw, so that splits start new segments."""
    session = pd.to_datetime(bars["timestamp"]).dt.tz_localize(None).dt.normalize().astype("datetime64[s]")
    frame = bars.assign(session=session, symbol=bars["symbol"].astype("str"))
    kept = frame[(frame[["open", "high", "low", "close"]] > 0).all(axis=1)]
    return kept.sort_values(["symbol", "session"]).drop_duplicates(["symbol", "session"]).reset_index(drop=True)


def recipe(changes: Mapping[str, Any], seed: int) -> RetrainConfig:
    """A configuration with these changes and seed."""
    training = {**changes.get("training", {}), "seed": seed}
    return RetrainConfig.model_validate({**changes, "training": training})


def origin() -> dict[str, Any]:
    """`configs/origin.yaml`."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "origin.yaml").read_text())
    return loaded


def main() -> None:
    """Fit all, show the tables in Markdown."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.losses")
    arguments.add_argument("--only", help="recipes whose name holds these words")
    words = arguments.parse_args().only or ""
    recipes = {**RECIPES, "configs/origin.yaml": origin()}
    chosen = {name: changes for name, changes in recipes.items() if words in name or name.startswith("default")}
    print(f"{machine()}; seeds {SEEDS}; mean over the seeds, smallest and largest in brackets.\n", flush=True)
    for contest in contests():
        _show(contest, chosen)


def _show(contest: Contest, recipes: Mapping[str, dict[str, Any]]) -> None:
    rows = contest.dataset
    print(f"### {contest.name}: {len(rows.train):,} training and {len(rows.evidence):,} evidence rows\n")
    print(
        "| recipe | direction AUC | AUC against the default (90 %) | volatility QLIKE / log-HAR | volatility MAE / "
        "log-HAR | magnitude MAE / EWMA | epochs | s |\n|---|---|---|---|---|---|---|---|"
    )
    first: list[Scores] = []
    for name, changes in recipes.items():
        scores = [contest.fit(recipe(changes, seed)) for seed in SEEDS]
        first = first or scores
        point, low, high = contest.gain(scores, first)
        against = "" if scores is first else f"{point:+.4f} ({low:+.4f} to {high:+.4f})"
        figures = [
            _spread([getattr(one, column) for one in scores])
            for column in ("volatility", "volatility_mae", "magnitude")
        ]
        epochs = "/".join(str(one.epochs) for one in scores)
        seconds = np.mean([one.seconds for one in scores])
        auc = _spread([one.auc for one in scores], digits=4)
        print(f"| {name} | {auc} | {against} | {' | '.join(figures)} | {epochs} | {seconds:.0f} |", flush=True)
    reversal = direction_auc(rows.targets.direction[rows.evidence], contest.forecasts["reversal"].to_numpy())
    print(f"\n5-day reversal alone: AUC {reversal:.4f}.\n")


def _spread(values: Sequence[float], digits: int = 3) -> str:
    if np.isnan(values).all():
        return "—"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
