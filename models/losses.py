"""Losses of the heads, row by row. What each teaches its head to predict stands in `models.config.FUNCTIONALS`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from keras import ops

from models.config import BoundedLoss, HeadLosses
from models.records import Scale

Loss = Callable[[Any, Any, Scale], Any]

_FLOOR: Final = 1e-3
"""Share of the scale below which a prediction counts as this share: keeps ratios finite."""


def direction_loss(direction: Any, probabilities: Any) -> Any:
    """Cross-entropy; rows without a direction (exact zeros) count nothing.

    Args:
        direction: (batch,) 1 up, 0 down, NaN none.
        probabilities: (members, batch, 2) of down, up.

    Returns:
        (members, batch), in nats.
    """
    known = ops.logical_not(ops.isnan(direction))
    up = ops.where(known, direction, 0.0)
    chosen = up * probabilities[..., 1] + (1 - up) * probabilities[..., 0]
    return ops.where(known, -ops.log(ops.maximum(chosen, 1e-7)), 0.0)


def bounded_loss(head: str, losses: HeadLosses) -> Loss:
    """Configured loss of a bounded head: f(target clipped to the scale, prediction, scale) → loss of each row."""
    return _LOSSES[getattr(losses, head)]


def mse(target: Any, predicted: Any, scale: Scale) -> Any:
    """Squared error: teaches the mean."""
    return (target - predicted) ** 2


def huber(target: Any, predicted: Any, scale: Scale) -> Any:
    """Keras' Huber loss with δ = 1: for targets below 0.6 exactly mse / 2, no robustness at all."""
    error = ops.abs(target - predicted)
    return ops.where(error <= 1.0, 0.5 * error**2, error - 0.5)


def bce(target: Any, predicted: Any, scale: Scale) -> Any:
    """Cross-entropy of target / scale, the matching loss of a scaled sigmoid: never vanishes, teaches the mean."""
    share = ops.clip(predicted / scale.scale, 1e-7, 1 - 1e-6)
    aim = target / scale.scale
    return -(aim * ops.log(share) + (1 - aim) * ops.log(1 - share))


def qlike(target: Any, predicted: Any, scale: Scale) -> Any:
    """y²/ŷ² − log(y²/ŷ²) − 1 (Patton 2011): teaches the second moment, robust to noise in y."""
    floor = _FLOOR * scale.scale
    ratio = (ops.maximum(target, floor) / ops.maximum(predicted, floor)) ** 2
    return ratio - ops.log(ratio) - 1


def relative_l1(target: Any, predicted: Any, scale: Scale) -> Any:
    """|y − ŷ| in units of the mean target: teaches the median."""
    return ops.abs(target - predicted) / scale.mean


_LOSSES: Final[Mapping[BoundedLoss, Loss]] = {
    "mse": mse,
    "huber": huber,
    "bce": bce,
    "qlike": qlike,
    "relative_l1": relative_l1,
}
