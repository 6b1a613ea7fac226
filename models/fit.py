"""Fitting: rows gathered by index inside one compiled loop, epochs chosen by the validation sessions."""

import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from models.config import RetrainConfig, TrainingConfig
from models.errors import TrainingFailed
from models.features import ALIGNMENT
from models.losses import bounded_loss, direction_loss
from models.network import build_trunk
from models.offset import DIRECTION_RIDGES, Standardisation, fit_direction_line, fit_offset
from models.panel import Float32Array, IntArray
from models.records import Scale
from models.targets import Targets

log = logging.getLogger(__name__)

_PROBE_ROWS: Final = 4096
"""Rows on which the heads' gradients are measured once."""
_SMALL: Final = 0.1
"""Of their ordinary size: the bounded heads' kernels while their gradients are measured."""
_STEPS_AT_ONCE: Final = 256
"""Steps in one call of the compiled loop at most; between two calls the clock and the losses are looked at."""
_VALIDATED_AT_ONCE: Final = 32_768
"""Rows; all of a large universe's would take more memory than their summaries."""
_XLA_FROM: Final = 100_000
"""Training rows; with fewer, compilation takes longer than the shorter steps save (docs/model.md)."""
_VECTOR_WIDTH: Final = "--xla_cpu_prefer_vector_width"
_EXPLODED: Final = 100.0
"""A batch's loss this many times as large as the first one's is no noise."""

Progress = Callable[[int, int, float, float], None]
"""Called after each epoch with epoch, max_epochs, validation loss (training loss without validation rows) and seconds
left at most."""


@dataclass(frozen=True)
class Material:
    """All that a fit reads. Row indices point into the summaries and the targets."""

    summaries: Float32Array
    """(M, n) of every row, present or not."""
    targets: Targets
    train: IntArray
    validation: IntArray
    scales: Mapping[str, Scale]


@dataclass(frozen=True)
class Course:
    """What the validation of other fits has chosen, for one that has none of its own."""

    epochs: int
    penalty: float | None
    """Of the line that direction starts from; None where it starts from nothing."""


@dataclass(frozen=True)
class Fitted:
    """The trunk with its best weights, and how it came to them."""

    trunk: keras.Model
    epochs: int
    """Epoch whose weights were kept."""
    curves: tuple[dict[str, float], ...]
    """One row an epoch: epoch, loss and, with validation rows, val_loss and val_<head> for each."""
    head_weights: Mapping[str, float]
    head_shares: Mapping[str, float]
    """Share of the gradient on the fusion layer that each head has with its weight, when training starts."""
    penalty: float | None
    """Of the line that direction starts from."""
    threads: int
    """CPU threads that TensorFlow really had."""
    device: str
    seconds: float
    cut_short: bool
    """Whether `training.max_seconds` ended it."""


def fit(
    material: Material, config: RetrainConfig, progress: Progress | None = None, course: Course | None = None
) -> Fitted:
    """Train all members from scratch and keep the weights of the best validation epoch.

    Args:
        material: What is read; its validation rows are not looked at when there is a course.
        config: Of the night.
        progress: Told each epoch.
        course: Epochs and penalty, if they were chosen elsewhere; then the last epoch's weights are kept.

    Raises:
        TrainingFailed: no training or validation rows, or a loss that is not finite.
    """
    training = config.training
    if not (len(material.train) and (course or len(material.validation))):
        raise TrainingFailed(
            f"Cannot fit: {len(material.train)} training and {len(material.validation)} validation rows. "
            f"Bring more history, or lower training.validation_sessions or network.window."
        )
    settle(training)
    clock = _Clock(time.monotonic(), training.max_seconds)
    loop = _Loop(material, config, course)
    curves, best = _run(loop, clock, progress)
    if not best.epoch:
        raise TrainingFailed(
            f"The validation loss was not finite in any of {len(curves)} epochs. Look for extreme values among the "
            f"targets (the report's percentiles) or lower training.learning_rate = {training.learning_rate}."
        )
    loop.trunk.set_weights(best.weights)
    if clock.is_over:
        log.warning(
            "training.max_seconds = %g ended the fit in epoch %d: its weights depend on how fast this machine was",
            training.max_seconds,
            len(curves),
        )
    fitted = Fitted(
        trunk=loop.trunk,
        epochs=best.epoch,
        curves=tuple(curves),
        head_weights=loop.head_weights,
        head_shares=loop.head_shares,
        penalty=loop.penalty,
        threads=tf.config.threading.get_intra_op_parallelism_threads(),
        device=_device(),
        seconds=clock.elapsed,
        cut_short=clock.is_over,
    )
    del loop
    gc.collect()  # the compiled functions hold the loop and its tensors in a cycle: a second fit needs the memory
    return fitted


