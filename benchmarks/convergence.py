"""How soon do we reach the best validation loss of a two-layer LSTM on the same rows?

Run: `python -m benchmarks.convergence`. On real bars, where direction is next to noise, and on a market with an answer.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import pandas as pd

from benchmarks.fitting import Clock, KerasNight, dataset_of, keras_targets, material_of, trained
from benchmarks.measuring import Result, Row, Sample, Skipped, main
from benchmarks.preparation import canonical_bars
from models.config import GateConfig, RetrainConfig, TrainingConfig
from models.dataset import Dataset
from models.features import summaries
from models.fit import Material, fit
from models.network import BoundedHead, MemberDense, Standardise
from models.panel import Float32Array, IntArray
from tests.synthetic_market import market

SYMBOLS: Final = 60
SESSIONS: Final = 640
EDGE: Final = 0.3
SEEDS: Final = (1, 2)
CONFIG: Final = RetrainConfig(
    training=TrainingConfig(validation_sessions=125, deterministic=False),
    gate=GateConfig(evidence_sessions=40, min_different_recipe_sessions=40),
)
"""Half a year of validation: less luck in which of two losses is the lower. Keras is slower when deterministic."""
LSTM_UNITS: Final = 64
LSTM_BATCH: Final = 512
LSTM_STEP: Final = 1e-3
LSTM_EPOCHS: Final = 30
REACH: Final = 20.0


class Course(NamedTuple):
    """A training by the end of each epoch."""

    seconds: tuple[float, ...]
    """Since before its inputs were computed."""
    losses: tuple[float, ...]
    """Weighted validation losses."""
    heads: Mapping[str, float]
    """Validation loss of each head, without its weight, in the best epoch."""

    @property
    def best(self) -> float:
        """Lowest weighted validation loss."""
        return min(self.losses)

    def reached(self, loss: float) -> float:
        """Seconds until the loss is at most this; infinite if it never is."""
        times = (at for at, seen in zip(self.seconds, self.losses, strict=True) if seen <= loss)
        return next(times, float("inf"))

    def __str__(self) -> str:
        return ", ".join(f"{loss:.4f} at {at:.1f} s" for at, loss in zip(self.seconds, self.losses, strict=True))


def measure() -> Result:
    """Seconds of both until the LSTM's best loss, and the best of each."""
    rows: list[Row] = []
    notes = [
        "Both times begin before the inputs are computed: the LSTM's windows of features, our summaries. They hold "
        "compilation and the validation of every epoch, and no import of TensorFlow. inf: not reached before the fit "
        "stopped by itself."
    ]
    sizes: list[str] = []
    for name, bars in markets().items():
        dataset = dataset_of(bars, CONFIG)
        sizes.append(f"{name}: {len(dataset.train):,} training and {len(dataset.validation):,} validation rows")
        rounds = courses(dataset)
        rows += _rows(name, rounds)
        notes += [
            f"{name}, seed {seed}: LSTM {one}; ours {two}." for seed, (one, two) in zip(SEEDS, rounds, strict=True)
        ]
    return Result(
        name="convergence",
        question="How many seconds until the best validation loss of a two-layer LSTM?",
        baseline=f"two LSTM layers of {LSTM_UNITS} units over the bar features of the same window, a fusion layer of "
        f"{CONFIG.network.fusion}, the same heads, losses and weights, by Keras `fit` with early stopping (patience "
        f"{CONFIG.training.patience}, as ours), batch {LSTM_BATCH}, Adam at {LSTM_STEP:g}",
        sizes=f"{SYMBOLS} symbols × {SESSIONS} sessions; {'; '.join(sizes)}; seeds {', '.join(map(str, SEEDS))} in "
        f"turns; ours with {CONFIG.training.members} members",
        rows=tuple(rows),
        notes=tuple(notes),
    )


def markets() -> dict[str, pd.DataFrame]:
    """Real bars where they are, and synthetic ones of the same size whose relative returns revert."""
    try:
        real = {"gold panel": sub_panel(canonical_bars())}
    except Skipped:
        real = {}
    return real | {f"synthetic, reversal {EDGE}": market(SYMBOLS, SESSIONS, edge=EDGE)}


