import numpy as np
import pytest

from benchmarks.pandas_twin import prepare
from benchmarks.preparation import largest_difference
from models.config import DataConfig, NetworkConfig, RetrainConfig, TargetsConfig

CONFIG = RetrainConfig(network=NetworkConfig(window=42, spans=(1, 3, 8, 21)))


@pytest.fixture
def ragged(make_market):
    """A market with absent bars, a series in two segments, a late symbol and a split."""
    bars = make_market(n_symbols=25, n_sessions=150)
    bars["split_ratio"] = np.where(bars.index == 150 * 3 + 70, 2.0, np.nan)
    absent = [*range(20, 24), *range(200, 240), *range(300, 360)]
    return bars.drop(bars.index[absent]).reset_index(drop=True)


@pytest.mark.parametrize("targets", [TargetsConfig(), TargetsConfig(direction="absolute", horizon_sessions=3)])
def test_pandas_comes_to_the_same_preparation(ragged, targets):
    config = CONFIG.model_copy(update={"targets": targets})
    assert largest_difference(prepare(ragged, config), ragged, config) < 1e-6


def test_a_universe_too_small_for_a_market_is_prepared_alike(ragged):
    config = CONFIG.model_copy(update={"data": DataConfig(min_universe=26)})
    assert largest_difference(prepare(ragged, config), ragged, config) < 1e-6


def test_a_difference_between_the_two_is_found(ragged):
    twin = prepare(ragged, CONFIG)
    twin.targets.loc[60, "volatility"] += 1e-3
    assert largest_difference(twin, ragged, CONFIG) > 1e-4
