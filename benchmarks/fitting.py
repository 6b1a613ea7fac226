"""Training as a night does it, with its seconds and losses by epoch."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from models.config import RetrainConfig
from models.dataset import Dataset
from models.features import summaries
from models.fit import Fitted, Material, fit
from models.losses import bounded_loss, direction_loss
from models.panel import Float32Array, FloatArray, IntArray, build_panel
from models.targets import compute_targets


@dataclass
class Clock:
    """Notes when each epoch ended, and its validation loss."""

    ended: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __call__(self, epoch: int, max_epochs: int, val_loss: float, seconds_left: float) -> None:
        self.ended.append(time.perf_counter())
        self.losses.append(val_loss)

    @property
    def epoch_seconds(self) -> tuple[float, ...]:
        """Of every epoch but the first, in which the loop is compiled."""
        return tuple(np.diff(self.ended).tolist())

    @property
    def epoch(self) -> float:
        """Median of them."""
        return statistics.median(self.epoch_seconds)


class KerasNight(keras.Model):
    """A network whose heads learn from the losses and weights of a night, by Keras' own `fit`."""

    def learn(self, material: Material, config: RetrainConfig, head_weights: Any) -> "KerasNight":
        """Set what the loss is made of."""
        self.scales, self.losses_of, self.head_weights = material.scales, config.training.losses, dict(head_weights)
        return self

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        losses = self.head_losses(y, y_pred)
        return sum(weight * losses[head] for head, weight in self.head_weights.items())

    def head_losses(self, targets: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Loss of each head, mean over the rows, summed over the members as in a night."""
        losses = {"direction": direction_loss(targets["direction"], outputs["direction"])}
        for head, scale in self.scales.items():
            losses[head] = bounded_loss(head, self.losses_of)(targets[head], outputs[head], scale)
        return {head: ops.sum(ops.mean(loss, axis=-1)) for head, loss in losses.items()}


def dataset_of(bars: pd.DataFrame, config: RetrainConfig) -> Dataset:
    """Panel and targets of canonical bars; the candidate alone is judged, so it has validation rows of its own."""
    panel = build_panel(bars, config.data)
    single = config.model_copy(update={"gate": config.gate.model_copy(update={"folds": "single"})})
    return Dataset(bars, panel, compute_targets(panel, config.targets), single)


def material_of(dataset: Dataset) -> Material:
    """What a night's fit reads."""
    network = dataset.config.network
    seen = summaries(dataset.panel, network.window, network.spans)
    return Material(seen, dataset.targets, dataset.train, dataset.validation, dataset.scales())


def trained(config: RetrainConfig, **changes: Any) -> RetrainConfig:
    """The configuration with other settings of training."""
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def timed_fit(material: Material, config: RetrainConfig, epochs: int) -> tuple[Fitted, Clock]:
    """A fit of this many epochs, never stopped early, with the time of each."""
    clock = Clock()
    return fit(material, trained(config, max_epochs=epochs, patience=epochs), clock), clock


def keras_targets(material: Material, rows: IntArray) -> dict[str, Float32Array]:
    """Targets of these rows, clipped to the scales as in a night's training."""
    bounded: dict[str, FloatArray] = {
        head: np.minimum(getattr(material.targets, head)[rows], scale.scale) for head, scale in material.scales.items()
    }
    return {
        head: values.astype(np.float32)
        for head, values in {"direction": material.targets.direction[rows], **bounded}.items()
    }
