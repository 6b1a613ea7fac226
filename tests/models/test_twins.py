"""The network's twins: heads that end in ReLU, and what really becomes of them.

(a) on targets that run from one symbol into the next, (b) on right targets. What a ReLU head does with wild inputs,
and that ours cannot, is in test_network.py.
"""

import numpy as np
import pandas as pd
import pytest

from models.config import RetrainConfig
from models.dataset import Dataset
from models.features import summaries
from models.gate.evidence import Evidence
from models.gate.health import health_checks
from models.offset import Standardisation
from models.panel import build_panel
from tests.models.test_targets import old_fault

keras = pytest.importorskip("keras")

CONFIG = RetrainConfig.model_validate(
    {
        "network": {"window": 21, "spans": (1, 3, 8)},
        "training": {"validation_sessions": 20},
        "gate": {"folds": "single"},
    }
)
PRICES = (150, 30, 300, 100, 1500, 2500, 60, 200, 15, 700, 400)
"""Of the eleven symbols of the model where it began: orders of magnitude apart, as large stocks are."""
FUSION = 128
RELU_HEADS = {"volatility": "mse", "magnitude": "huber"}


@pytest.fixture(scope="module")
def dataset(make_market) -> Dataset:
    bars = make_market(n_symbols=len(PRICES), n_sessions=400)
    level = bars["symbol"].map(dict(zip(sorted(bars["symbol"].unique()), np.divide(PRICES, 50), strict=True)))
    for price in ("open", "high", "low", "close"):
        bars[price] *= level
    return Dataset.of(bars, build_panel(bars, CONFIG.data).market, CONFIG)


@pytest.fixture(scope="module")
def seen(dataset) -> np.ndarray:
    x = summaries(dataset.panel, CONFIG.network.window, CONFIG.network.spans)
    (standardised,) = Standardisation.of(x, dataset.train).blocks(x, np.arange(len(x)))
    return standardised


def relu_network(n_inputs: int, seed: int) -> "keras.Model":
    """Dense layers into a fusion of 128 units, from which every bounded head is a single ReLU."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((n_inputs,))
    fusion = keras.layers.Dense(FUSION, activation="relu", name="fusion")(inputs)
    return keras.Model(
        inputs, {head: keras.layers.Dense(1, activation="relu", name=head)(fusion) for head in RELU_HEADS}
    )


def fitted(dataset, seen, targets, seed=1, epochs=20, step=1e-3):
    """A twin trained as the origin was: mse and huber, bias at zero, Adam."""
    network = relu_network(seen.shape[1], seed)
    network.compile(optimizer=keras.optimizers.Adam(step), loss=RELU_HEADS)
    train = dataset.train[np.isfinite(targets.volatility[dataset.train])]
    wanted = {head: getattr(targets, head)[train] for head in RELU_HEADS}
    network.fit(seen[train], wanted, epochs=epochs, batch_size=256, verbose=0)
    return network


def predicted(network, rows) -> dict[str, np.ndarray]:
    return {head: np.asarray(values)[:, 0] for head, values in network(rows).items()}


def ill(dataset, head_values: np.ndarray) -> set[str]:
    """Names of the health checks that these predictions of volatility on the evidence rows fail."""
    rows = dataset.evidence
    frame = pd.DataFrame(
        {
            "session": dataset.panel.session_of(rows),
            "symbol": dataset.panel.symbol_of(rows),
            "version": "twin",
            "p_up": 0.5 + 0.01 * np.random.default_rng(0).normal(size=len(rows)),
            "direction": dataset.targets.direction[rows],
            "volatility": head_values,
            "volatility_target": dataset.targets.volatility[rows],
        }
    )
    checks = health_checks(
        Evidence.of(frame, CONFIG.gate, reach=dataset.targets.reach, relative=True),
        heads=("direction", "volatility"),
        scales=dataset.scales(),
        losses=CONFIG.training.losses,
        trained_until=dataset.trained_until.item(),
        agreement=0.0,
    )
    return {check.name for check in checks if not check.passed}


def test_on_targets_across_symbols_a_relu_head_is_far_too_large_since_it_fits_them(dataset, seen):
    """The old fault whole. In the product the target check ends that night (tests/flows/test_retrain.py)."""
    broken = old_fault(dataset.panel, CONFIG.targets)
    outputs = predicted(fitted(dataset, seen, broken), seen[dataset.evidence])
    for head in RELU_HEADS:
        truth = getattr(dataset.targets, head)[dataset.evidence].mean()
        assert outputs[head].mean() > 20 * truth
        told = np.nanmean(getattr(broken, head)[dataset.train])
        assert outputs[head].mean() == pytest.approx(told, rel=0.5)  # no fault of the head: it says what it was taught


def test_on_right_targets_a_relu_head_dies_and_the_health_check_names_it(dataset, seen):
    network = fitted(dataset, seen, dataset.targets, epochs=3, step=3e-2)
    outputs = predicted(network, seen[dataset.evidence])
    assert outputs["volatility"].max() == 0.0
    assert "volatility_not_stuck_low" in ill(dataset, outputs["volatility"])


def test_on_right_targets_a_relu_head_may_begin_far_above_them_and_the_health_check_names_it(dataset, seen):
    network = relu_network(seen.shape[1], seed=1)
    network.get_layer("volatility").kernel.assign(np.full((FUSION, 1), 0.1))
    outputs = predicted(network, seen[dataset.evidence])
    assert outputs["volatility"].mean() > 10 * np.nanmax(dataset.targets.volatility)
    assert "volatility_in_range" in ill(dataset, outputs["volatility"])