def sub_panel(bars: pd.DataFrame) -> pd.DataFrame:
    """The last sessions of some symbols that have a bar on each of them, spread over the alphabet."""
    late = bars[bars["session"] >= np.sort(bars["session"].unique())[-SESSIONS]]
    counts = late["symbol"].value_counts()
    whole = counts[counts == SESSIONS].index.sort_values()
    chosen = whole[:: len(whole) // SYMBOLS][:SYMBOLS]
    panel: pd.DataFrame = late[late["symbol"].isin(chosen)].reset_index(drop=True)
    return panel


def courses(dataset: Dataset) -> list[tuple[Course, Course]]:
    """LSTM and ours, in turns, with one set of head weights for all."""
    weights = fit(material_of(dataset), trained(CONFIG, max_epochs=1)).head_weights
    return [(lstm_course(dataset, weights, seed), our_course(dataset, weights, seed)) for seed in SEEDS]


def our_course(dataset: Dataset, weights: Mapping[str, float], seed: int) -> Course:
    """A night's fit, its losses by the weights that the LSTM has too."""
    clock, started = Clock(), time.perf_counter()
    curves = fit(material_of(dataset), trained(CONFIG, seed=seed), clock).curves
    losses = tuple(sum(weights[head] * curve[f"val_{head}"] for head in weights) for curve in curves)
    best = curves[int(np.argmin(losses))]
    heads = {head: best[f"val_{head}"] for head in weights}
    return Course(tuple(at - started for at in clock.ended), losses, heads)


def lstm_course(dataset: Dataset, weights: Mapping[str, float], seed: int) -> Course:
    """The LSTM's fit until its validation loss has not fallen for as many epochs as ours may wait."""
    keras.utils.set_random_seed(seed)
    clock, started = Clock(), time.perf_counter()
    material = material_of(dataset)
    seen, held_out = (features_of_windows(dataset, rows) for rows in (material.train, material.validation))
    aims, held_out_aims = (keras_targets(material, rows) for rows in (material.train, material.validation))
    model = lstm(material, seen).learn(material, CONFIG, weights)
    model.compile(keras.optimizers.Adam(LSTM_STEP))

    def note(epoch: int, logs: Any) -> None:
        clock(epoch, LSTM_EPOCHS, logs["val_loss"], 0.0)

    model.fit(
        seen,
        aims,
        batch_size=LSTM_BATCH,
        epochs=LSTM_EPOCHS,
        validation_data=(held_out, held_out_aims),
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=note),
            keras.callbacks.EarlyStopping(patience=CONFIG.training.patience, restore_best_weights=True),
        ],
        verbose=0,
    )
    return Course(
        tuple(at - started for at in clock.ended), tuple(clock.losses), by_head(model, held_out, held_out_aims)
    )


def by_head(model: KerasNight, seen: Float32Array, aims: Mapping[str, Float32Array]) -> dict[str, float]:
    """Mean loss of each head."""
    total = dict.fromkeys(aims, 0.0)
    for start in range(0, len(seen), LSTM_BATCH):
        part = slice(start, start + LSTM_BATCH)
        losses = model.head_losses({head: values[part] for head, values in aims.items()}, model(seen[part]))
        total = {head: total[head] + float(loss) * len(seen[part]) for head, loss in losses.items()}
    return {head: loss / len(seen) for head, loss in total.items()}


def features_of_windows(dataset: Dataset, rows: IntArray) -> Float32Array:
    """(n, window, n_features) features of each bar of each row's window, scale-free; zeros before its series."""
    panel, network = dataset.panel, CONFIG.network
    spans = (1, network.spans[-1])  # of the bar itself, in units of the volatility at the longest span
    of_bars = summaries(panel, network.window, spans)[:, :: len(spans)]
    index = rows[:, None] + np.arange(1 - network.window, 1)
    inside = index >= panel.offsets[panel.series[rows]][:, None]
    return np.where(inside[..., None], of_bars[np.maximum(index, 0)], np.float32(0))


def lstm(material: Material, seen: Float32Array) -> KerasNight:
    """The baseline network; its bounded heads start at the mean of their targets."""
    mean, sd = seen.mean(axis=(0, 1), dtype=np.float64), seen.std(axis=(0, 1), dtype=np.float64)
    features = keras.Input(seen.shape[1:])
    x = Standardise(mean.tolist(), sd.tolist())(features)
    x = keras.layers.LSTM(LSTM_UNITS, return_sequences=True)(x)
    x = keras.layers.LSTM(LSTM_UNITS)(x)
    x = MemberDense(CONFIG.network.fusion, 1, activation="gelu")(x)
    heads = {"direction": keras.layers.Softmax()(MemberDense(2, 1)(x))}
    for head, scale in material.scales.items():
        bounded = BoundedHead(scale.scale, 1)
        heads[head] = bounded(x)
        bounded.start_at(scale.mean)
    return KerasNight(features, heads)


def _rows(name: str, rounds: list[tuple[Course, Course]]) -> list[Row]:
    def sample(of: Any) -> tuple[Sample, Sample]:
        return Sample(values=tuple(of(lstm) for lstm, _ in rounds)), Sample(
            values=tuple(of(ours) for _, ours in rounds)
        )

    theirs, own = sample(lambda course: course.best)
    lstm_seconds = Sample(values=tuple(lstm.reached(lstm.best) for lstm, _ in rounds))
    our_seconds = Sample(values=tuple(ours.reached(lstm.best) for lstm, ours in rounds))
    rows = [
        Row.of_times(f"{name}: until the LSTM's best validation loss", lstm_seconds, our_seconds, REACH),
        Row(
            case=f"{name}: best validation loss",
            unit="loss",
            baseline=theirs,
            ours=own,
            ratio=own.over(theirs),
            at_most=1.0,
        ),
    ]
    for head in rounds[0][0].heads:
        theirs, own = sample(lambda course, head=head: course.heads[head])
        case = f"{name}: of it {head}, without its weight"
        rows.append(Row(case=case, unit="loss", baseline=theirs, ours=own, ratio=own.over(theirs)))
    return rows


if __name__ == "__main__":
    main(measure, "convergence")
