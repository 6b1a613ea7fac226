"""The bounded network: what it promises, and what the origin's heads did instead."""

import gc
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.config import DataConfig, HeadLosses, NetworkConfig, RetrainConfig, TargetsConfig, TrainingConfig
from models.errors import TrainingFailed
from models.features import FEATURES, summaries
from models.panel import build_panel, eligible, windows
from models.percentiles import head_scale
from models.scores import direction_auc, qlike
from models.splits import history, rows_between, single_fold, usable_rows
from models.targets import compute_targets

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from models.card import ModelCard, read_card  # noqa: E402
from models.export import export_candidate  # noqa: E402
from models.fit import Material, _batches, _Loop, _pays_for_xla, fit, settle  # noqa: E402
from models.network import BoundedHead, MemberDense, build_served, build_trunk  # noqa: E402
from models.offset import Standardisation, fit_direction_line, fit_offset  # noqa: E402
from models.serving import ServedModel, disagreement  # noqa: E402

CONFIG = RetrainConfig(
    network=NetworkConfig(window=21, spans=(1, 3, 8), hidden=(32,), fusion=32),
    training=TrainingConfig(validation_sessions=20, members=2, max_epochs=6, batch_size=256, learning_rate=3e-3),
)
HEADS = ("volatility", "magnitude")


def prepare(bars: pd.DataFrame, config: RetrainConfig):
    """Panel, material, split and usable rows of a market, as the stages of a night make them."""
    panel = build_panel(bars, config.data)
    targets = compute_targets(panel, config.targets)
    rows = usable_rows(panel, targets, config)
    split = single_fold(history(panel, targets, config), targets.reach, config)
    train, validation = (rows_between(panel, rows, part) for part in (split.train, split.validation))
    scales = {head: head_scale(head, getattr(targets, head)[train], config.targets) for head in HEADS}
    seen = summaries(panel, config.network.window, config.network.spans)
    return panel, Material(seen, targets, train, validation, scales), split, rows


@pytest.fixture(scope="module")
def planted(make_market):
    """A market whose relative returns reverse, with absent bars."""
    bars = make_market(n_symbols=40, n_sessions=260, edge=0.35, seed=3)
    gone = np.random.default_rng(0).choice(len(bars), 60, replace=False)
    return bars.drop(index=gone).reset_index(drop=True)


@pytest.fixture(scope="module")
def fitted(planted):
    config = CONFIG.model_copy(update={"targets": TargetsConfig(horizon_sessions=2)})
    panel, material, split, rows = prepare(planted, config)
    return config, panel, material, rows_between(panel, rows, split.evidence), fit(material, config)


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory):
    config, panel, material, evidence, result = fitted
    directory = tmp_path_factory.mktemp("candidate")
    card = ModelCard.of(
        config,
        {head: scale.scale for head, scale in material.scales.items()},
        version="v1", recipe="r", session="2015-12-31", trained_until="2015-10-01", epochs=result.epochs,
    )  # fmt: skip
    export_candidate(result.trunk, card, next(windows(panel, evidence[:16], config.network.window)), directory)
    return directory


def averaged(trunk, rows):
    return {head: np.asarray(output).mean(axis=0) for head, output in trunk(rows).items()}


def test_it_learns_the_planted_direction(fitted):
    _, _, material, evidence, result = fitted
    p_up = averaged(result.trunk, material.summaries[evidence])["direction"][:, 1]
    assert direction_auc(material.targets.direction[evidence], p_up) > 0.55


def test_its_volatility_says_more_than_a_constant(fitted):
    _, _, material, evidence, result = fitted
    target = material.targets.volatility[evidence]
    predicted = averaged(result.trunk, material.summaries[evidence])["volatility"]
    constant = np.full_like(target, np.sqrt((target**2).mean()))
    assert qlike(target, predicted) < qlike(target, constant)


def test_the_exported_network_equals_the_training_path_at_every_eligible_row(fitted):
    config, panel, material, _, result = fitted
    rows = np.flatnonzero(eligible(panel, config.network.window, config.data.min_present))
    served = build_served(result.trunk, config.network)
    bars = np.concatenate(list(windows(panel, rows, config.network.window)))
    expected = averaged(result.trunk, material.summaries[rows])
    for head, output in served(bars).items():
        np.testing.assert_allclose(np.asarray(output), expected[head], atol=1e-5)


