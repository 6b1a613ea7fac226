"""Percentiles of the targets, recomputed each night on training sessions only, and the scale of each bounded head."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from models.config import BoundedHead, TargetsConfig
from models.panel import FloatArray
from models.records import Scale

LEVELS: Final = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)


def target_percentiles(values: FloatArray) -> dict[str, float]:
    """p1 … p99.9 and max of the finite values; linear interpolation (Hyndman & Fan 1996, type 7)."""
    at = np.percentile(values, LEVELS)
    return {
        **{f"p{level:g}": float(value) for level, value in zip(LEVELS, at, strict=True)},
        "max": float(values.max()),
    }


def head_scale(
    head: BoundedHead, values: FloatArray, config: TargetsConfig, history: Sequence[Mapping[str, float | None]] = ()
) -> Scale:
    """The scale of one bounded head, from the training targets alone.

    Args:
        head: volatility or magnitude.
        values: (n,) finite training targets, n ≥ 1.
        config: The rule, its factors and the band in which an earlier scale stays.
        history: Facts of the last nights, oldest first, as the ledger kept them.
    """
    percentiles = target_percentiles(values)
    proposed = proposed_scale(head, percentiles, config)
    scale = _held(proposed, _earlier(head, history), config) if config.scale_rule == "percentile" else proposed
    return Scale(
        head=head,
        scale=scale,
        proposed=proposed,
        mean=float(values.mean()),
        median=percentiles["p50"],
        percentiles=percentiles,
        clipped_share=float(np.mean(values > scale)),
        rows=len(values),
    )


def proposed_scale(head: BoundedHead, percentiles: Mapping[str, float], config: TargetsConfig) -> float:
    """What the rule says tonight, before the band of earlier nights is asked."""
    if config.scale_rule == "fixed":
        fixed: float = getattr(config.fixed_scales, head)
        return fixed
    if config.scale_rule == "headroom":
        return round_up(getattr(config.headroom, head) * percentiles["max"])
    return round_up(max(3 * percentiles["p99"], 1.5 * percentiles["p99.9"]))


def round_up(value: float) -> float:
    """The next number of two significant digits: 0.1498 → 0.15. A rounding error in the last place does not count.

    Raises:
        ValueError: the value is not positive; a scale of zero would be a head that can only say zero.
    """
    if not value > 0:
        raise ValueError(f"a scale must be positive, got {value}")
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.6g}")


def _earlier(head: BoundedHead, history: Sequence[Mapping[str, float | None]]) -> list[tuple[float, float]]:
    pairs = [(night.get(f"{head}_scale"), night.get(f"{head}_proposed")) for night in history]
    return [(scale, proposed) for scale, proposed in pairs if scale is not None and proposed is not None]


def _held(proposed: float, earlier: list[tuple[float, float]], config: TargetsConfig) -> float:
    """Last night's scale, unless proposals have been outside its band for `scale_nights` nights, tonight included."""
    if not earlier:
        return proposed
    scale = earlier[-1][0]
    nights = config.scale_nights - 1
    recent = [proposal for _, proposal in earlier[len(earlier) - nights :]] if nights else []
    outside = [not abs(value / scale - 1) <= config.scale_band for value in (*recent, proposed)]
    return proposed if len(outside) == config.scale_nights and all(outside) else scale
