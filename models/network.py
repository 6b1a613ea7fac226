"""The bounded multi-head network, in named stages.

                                    ┌─ direction   softmax over down, up
    summaries ─ standardise ─ hidden ─ fusion (128) ─┼─ volatility  scale × sigmoid
                                    └─ magnitude   scale × sigmoid

`build_trunk` is what is trained, on summaries computed once per series. `build_served` puts the bar features and the
filter bank in front of it, so that the exported network takes raw bars and nothing can differ between the two.
All members of the ensemble live side by side in one network: a leading dimension in every weight.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops

from models.config import NetworkConfig
from models.features import FEATURES, bar_features, filter_weights, scale_free
from models.offset import CLIP, DirectionLine, Offset
from models.panel import INPUT_COLUMNS, FloatArray
from models.records import Scale

_LEAST_SHARE: Final = 1e-6
"""Of the scale: where a start ends, so that its logit is finite."""

register = keras.saving.register_keras_serializable(package="nocturne")


@register
class BarFeatures(layers.Layer):
    """Raw bars [batch, window + 1, 7] → features and presence [batch, window, n_features + 1], float64, no weights."""

    def call(self, bars: Any) -> Any:
        bars = ops.cast(bars, "float64")
        features = bar_features(ops, bars[:, :-1], bars[:, 1:])
        return ops.stack([*features.values(), bars[:, 1:, 6]], axis=-1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        steps = None if shape[1] is None else shape[1] - 1
        return shape[0], steps, len(FEATURES) + 1


@register
class FilterBank(layers.Layer):
    """Exponential filters over a window, renormalised over the present bars, as unit-free summaries (float32)."""

    def __init__(self, window: int, spans: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.spans = tuple(spans)
        self.weights_of_session = filter_weights(window, self.spans)

    def call(self, features: Any) -> Any:
        weights = ops.convert_to_tensor(self.weights_of_session, "float64")
        summed = ops.einsum("btf,ts->bfs", features, weights)
        averages = summed[:, :-1] / ops.maximum(summed[:, -1:], 1e-30)
        return ops.cast(scale_free(ops, averages), "float32")

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return shape[0], len(FEATURES) * len(self.spans)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window, "spans": list(self.spans)}


@register
class Standardise(layers.Layer):
    """(x − mean) / sd per summary, from training rows alone, clipped."""

    def __init__(self, mean: Sequence[float], sd: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = list(mean)
        self.sd = list(sd)

    def call(self, summaries: Any) -> Any:
        mean, sd = (ops.convert_to_tensor(values, "float32") for values in (self.mean, self.sd))
        return ops.clip((summaries - mean) / sd, -CLIP, CLIP)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "sd": self.sd}


@register
class MemberDense(layers.Layer):
    """A dense layer for each member: [batch, n] or [members, batch, n] → [members, batch, units].

    Back and forth, XLA takes longer for a product with two columns than for one with 128, and with one member for one
    column too. With `narrow` one or two units are computed in a form that it is fast at; without XLA that is slower.
    """

    def __init__(
        self, units: int, members: int, activation: str | None = None, narrow: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.members = members
        self.activation = keras.activations.get(activation)
        self.narrow = narrow and units <= 2

    def build(self, shape: Sequence[int | None]) -> None:
        n_inputs = int(shape[-1] or 0)
        limit = (6 / (n_inputs + self.units)) ** 0.5  # Glorot's, of one member: Keras would count them all as fan-in
        uniform = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight((self.members, n_inputs, self.units), initializer=uniform, name="kernel")
        self.bias = self.add_weight((self.members, 1, self.units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return self.activation(self._product(inputs) + self.bias)

    def _product(self, inputs: Any) -> Any:
        if not self.narrow or len(inputs.shape) == 2:
            return ops.matmul(inputs, self.kernel)
        if self.members == 1:
            return ops.einsum("mbi,moi->mbo", inputs, ops.swapaxes(self.kernel, 1, 2))
        units = [ops.matmul(inputs, self.kernel[..., unit : unit + 1]) for unit in range(self.units)]
        return units[0] if self.units == 1 else ops.concatenate(units, axis=-1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return self.members, shape[-2], self.units

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        own = {"units": self.units, "members": self.members, "activation": activation, "narrow": self.narrow}
        return {**super().get_config(), **own}


@register
class Line(layers.Layer):
    """A fixed straight line on the summaries, [batch, n] → [batch]: where the heads start."""

    def __init__(self, slopes: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slopes = list(slopes)

    def call(self, summaries: Any) -> Any:
        return ops.matmul(summaries, ops.convert_to_tensor(self.slopes, "float32"))

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (shape[0],)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slopes": self.slopes}


@register
class StartAt(layers.Layer):
    """Log forecast [batch] → the u at which scale × sigmoid(u) equals exp(forecast + intercept)."""

    def __init__(self, scale: float, intercept: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.intercept = intercept

    def call(self, log_forecast: Any) -> Any:
        level = ops.exp(ops.clip(log_forecast + self.intercept, -30.0, 30.0))
        share = ops.clip(level / self.scale, _LEAST_SHARE, 1 - _LEAST_SHARE)
        return ops.log(share) - ops.log(1 - share)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "intercept": self.intercept}


@register
class BoundedHead(MemberDense):
    """scale × sigmoid(u + start), one value per row and member, inside [0, scale] for any finite input.

    The scale is a weight that is never trained, so it is saved with the model. The end is clipped: rounding can push
    scale × sigmoid past the scale by one unit in the last place.
    """

    def __init__(self, scale: float, members: int, **kwargs: Any) -> None:
        super().__init__(units=1, members=members, **kwargs)
        self.scale_value = scale

    def build(self, shape: Sequence[int | None]) -> None:
        super().build(shape)
        self.scale = self.add_weight(
            (), initializer=keras.initializers.Constant(self.scale_value), trainable=False, name="scale"
        )

    def call(self, inputs: Any, start: Any = 0.0) -> Any:
        u = ops.cast(ops.squeeze(super().call(inputs), -1), "float32")
        return ops.clip(self.scale * ops.sigmoid(u + start), 0.0, self.scale)

    def compute_output_shape(
        self, inputs_shape: Sequence[int | None], start_shape: Sequence[int | None] | None = None
    ) -> tuple[int | None, ...]:
        return self.members, inputs_shape[-2]

    def start_at(self, mean: float) -> None:
        """Set the bias so that a head without input predicts this value, in (0, scale)."""
        share = np.clip(mean / self.scale_value, _LEAST_SHARE, 1 - _LEAST_SHARE)
        self.bias.assign(np.full(self.bias.shape, np.log(share / (1 - share))))

    def get_config(self) -> dict[str, Any]:
        config = {k: v for k, v in super().get_config().items() if k not in ("units", "activation")}
        return {**config, "scale": self.scale_value}


@register
class MemberMean(layers.Layer):
    """Average over the members: bounded stays bounded, a distribution stays a distribution."""

    def call(self, outputs: Any) -> Any:
        return ops.mean(outputs, axis=0)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(shape[1:])


def build_trunk(
    mean: FloatArray,
    sd: FloatArray,
    scales: Mapping[str, Scale],
    config: NetworkConfig,
    members: int,
    offset: Offset | None = None,
    direction_line: DirectionLine | None = None,
    mixed_precision: bool = False,
    xla: bool = False,
) -> keras.Model:
    """The trained part: summaries [batch, n] → each head for each member.

    Args:
        mean: (n,) of the summaries over the training rows.
        sd: (n,) likewise, positive.
        scales: One for each bounded head.
        config: Layers, heads and starting bias.
        members: Networks side by side.
        offset: The line that bounded heads start from; without one they start from their bias.
        direction_line: The line that direction starts from; without one it starts from nothing.
        mixed_precision: Hidden layers and fusion in bfloat16; heads are always float32.
        xla: It is trained by steps that XLA compiles.
    """
    hidden_type = "mixed_bfloat16" if mixed_precision else "float32"
    summaries = keras.Input((len(mean),), name="summaries")
    standardised = x = Standardise(mean.tolist(), sd.tolist(), name="standardise")(summaries)
    for depth, units in enumerate(config.hidden):
        x = MemberDense(units, members, activation="gelu", name=f"hidden_{depth}", dtype=hidden_type)(x)
    x = MemberDense(config.fusion, members, activation="gelu", name="fusion", dtype=hidden_type)(x)
    x = layers.Dropout(config.dropout, name="dropout")(x) if config.dropout else x
    logits = MemberDense(2, members, narrow=xla, name="direction_logits")(x)
    if direction_line is not None:
        odds = Line(direction_line.slopes.tolist(), name="direction_line")(standardised)
        logits = logits + ops.expand_dims(ops.stack([-odds / 2, odds / 2], axis=-1), 0)
    heads = {"direction": layers.Softmax(name="direction")(logits)}
    line = None if offset is None else Line(offset.slopes.tolist(), name="line")(summaries)
    for head in config.heads:
        if head == "direction":
            continue
        bounded = BoundedHead(scales[head].scale, members, narrow=xla, name=head)
        if offset is not None:
            start = StartAt(scales[head].scale, offset.intercepts[head], name=f"{head}_start")(line)
            heads[head] = bounded(x, start)
            continue
        heads[head] = bounded(x)
        if config.bias == "target_mean":
            bounded.start_at(scales[head].mean)
    return keras.Model(summaries, heads, name="trunk")


def build_served(trunk: keras.Model, config: NetworkConfig) -> keras.Model:
    """The exported network: raw bars [batch, window + 1, 7] → the members' average of each head."""
    bars = keras.Input((config.window + 1, len(INPUT_COLUMNS)), name="bars")
    features = BarFeatures(name="bar_features", dtype="float64")(bars)
    summaries = FilterBank(config.window, config.spans, name="filter_bank", dtype="float64")(features)
    heads = trunk(summaries)
    averages = {head: MemberMean(name=f"{head}_mean")(output) for head, output in heads.items()}
    return keras.Model(bars, averages, name="market")