def test_a_loaded_model_gives_one_row_alone_in_a_batch_and_with_later_bars_the_same(exported, planted, fitted):
    config, panel, _, evidence, _ = fitted
    model = ServedModel(exported)
    assert disagreement(model, planted, panel, evidence[::400], config.data) < 1e-6


def test_a_loaded_model_says_what_it_is(exported):
    card = read_card(exported)
    assert card.functionals == {"volatility": "root mean square", "magnitude": "mean"}
    assert card.retrain_config.network == CONFIG.network


def test_the_same_seed_gives_bit_identical_weights(fitted):
    config, _, material, _, first = fitted
    again = fit(material, config)
    for before, after in zip(first.trunk.get_weights(), again.trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_each_head_gets_its_share_of_the_gradient(fitted):
    weights = fitted[-1].head_weights
    assert weights["direction"] == pytest.approx(1.0)
    assert 0 < weights["volatility"] < 1


def test_a_direction_alone_can_be_trained(planted):
    network = CONFIG.network.model_copy(update={"heads": ("direction",)})
    config = CONFIG.model_copy(
        update={"network": network, "training": CONFIG.training.model_copy(update={"max_epochs": 1})}
    )
    _, material, _, _ = prepare(planted, config)
    assert list(fit(material, config).trunk.output) == ["direction"]


def test_a_loss_that_is_not_finite_names_its_batch(fitted):
    config, _, material, _, _ = fitted
    poisoned = material.summaries.copy()
    poisoned[material.train[7]] = np.nan
    with pytest.raises(TrainingFailed, match=r"batch \d+ of"):
        fit(Material(poisoned, material.targets, material.train, material.validation, material.scales), config)


def test_a_loss_that_explodes_names_its_batch_and_what_is_extreme_in_it(fitted, monkeypatch):
    monkeypatch.setattr("models.fit._EXPLODED", 1.02)
    config, _, material, _, _ = fitted
    with pytest.raises(TrainingFailed, match=r"epoch \d+, batch \d+ of \d+; it began with .*volatility target"):
        fit(material, config)


@pytest.mark.parametrize("rows", [1, 7, 300, 256 * 8, 257 * 8, 1139 * 8 + 5, 66_049 * 8])
def test_every_call_of_the_compiled_loop_takes_as_many_steps_and_few_rows_wait(rows):
    shuffled = np.random.default_rng(1).permutation(rows)
    batches = _batches(shuffled, 8)
    calls, steps, size = batches.shape
    assert steps <= 256
    assert size == min(8, rows)
    np.testing.assert_array_equal(np.ravel(batches), shuffled[: calls * steps * size])
    assert rows - calls * steps * size < size * calls <= size + rows / 256


def test_a_fit_ends_in_the_middle_of_an_epoch_when_its_time_is_over_and_says_so(fitted, monkeypatch, caplog):
    monkeypatch.setattr("models.fit._STEPS_AT_ONCE", 2)
    config, _, material, _, _ = fitted
    training = config.training.model_copy(update={"max_seconds": 1e-3})
    result = fit(material, config.model_copy(update={"training": training}))
    assert result.epochs == 1
    assert len(result.curves) == 1
    assert result.cut_short
    assert "training.max_seconds = 0.001 ended the fit in epoch 1" in caplog.text


def test_nothing_of_a_fit_but_its_result_stays_in_memory(fitted):
    config, _, material, _, _ = fitted
    result = fit(material, config.model_copy(update={"training": config.training.model_copy(update={"max_epochs": 1})}))
    assert result.trunk.get_weights()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, _Loop)]


@pytest.mark.parametrize(
    ("xla", "rows", "compiled"),
    [("auto", 99_999, False), ("auto", 100_000, True), ("never", 10**7, False), ("always", 1, True)],
)
def test_steps_are_compiled_where_that_pays_or_is_asked_for(xla, rows, compiled):
    assert _pays_for_xla(CONFIG.training.model_copy(update={"xla": xla}), rows) is compiled