def _run(loop: "_Loop", clock: "_Clock", progress: Progress | None) -> tuple[list[dict[str, float]], "_Best"]:
    """All epochs: their curves, and the best of them."""
    training, course = loop.config.training, loop.course
    shuffle = np.random.default_rng(training.seed)
    curves: list[dict[str, float]] = []
    best = _Best(np.inf, 0, [])
    epochs = course.epochs if course else training.max_epochs
    for epoch in range(1, epochs + 1):
        batches = _batches(shuffle.permutation(loop.material.train), training.batch_size)
        loss = loop.epoch(batches, epoch, clock)
        curves.append({"epoch": float(epoch), "loss": loss, **({} if course else loop.validation_losses())})
        judged = loss if course else curves[-1]["val_loss"]
        if course or judged < best.loss:
            best = _Best(judged, epoch, loop.trunk.get_weights())
        if progress:
            progress(epoch, epochs, judged, clock.left_at_most(epoch, epochs))
        if epoch - best.epoch >= training.patience or clock.is_over:
            break
    return curves, best


def settle(training: TrainingConfig) -> None:
    """Seeds, threads and determinism, set in this one place before the first operation runs."""
    _use_whole_vectors()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(training.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow fixes its threads at the first operation of a process
        threads = tf.config.threading.get_intra_op_parallelism_threads()
        if threads != training.threads:
            log.warning("TensorFlow already runs with %s threads, not training.threads = %s", threads, training.threads)
    keras.utils.set_random_seed(training.seed)
    tf.config.experimental.enable_tensor_float_32_execution(training.mixed_precision)  # 10 bits, unasked, on a GPU
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    if training.require_gpu and not tf.config.list_physical_devices("GPU"):
        raise TrainingFailed(_no_gpu())


def _use_whole_vectors() -> None:
    """Tell XLA, which reads its flags at its first compilation: it would use half of what a processor's vectors hold.

    A width that somebody has set stands; it decides the last digits of weights. Where vectors are shorter the flag
    changes nothing.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _VECTOR_WIDTH not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_VECTOR_WIDTH}=512".strip()


def _pays_for_xla(training: TrainingConfig, rows: int) -> bool:
    """Where a fit is long enough; asked for, always."""
    return rows >= _XLA_FROM if training.xla == "auto" else training.xla == "always"


def _device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"


def _no_gpu() -> str:
    found = ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())
    built = "with CUDA" if tf.test.is_built_with_cuda() else "without CUDA"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        f"training.require_gpu is set and TensorFlow {tf.__version__}, built {built}, finds no GPU here: only {found}, "
        f"with CUDA_VISIBLE_DEVICES {'not set' if visible is None else repr(visible)}. Send the run to a worker that "
        f"has one (docs/operating.md), check `nvidia-smi` and the driver there, or set training.require_gpu = false."
    )


@dataclass(frozen=True)
class _Clock:
    """How long a fit may take."""

    started: float
    max_seconds: float

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def is_over(self) -> bool:
        return self.elapsed > self.max_seconds

    def left_at_most(self, epoch: int, max_epochs: int) -> float:
        """Seconds, if all epochs are needed and take as long as those so far."""
        return min((max_epochs - epoch) * self.elapsed / epoch, max(self.max_seconds - self.elapsed, 0.0))


@dataclass(frozen=True)
class _Best:
    loss: float
    epoch: int
    weights: list[np.ndarray]


class _Loop:
    """The night's rows as tensors, the trunk, and the compiled steps over them."""

    def __init__(self, material: Material, config: RetrainConfig, course: Course | None = None) -> None:
        self.material = material
        self.config = config
        self.course = course
        xla = _pays_for_xla(config.training, len(material.train))
        self.trunk, self.penalty = _new_trunk(material, config, course, xla)
        self.bounded = [head for head in self.trunk.output if head != "direction"]
        self.summaries = _tensor(material.summaries)
        self.targets = {"direction": tf.constant(material.targets.direction, tf.float32)}
        for head in self.bounded:
            clipped = np.minimum(getattr(material.targets, head), material.scales[head].scale)
            self.targets[head] = tf.constant(clipped, tf.float32)
        self.head_weights, self.head_shares = self._balance()
        self.first_loss: float | None = None
        # The first prediction of a head that starts from a line is the line's own; the network adds what it learns.
        if config.network.offset != "none":
            self._scale_kernels(self.bounded, 0.0)
        if config.network.direction_offset != "none":
            self._scale_kernels(["direction_logits"], 0.0)
        self.optimizer = _optimizer(self.trunk, config.training)
        self._pass = tf.function(self._steps, autograph=False, jit_compile=xla, reduce_retracing=not xla)

    def epoch(self, batches: Any, epoch: int, clock: _Clock) -> float:
        """One pass over (calls, steps, batch) row indices → mean weighted loss; cut short when the time is over.

        Raises:
            TrainingFailed: a batch's loss is not finite, or many times what training began with.
        """
        losses: list[float] = []
        for steps in batches:
            losses += self._pass(steps).numpy().tolist()
            self.first_loss = self.first_loss or losses[0]
            bad = [step for step, loss in enumerate(losses) if not abs(loss) <= _EXPLODED * abs(self.first_loss)]
            if bad:
                raise TrainingFailed(self._exploded(losses[bad[0]], epoch, bad[0], batches))
            if clock.is_over:
                break
        return float(np.mean(losses))

    def _steps(self, batches: Any) -> Any:
        """(steps, batch) → (steps,) weighted loss of each step, mean over the members; one step after another."""
        return tf.map_fn(self._step, batches, fn_output_signature=tf.float32)

    def _step(self, rows: Any) -> Any:
        variables = self.trunk.trainable_variables
        summaries, targets = self._at(rows)
        with tf.GradientTape() as tape:
            loss = self._weighted(self._losses(self.trunk(summaries, training=True), targets))
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss / self.config.training.members

    def _exploded(self, loss: float, epoch: int, step: int, batches: Any) -> str:
        """Says which batch it was and what is extreme in it."""
        batches = tf.reshape(batches, (-1, batches.shape[-1]))
        summaries, targets = self._at(batches[step])
        largest = [f"|summary| {np.abs(summaries).max():.3g}"]
        largest += [f"{head} target {np.max(targets[head]):.3g}" for head in self.bounded]
        return (
            f"The loss became {loss:.4g} in epoch {epoch}, batch {step} of {len(batches)}; it began with "
            f"{self.first_loss:.4g}. The largest values of that batch: {', '.join(largest)}. Lower "
            f"training.learning_rate, or look for extreme values among the targets (the report's percentiles)."
        )

    def validation_losses(self) -> dict[str, float]:
        """Loss of the members' average, which is what serves: val_loss and val_<head>."""
        rows = self.material.validation
        blocks = np.split(rows, range(_VALIDATED_AT_ONCE, len(rows), _VALIDATED_AT_ONCE))
        parts = [self._averaged_losses(block) for block in blocks]
        sizes = [len(block) for block in blocks]
        losses = {head: float(np.average([part[head] for part in parts], weights=sizes)) for head in parts[0]}
        total = sum(self.head_weights[head] * loss for head, loss in losses.items())
        return {"val_loss": total, **{f"val_{head}": loss for head, loss in losses.items()}}

    def _averaged_losses(self, rows: Any) -> dict[str, Any]:
        """Not compiled: once an epoch that would take longer than it saves."""
        summaries, targets = self._at(rows)
        outputs = self.trunk(summaries)
        averages = {head: tf.reduce_mean(output, axis=0, keepdims=True) for head, output in outputs.items()}
        return {head: loss[0] for head, loss in self._losses(averages, targets).items()}

    def _at(self, rows: Any) -> tuple[Any, dict[str, Any]]:
        return tf.gather(self.summaries, rows), {head: tf.gather(y, rows) for head, y in self.targets.items()}

    def _losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Any]:
        """Mean loss of each head over the rows, (members,)."""
        losses = {"direction": direction_loss(targets["direction"], outputs["direction"])}
        for head in self.bounded:
            bounded = bounded_loss(head, self.config.training.losses)
            losses[head] = bounded(targets[head], outputs[head], self.material.scales[head])
        return {head: tf.reduce_mean(loss, axis=-1) for head, loss in losses.items()}

    def _weighted(self, losses: Mapping[str, Any]) -> Any:
        return tf.add_n([self.head_weights[head] * tf.reduce_sum(loss) for head, loss in losses.items()])

    def _balance(self) -> tuple[dict[str, float], dict[str, float]]:
        """Weights that give each head its share of the gradient on the fusion layer: measured once, then fixed.

        Returns:
            The weights, and the shares that come of them.
        """
        norms = self._gradient_norms()
        asked = self.config.training.gradient_shares
        weights = dict.fromkeys(norms, 1.0)
        if asked is not None:
            unit = norms["direction"] / asked.direction
            weights = {head: getattr(asked, head) * unit / norm for head, norm in norms.items()}
        total = sum(weights[head] * norm for head, norm in norms.items())
        shares = {head: weights[head] * norm / total for head, norm in norms.items()}
        told = (f"{head} {weights[head]:.3g} ({share:.1%} of the gradient)" for head, share in shares.items())
        log.info("head weights: %s", ", ".join(told))
        return weights, shares

    def _gradient_norms(self) -> dict[str, float]:
        """Norm of each head's gradient on the fusion layer, over some of the training rows.

        The kernels of the bounded heads are small while it is measured, so that the predictions lie where training
        starts; a gradient on the fusion layer is proportional to its head's kernel, which is made up for.
        """
        probe = keras.Model(self.trunk.input, {**self.trunk.output, "fusion": self.trunk.get_layer("fusion").output})
        stride = max(1, len(self.material.train) // _PROBE_ROWS)
        summaries, targets = self._at(self.material.train[::stride])
        self._scale_kernels(self.bounded, _SMALL)
        with tf.GradientTape(persistent=True) as tape:
            outputs = probe(summaries)
            losses = self._losses(outputs, targets)
        norms = {head: float(tf.norm(tape.gradient(loss, outputs["fusion"]))) for head, loss in losses.items()}
        self._scale_kernels(self.bounded, 1 / _SMALL)
        return norms | {head: norms[head] / _SMALL for head in self.bounded}

    def _scale_kernels(self, names: Iterable[str], factor: float) -> None:
        for name in names:
            kernel = self.trunk.get_layer(name).kernel
            kernel.assign(kernel * factor)


def _tensor(summaries: Float32Array) -> Any:
    """The summaries in GPU memory where there is one; else, by far the largest array of a night, without a copy."""
    if tf.config.list_physical_devices("GPU") or summaries.ctypes.data % ALIGNMENT:
        return tf.constant(summaries)
    return tf.experimental.dlpack.from_dlpack(summaries.__dlpack__())


def _new_trunk(
    material: Material, config: RetrainConfig, course: Course | None, xla: bool
) -> tuple[keras.Model, float | None]:
    """The trunk before training, and the penalty of the line that its direction starts from."""
    network, training = config.network, config.training
    summaries, targets, train = material.summaries, material.targets, material.train
    scaling = Standardisation.of(summaries, train)
    offset = line = None
    if network.offset == "log_har":
        offset = fit_offset(summaries, targets, train, scaling, network.spans, training.losses)
    if network.direction_offset == "ridge":
        chosen = course.penalty if course else None
        penalties = DIRECTION_RIDGES if chosen is None else (chosen,)
        line = fit_direction_line(summaries, targets.direction, train, material.validation, scaling, penalties)
        log.info("direction starts from a line with penalty %g", line.penalty)
    trunk = build_trunk(
        scaling.mean,
        scaling.sd,
        material.scales,
        network,
        training.members,
        offset,
        line,
        training.mixed_precision,
        xla,
    )
    return trunk, None if line is None else line.penalty


def _optimizer(trunk: keras.Model, training: TrainingConfig) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW(training.learning_rate, weight_decay=training.weight_decay)
    heads = [layer for layer in trunk.layers if layer.name in ("direction_logits", "volatility", "magnitude")]
    biases = [variable for variable in trunk.trainable_variables if variable.name == "bias"]
    optimizer.exclude_from_weight_decay(var_list=[*biases, *(layer.kernel for layer in heads)])
    optimizer.build(trunk.trainable_variables)
    return optimizer


def _batches(rows: IntArray, size: int) -> Any:
    """(calls, steps, batch) of shuffled rows; the few that are left over wait for the next epoch's shuffle.

    All calls have as many steps: another number of them would be another loop to compile.
    """
    size = min(size, len(rows))
    calls = math.ceil(len(rows) // size / _STEPS_AT_ONCE)
    steps = len(rows) // size // calls
    return tf.constant(rows[: calls * steps * size].reshape(calls, steps, size), tf.int32)
