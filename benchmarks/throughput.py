"""Training by index in a compiled loop, against Keras `fit` on windows that lie in memory: how many rows a second?

Run: `python -m benchmarks.throughput`.
"""

from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from benchmarks.fitting import Clock, KerasNight, dataset_of, keras_targets, material_of, timed_fit, trained
from benchmarks.measuring import Result, Row, Sample, in_turns, main
from models.config import RetrainConfig, TrainingConfig
from models.dataset import Dataset
from models.fit import Fitted, Material
from models.network import BarFeatures, FilterBank
from models.panel import INPUT_COLUMNS, Float32Array, windows
from tests.synthetic_market import market

SYMBOLS: Final = 320
SESSIONS: Final = 900
ROUNDS: Final = 5
TRIAL_ROWS: Final = 16_384
CONFIG: Final = RetrainConfig(training=TrainingConfig(validation_sessions=1, deterministic=False))
"""Determinism would switch off XLA for Keras."""
REACH: Final = 7.0


class Setting(NamedTuple):
    """How Keras trains."""

    batch: int
    steps_per_execution: int
    xla: bool

    def __str__(self) -> str:
        xla = ", XLA" if self.xla else ""
        return f"batch {self.batch}, {self.steps_per_execution} step(s) an execution{xla}"


class Times(NamedTuple):
    """Seconds of an epoch."""

    keras: Sample
    ours: Sample
    """With the batch that is shipped."""
    ours_alike: Sample
    """With the batch of Keras."""


def measure() -> Result:
    """Rows a second of both, for one member and for three."""
    dataset = dataset_of(market(SYMBOLS, SESSIONS, edge=0.3), CONFIG)
    material, seen = material_of(dataset), materialised(dataset)
    preparation = in_turns(ROUNDS, lambda: materialised(dataset), lambda: material_of(dataset))
    n, rows, measured = len(material.train), [], {}
    notes = [
        "With preparation: one epoch and all that comes before it once a night, that is cutting the windows for Keras "
        f"({preparation[0]} s) and computing the summaries for ours ({preparation[1]} s). A night has up to "
        f"{RetrainConfig().training.max_epochs} epochs to share it."
    ]
    for members in (1, 3):
        pair = Pair(material, seen, members)
        setting, told = pair.best_setting()
        notes += [told, f"members = {members}: the two networks' answers differ by at most {pair.difference:.1e}."]
        measured[members] = pair.epochs(setting)
        notes.append(pair.arithmetic(measured[members]))
        rows += _rows(f"members = {members}", n, setting, measured[members], preparation)
    rows.append(_one_after_another(n, measured[1].keras, measured[3].ours))
    return Result(
        name="throughput",
        question="How many rows are trained on in a second?",
        baseline="the same features, filter bank, trunk, losses and AdamW in Keras, by `fit` on windows materialised "
        "in memory, at the fastest of its settings",
        sizes=f"{n:,} training rows of {SYMBOLS} symbols × {SESSIONS} sessions (synthetic); windows "
        f"of {seen.shape[1]} × {seen.shape[2]} float32, {seen.nbytes / 1e6:,.0f} MB, against "
        f"{material.summaries.nbytes / 1e6:,.0f} MB of summaries; {ROUNDS} rounds in turns",
        rows=tuple(rows),
        notes=tuple(notes),
    )


def materialised(dataset: Dataset) -> Float32Array:
    """(n, window + 1, 7) windows of the training rows."""
    return np.concatenate(list(windows(dataset.panel, dataset.train, dataset.config.network.window)))


