"""What the network gets out of a market whose answer is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.config import RetrainConfig
from models.dataset import Dataset
from models.features import summaries
from models.panel import build_panel
from models.scores import direction_auc, qlike
from models.synthetic import MarketSettings, SyntheticMarket, synthetic_market

pytest.importorskip("keras")

from models.fit import Material, fit

pytestmark = pytest.mark.slow
NEARLY_ALONE = 1e6
"""Share of the gradient against which the other heads' count nothing; Adam does not care for its size."""


@dataclass(frozen=True)
class Learner:
    """The reference market, and what the default network makes of it."""

    market: SyntheticMarket
    dataset: Dataset
    seen: np.ndarray

    def fit(self, **changes) -> dict[str, np.ndarray]:
        """Predictions of a fit on the evidence rows."""
        config = RetrainConfig.model_validate(changes)
        scales = self.dataset.scales()
        material = Material(self.seen, self.dataset.targets, self.dataset.train, self.dataset.validation, scales)
        outputs = fit(material, config).trunk(self.seen[self.dataset.evidence])
        return {head: np.asarray(values, float).mean(axis=0) for head, values in outputs.items()}

    def target(self, head: str) -> np.ndarray:
        return getattr(self.dataset.targets, head)[self.dataset.evidence]

    def edge(self, score: np.ndarray) -> float:
        """AUC above one half."""
        return direction_auc(self.target("direction"), score) - 0.5

    def skill(self, head: str, forecast: np.ndarray) -> float:
        """Share of the squared error of a constant that is gone."""
        target = self.target(head)
        return float(1 - np.square(target - forecast).mean() / target.var())

    @property
    def best(self):
        return self.market.best.iloc[self.dataset.evidence]


@pytest.fixture(scope="module")
def learner() -> Learner:
    market, config = synthetic_market(MarketSettings()), RetrainConfig.model_validate({"gate": {"folds": "single"}})
    dataset = Dataset.of(market.bars, build_panel(market.bars, config.data).market, config)
    return Learner(market, dataset, summaries(dataset.panel, config.network.window, config.network.spans))


@pytest.fixture(scope="module")
def together(learner) -> dict[str, np.ndarray]:
    return learner.fit()


def test_direction_reaches_nine_tenths_of_the_best_edge(learner, together):
    best = learner.edge(learner.best["alpha"].to_numpy())
    assert best > 0.03
    assert 0.9 * best <= learner.edge(together["direction"][:, 1]) <= 1.05 * best


def test_volatility_comes_within_a_twentieth_of_the_best_qlike(learner, together):
    best = qlike(learner.target("volatility"), learner.best["volatility"].to_numpy())
    assert qlike(learner.target("volatility"), together["volatility"]) <= 1.05 * best


def test_direction_loses_next_to_nothing_to_the_other_heads(learner, together):
    alone = learner.fit(network={"heads": ["direction"]})
    assert learner.edge(together["direction"][:, 1]) >= 0.95 * learner.edge(alone["direction"][:, 1])


@pytest.mark.parametrize("head", ["volatility", "magnitude"])
def test_a_bounded_head_loses_next_to_nothing_to_the_others(learner, together, head):
    shares = {"direction": 1.0, "volatility": 1e-6, "magnitude": 1e-6, head: NEARLY_ALONE}
    alone = learner.fit(training={"gradient_shares": shares})
    assert learner.skill(head, together[head]) >= 0.95 * learner.skill(head, alone[head])
    assert learner.skill(head, together[head]) > 0.03