@pytest.mark.parametrize("mixed", [True, False])
def test_a_gpu_may_round_its_factors_only_where_mixed_precision_is_asked_for(mixed):
    settle(CONFIG.training.model_copy(update={"mixed_precision": mixed}))
    assert tf.config.experimental.tensor_float_32_execution_enabled() is mixed


def test_a_step_is_the_same_compiled_alone_or_with_all_others(fitted):
    config, _, material, _, _ = fitted
    training = config.training.model_copy(update={"xla": "always", "max_epochs": 1})
    rows = tf.constant(material.train[: 3 * training.batch_size].reshape(3, -1), tf.int32)

    def losses(*parts):
        settle(training)
        loop = _Loop(material, config.model_copy(update={"training": training}))
        return np.concatenate([loop._pass(part).numpy() for part in parts])

    np.testing.assert_array_equal(losses(rows), losses(*rows[:, None]))


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ("", "--xla_cpu_prefer_vector_width=512"),
        ("--xla_dump_to=/x", "--xla_dump_to=/x --xla_cpu_prefer_vector_width=512"),
        ("--xla_cpu_prefer_vector_width=256", "--xla_cpu_prefer_vector_width=256"),
    ],
)
def test_whole_vectors_are_asked_of_xla_unless_a_width_is_set(own, then, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", own)
    for _ in range(2):
        settle(CONFIG.training)
    assert os.environ["XLA_FLAGS"] == then


def test_without_a_gpu_a_fit_that_requires_one_is_refused_with_what_was_found(fitted):
    config, _, material, _, _ = fitted
    training = config.training.model_copy(update={"require_gpu": True})
    with pytest.raises(TrainingFailed, match=r"finds no GPU here: only CPU:0.*training\.require_gpu = false"):
        fit(material, config.model_copy(update={"training": training}))


def test_mixed_precision_and_xla_leave_heads_in_float32(fitted):
    config, _, material, evidence, plain = fitted
    training = config.training.model_copy(update={"mixed_precision": True, "xla": "always", "max_epochs": 2})
    result = fit(material, config.model_copy(update={"training": training}))
    assert result.trunk.get_layer("fusion").compute_dtype == "bfloat16"
    outputs = result.trunk(material.summaries[evidence])
    assert {output.dtype.name for output in outputs.values()} == {"float32"}
    mixed = np.asarray(outputs["volatility"]).mean(axis=0)
    ours = averaged(plain.trunk, material.summaries[evidence])["volatility"]
    assert np.corrcoef(mixed, ours)[0, 1] > 0.95


def random_trunk(scales, seed=0, size=50.0):
    keras.utils.set_random_seed(seed)
    n = len(FEATURES) * 3
    trunk = build_trunk(np.zeros(n), np.ones(n), scales, CONFIG.network, members=2)
    rng = np.random.default_rng(seed)
    for layer in trunk.layers:
        for weight in layer.trainable_weights:
            weight.assign(rng.normal(0, size, weight.shape))
    return trunk


@pytest.fixture(scope="module")
def scales(fitted):
    return fitted[2].scales


def test_wild_weights_and_inputs_stay_inside_the_scale(scales):
    served = build_served(random_trunk(scales), CONFIG.network)
    rng = np.random.default_rng(1)
    bars = (rng.normal(0, 1e6, (500, 22, 7))).astype(np.float32)
    outputs = {head: np.asarray(output) for head, output in served(bars).items()}
    for head in HEADS:
        assert np.isfinite(outputs[head]).all()
        assert outputs[head].min() >= 0
        assert outputs[head].max() <= np.float32(scales[head].scale)


@pytest.fixture(scope="module")
def wild(scales):
    return build_served(random_trunk(scales, seed=5), CONFIG.network)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bars=arrays.arrays(np.float32, (1, 22, 7), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_outputs_stay_in_bounds_for_any_finite_input(wild, scales, bars):
    outputs = {head: np.asarray(output) for head, output in wild(bars).items()}
    assert np.isfinite(outputs["direction"]).all()
    for head in HEADS:
        assert 0 <= outputs[head][0] <= np.float32(scales[head].scale)


def test_bounds_survive_saving_and_loading(scales, tmp_path):
    served = build_served(random_trunk(scales), CONFIG.network)
    served.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    bars = np.random.default_rng(2).normal(0, 1e6, (100, 22, 7)).astype(np.float32)
    for head, output in served(bars).items():
        np.testing.assert_array_equal(np.asarray(output), np.asarray(loaded(bars)[head]))


def test_a_relu_head_is_unbounded_where_ours_is_not(scales):
    rng = np.random.default_rng(3)
    fusion = rng.normal(0, 1e6, (2, 100, 32)).astype(np.float32)
    relu, ours = keras.layers.Dense(1, activation="relu"), BoundedHead(scales["volatility"].scale, 2)
    assert float(np.max(relu(fusion))) > 1e4
    assert float(np.max(ours(fusion))) <= np.float32(scales["volatility"].scale)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("units", [1, 2, 3])
@pytest.mark.parametrize("of_each_member", [False, True])
def test_narrow_layers_say_and_learn_what_a_plain_product_does(members, units, of_each_member):
    rng = np.random.default_rng(units)
    seen = rng.normal(size=(members, 20, 5) if of_each_member else (20, 5)).astype(np.float32)
    layer = MemberDense.from_config(MemberDense(units, members, narrow=True).get_config())
    assert layer.narrow is (units <= 2)
    layer(seen)
    kernel, inputs = tf.constant(rng.normal(size=(members, 5, units)), tf.float32), tf.constant(seen)
    layer.kernel.assign(kernel)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        said = layer(inputs)
        loss = tf.reduce_sum(said**2)
    by_kernel, by_inputs = tape.gradient(loss, [layer.kernel, inputs])
    with tf.GradientTape() as tape:
        tape.watch([kernel, inputs])
        plain = inputs @ kernel
        loss = tf.reduce_sum(plain**2)
    expected = [plain, *tape.gradient(loss, [kernel, inputs])]
    for one, another in zip((said, by_kernel, by_inputs), expected, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-4, atol=1e-5)


def test_a_bounded_head_starts_at_the_mean_of_its_target(scales):
    n = len(FEATURES) * 3
    trunk = build_trunk(np.zeros(n), np.ones(n), scales, CONFIG.network, members=2)
    head = trunk.get_layer("volatility")
    silent = head(np.zeros((2, 1, 32), np.float32))
    assert float(np.mean(silent)) == pytest.approx(scales["volatility"].mean, rel=1e-4)


def test_a_zero_bias_starts_at_half_the_scale(scales):
    head = BoundedHead(0.15, 1)
    assert float(np.mean(head(np.zeros((1, 1, 4), np.float32)))) == pytest.approx(0.075)


def test_a_price_level_means_nothing_to_the_served_network(exported, planted, fitted):
    config, panel, _, evidence, _ = fitted
    model = ServedModel(exported)
    bars = next(windows(panel, evidence[:32], config.network.window))
    scaled = bars.copy()
    scaled[..., :4] *= 1024.0
    for head, output in model(bars).items():
        np.testing.assert_allclose(model(scaled)[head], output, atol=1e-6)


def test_one_symbol_can_be_scored_alone_with_the_stored_market_return(exported, planted, fitted):
    _, panel, _, evidence, _ = fitted
    model = ServedModel(exported)
    alone = build_panel(planted[planted["symbol"] == "S005"], DataConfig(), panel.market)
    last = evidence[panel.symbol_of(evidence) == "S005"][-1:]
    row = np.flatnonzero(alone.session_of(np.arange(len(alone.session))) == panel.session_of(last)[0])
    together, single = model.predict(panel, last), model.predict(alone, row)
    np.testing.assert_allclose(single[["p_up", *HEADS]], together[["p_up", *HEADS]], atol=1e-6)


def test_the_published_fix_trains_inside_its_fixed_scales(planted):
    """`configs/origin.yaml`: scales 0.15 and 0.6, mse and huber, zero bias, no offset."""
    from models.settings import load_settings, shipped

    assignments = ["network.window=21", "network.spans=[1,3,8]", "training.max_epochs=1", "training.members=1"]
    config = load_settings(shipped("origin.yaml"), [*assignments, "training.validation_sessions=20"]).config
    _, material, _, rows = prepare(planted, config)
    assert {head: scale.scale for head, scale in material.scales.items()} == {"volatility": 0.15, "magnitude": 0.6}
    result = fit(material, config)
    assert result.head_weights == {"direction": 1.0, "volatility": 1.0, "magnitude": 1.0}
    outputs = averaged(result.trunk, material.summaries[rows])
    for head, scale in material.scales.items():
        assert 0 <= outputs[head].min() <= outputs[head].max() <= np.float32(scale.scale)


def offset_of(fitted):
    config, _, material, _, _ = fitted
    scaling = Standardisation.of(material.summaries, material.train)
    return fit_offset(material.summaries, material.targets, material.train, scaling, config.network.spans, HeadLosses())


def test_bounded_heads_start_from_the_line_on_log_volatilities(fitted, planted):
    offset = offset_of(fitted)
    config, _, material, _, _ = fitted
    n = material.summaries.shape[1]
    trunk = build_trunk(np.zeros(n), np.ones(n), material.scales, config.network, members=1, offset=offset)
    trunk.get_layer("volatility").kernel.assign(np.zeros((1, 32, 1)))
    rows = material.train[:500]
    line = np.exp(material.summaries[rows] @ offset.slopes + offset.intercepts["volatility"])
    np.testing.assert_allclose(averaged(trunk, material.summaries[rows])["volatility"], line, rtol=1e-3)


def test_direction_starts_from_the_line_on_all_summaries(fitted):
    config, _, material, evidence, _ = fitted
    scaling = Standardisation.of(material.summaries, material.train)
    line = fit_direction_line(
        material.summaries, material.targets.direction, material.train, material.validation, scaling
    )
    network = config.network.model_copy(update={"heads": ("direction",)})
    trunk = build_trunk(scaling.mean, scaling.sd, {}, network, members=2, direction_line=line)
    trunk.get_layer("direction_logits").kernel.assign(np.zeros((2, 32, 2)))
    (seen,) = scaling.blocks(material.summaries, evidence)
    p_up = averaged(trunk, material.summaries[evidence])["direction"][:, 1]
    np.testing.assert_allclose(p_up, 1 / (1 + np.exp(-seen @ line.slopes)), rtol=1e-4)
    assert direction_auc(material.targets.direction[evidence], p_up) > 0.55


def test_the_penalty_of_the_line_grows_where_there_is_nothing_to_find(fitted):
    _, _, material, _, _ = fitted
    scaling = Standardisation.of(material.summaries, material.train)
    noise = np.random.default_rng(3).integers(0, 2, len(material.summaries)).astype(float)
    line = fit_direction_line(material.summaries, noise, material.train, material.validation, scaling)
    assert line.penalty >= 10


def test_the_moments_of_blocks_are_those_of_all_rows(monkeypatch):
    monkeypatch.setattr("models.offset._BLOCK", 7)
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    x[:, 2] = 5.0
    rows = np.arange(3, 45)
    scaling = Standardisation.of(x, rows)
    np.testing.assert_allclose(scaling.mean, x[rows].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scaling.sd, [*x[rows].std(axis=0)[:2], 1.0, x[rows].std(axis=0)[3]], rtol=1e-5)


def test_the_line_keeps_the_promise_of_each_loss(fitted):
    offset = offset_of(fitted)
    _, _, material, _, _ = fitted
    line = material.summaries[material.train] @ offset.slopes
    volatility, magnitude = (material.targets.volatility[material.train], material.targets.magnitude[material.train])
    assert np.mean(volatility**2 / np.exp(line + offset.intercepts["volatility"]) ** 2) == pytest.approx(1, rel=1e-4)
    assert np.exp(line + offset.intercepts["magnitude"]).mean() == pytest.approx(magnitude.mean(), rel=1e-4)


def test_validation_in_blocks_gives_the_mean_over_all_rows(fitted, monkeypatch):
    config, _, material, _, _ = fitted
    loop = _Loop(material, config)
    whole = loop.validation_losses()
    monkeypatch.setattr("models.fit._VALIDATED_AT_ONCE", len(material.validation) // 3 + 1)
    assert loop.validation_losses() == pytest.approx(whole, rel=1e-6)