class Pair:
    """The same function, trained both ways."""

    def __init__(self, material: Material, seen: Float32Array, members: int) -> None:
        self.material, self.seen = material, seen
        self.config = trained(CONFIG, members=members)
        self.targets = keras_targets(material, material.train)
        self.fitted: Fitted = timed_fit(material, self.config, 1)[0]

    @property
    def difference(self) -> float:
        """Largest difference between the heads of both networks on some rows."""
        probe = slice(0, 512)
        ours = self.fitted.trunk(self.material.summaries[self.material.train[probe]])
        theirs = self._model(Setting(1024, 1, False))(self.seen[probe])
        return max(float(np.abs(np.asarray(ours[head]) - np.asarray(theirs[head])).max()) for head in ours)

    def best_setting(self) -> tuple[Setting, str]:
        """The setting at which Keras trains most rows a second, and what each came to."""
        speeds = {
            setting: self._speed(setting)
            for setting in (*(Setting(batch, 1, True) for batch in (256, 1024, 4096)), Setting(1024, 1, False))
        }
        fastest = max(speeds, key=lambda setting: speeds[setting])
        more = [fastest._replace(steps_per_execution=steps) for steps in (4, 16)]
        speeds |= {setting: self._speed(setting) for setting in more}
        told = "; ".join(f"{setting}: {speed:,.0f}" for setting, speed in speeds.items())
        words = f"members = {self.config.training.members}: rows a second of Keras' settings, tried briefly: {told}."
        return max(speeds, key=lambda setting: speeds[setting]), words

    def epochs(self, setting: Setting) -> Times:
        """Seconds of an epoch of each, in turns."""
        model = self._model(setting)
        self._keras_fit(model, setting, 1)
        alike = trained(self.config, batch_size=setting.batch)
        rounds = [
            (
                self._keras_fit(model, setting, 3).epoch,
                *(timed_fit(self.material, config, 4)[1].epoch for config in (self.config, alike)),
            )
            for _ in range(ROUNDS)
        ]
        return Times(*(Sample(values=values) for values in zip(*rounds, strict=True)))

    def arithmetic(self, times: Times) -> str:
        """How much of what the processor can multiply is used: six operations for each weight and row."""
        weights = sum(int(np.prod(one.shape)) for one in self.fitted.trunk.trainable_weights)
        members, batch, width = self.config.training.members, self.config.training.batch_size, CONFIG.network.fusion
        ours, theirs = (6 * weights * len(self.material.train) / one.median / 1e9 for one in (times.ours, times.keras))
        layer = _product_rate((members, batch, width), (members, width, width))
        return (
            f"members = {members}: ours multiplies at {ours:.0f} GFLOP/s and Keras at {theirs:.0f}; a product of one "
            f"layer by itself reaches {layer:.0f}, one of 4096 × 4096 {_product_rate((4096, 4096), (4096, 4096)):.0f}."
        )

    def _speed(self, setting: Setting) -> float:
        model = self._model(setting)
        return TRIAL_ROWS / min(self._keras_fit(model, setting, 3, TRIAL_ROWS).epoch_seconds)

    def _model(self, setting: Setting) -> KerasNight:
        network, training = self.config.network, self.config.training
        bars = keras.Input((network.window + 1, len(INPUT_COLUMNS)))
        features = BarFeatures(dtype="float64")(bars)
        summaries = FilterBank(network.window, network.spans, dtype="float64")(features)
        model = KerasNight(bars, self.fitted.trunk(summaries))
        optimizer = keras.optimizers.AdamW(training.learning_rate, weight_decay=training.weight_decay)
        model.compile(optimizer, steps_per_execution=setting.steps_per_execution, jit_compile=setting.xla)
        return model.learn(self.material, self.config, self.fitted.head_weights)

    def _keras_fit(self, model: KerasNight, setting: Setting, epochs: int, rows: int | None = None) -> Clock:
        clock = Clock()
        note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock(epoch, epochs, 0.0, 0.0))
        targets: dict[str, Any] = {head: values[:rows] for head, values in self.targets.items()}
        model.fit(self.seen[:rows], targets, batch_size=setting.batch, epochs=epochs, verbose=0, callbacks=[note])
        return clock


def _product_rate(left: tuple[int, ...], right: tuple[int, ...]) -> float:
    """GFLOP/s of a product of matrices, or of several at once, in TensorFlow."""
    one, another = tf.random.normal(left), tf.random.normal(right)
    repeats = max(1, int(1e10 / (2 * np.prod(left) * right[-1])))

    def multiply() -> None:
        for _ in range(repeats):
            product = tf.matmul(one, another)
        product.numpy()

    multiply()
    return float(2 * np.prod(left) * right[-1] * repeats / in_turns(ROUNDS, multiply)[0].median / 1e9)


def _rows(case: str, n: int, setting: Setting, times: Times, preparation: tuple[Sample, ...]) -> list[Row]:
    cut, summarised = (one.median for one in preparation)
    compared = (
        (f"{case}, an epoch: Keras with {setting}; ours as shipped", times.keras, times.ours, REACH),
        (f"{case}, an epoch: the same; ours with batch {setting.batch} too", times.keras, times.ours_alike, REACH),
        (f"{case}, with preparation", times.keras.plus(cut), times.ours.plus(summarised), None),
    )
    return [Row.of_rates(what, "rows/s", one.per(n), another.per(n), reach) for what, one, another, reach in compared]


def _one_after_another(n: int, one: Sample, ours: Sample) -> Row:
    """The same ensemble as Keras users train it."""
    three = Sample(values=tuple(3 * value for value in one.values))
    case = "members = 3, an epoch: Keras fits three networks, one after another"
    return Row.of_rates(case, "rows/s", three.per(n), ours.per(n))


if __name__ == "__main__":
    main(measure, "throughput")
