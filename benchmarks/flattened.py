"""Two numbers that say nothing: the AUC of a flattened softmax, and the share of a bounded head inside its bound.

Keras' `AUC()` unrolls one-hot labels and probabilities of all classes into one long problem of two classes. That asks
whether classes which are common got more probability than classes which are rare, and a forecast that is the same for
every row knows as much. A head of scale × sigmoid lies in [0, scale] whatever its weights, so whether it does cannot
tell one head from another. Beside each, what the gate asks instead on the same rows.

Run: `python -m benchmarks.flattened`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

from benchmarks.measuring import machine
from benchmarks.simulated_evidence import SCALES, MarketSettings, SimulatedMarket, scales
from models.config import GateConfig, HeadLosses
from models.gate.evidence import Evidence
from models.gate.health import health_checks
from models.records import Check
from models.scores import FloatArray, direction_auc

PRIORS: Final[Mapping[str, tuple[float, ...]]] = {
    "timeout, stop, target as 12084 : 7398 : 3949": (12084, 7398, 3949),
    "75 : 15 : 10": (75, 15, 10),
    "60 : 30 : 10": (60, 30, 10),
    "two classes, 65 : 35": (65, 35),
    "two classes, 50 : 50": (50, 50),
}
"""Rows of each class."""

ROWS: Final = 200_000
TARGET: Final = 1.5
STOP: Final = -1.0
"""Barriers, in the standard deviation of a calm symbol."""
VOLATILITY_SPREAD: Final = 0.5

HEADS: Final = 200
PANEL: Final = MarketSettings(sessions=60, symbols=20)
LONG_AGO: Final = date(2000, 1, 3)


def flattened_auc(labels: npt.NDArray[np.int64], probabilities: FloatArray) -> float:
    """What `keras.metrics.AUC()` tends to with ever more thresholds.

    Args:
        labels: (n,) number of each row's class.
        probabilities: (n, n_classes) forecast.
    """
    one_hot = np.eye(probabilities.shape[1])[labels]
    return direction_auc(one_hot.ravel(), probabilities.ravel())


def constant_auc(shares: Sequence[float]) -> float:
    """That of the class shares themselves as every row's forecast, in closed form.

    A label of class k outranks the absent labels of all rarer classes, and half of those that are as common.

    Args:
        shares: Of the classes; need not add up to one.
    """
    p = np.asarray(shares, float) / np.sum(shares)
    wins = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    return float(p @ wins @ (1.0 - p)) / (len(p) - 1)


class VolatilityOnly(NamedTuple):
    """A market without any direction, forecast by somebody who knows each row's volatility exactly."""

    neither: float
    """Share of rows that reach no barrier."""
    flattened: float
    """Of {down, neither, up}."""
    up_against_down: float
    """AUC of P(up) / (P(up) + P(down)) on rows that reached a barrier."""
    direction: float
    """AUC of P(up) for the sign of the return: what the gate asks."""


def volatility_only(n_rows: int = ROWS, seed: int = 0) -> VolatilityOnly:
    """Volatility alone, by three scores.

    Args:
        n_rows: Returns drawn.
        seed: Of them.
    """
    random = np.random.default_rng(seed)
    sigma = random.lognormal(0.0, VOLATILITY_SPREAD, n_rows)
    returns = sigma * random.normal(size=n_rows)
    down, up = ndtr(STOP / sigma), ndtr(-TARGET / sigma)
    labels = np.where(returns > TARGET, 2, np.where(returns < STOP, 0, 1))
    reached = labels != 1
    return VolatilityOnly(
        neither=float(np.mean(~reached)),
        flattened=flattened_auc(labels, np.column_stack([down, 1.0 - down - up, up])),
        up_against_down=direction_auc(labels[reached] == 2, (up / (up + down))[reached]),
        direction=direction_auc(returns > 0, up),
    )


def head_checks(volatility: FloatArray, market: SimulatedMarket) -> dict[str, Check]:
    """The health checks of the volatility head, by name.

    Args:
        volatility: (n_sessions, n_symbols) what the head says.
        market: What happened.
    """
    frame = market.frame({**market.forecasts(0.53, seed=0), "volatility": volatility})
    evidence = Evidence.of(frame, GateConfig(), reach=PANEL.reach, relative=PANEL.relative)
    checks = health_checks(
        evidence,
        heads=("volatility",),
        scales=scales(market.rows),
        losses=HeadLosses(),
        trained_until=LONG_AGO,
        agreement=0.0,
    )
    return {check.name: check for check in checks if check.name.startswith("volatility")}


def random_head(market: SimulatedMarket, seed: int) -> FloatArray:
    """Scale × sigmoid of a hidden layer whose weights nobody trained, from tiny to large; it may look at the answer.

    Args:
        market: On which it is asked.
        seed: Of its weights.
    """
    random = np.random.default_rng(seed)
    inputs = np.stack([np.log(market.sigma), market.signal, market.error], axis=-1)
    hidden = np.tanh(inputs @ random.normal(size=(3, 8)) + random.normal(size=8))
    size = 10.0 ** random.uniform(-2.0, 1.0)
    said: FloatArray = SCALES["volatility"] * expit(size * (hidden @ random.normal(size=8) + random.normal()))
    return said


def named_heads() -> Mapping[str, Callable[[SimulatedMarket], FloatArray]]:
    """Heads that went wrong in ways that have names, and one that did not."""
    scale = SCALES["volatility"]
    return {
        "stuck at its bound": lambda market: np.full_like(market.sigma, scale * expit(40.0)),
        "dead": lambda market: np.full_like(market.sigma, scale * expit(-40.0)),
        "the same for all": lambda market: np.full_like(market.sigma, float(market.rows["volatility_target"].mean())),
        "learnt in per cent": lambda market: np.minimum(100.0 * market.sigma, scale),
        "joined to the wrong rows": lambda market: market.sigma[::-1, ::-1],
        "sound": lambda market: market.forecasts(0.53, seed=0)["volatility"],
    }


def print_flattened() -> None:
    """What constants and volatility score."""
    print("| rows of each class | constant forecast, flattened AUC | constant P(up) |\n|---|---|---|")
    for name, shares in PRIORS.items():
        print(f"| {name} | {constant_auc(shares):.4f} | 0.5000 |")
    known = volatility_only()
    print(
        "\n| who knows the volatility and nothing else | AUC |\n|---|---|\n"
        f"| {{down, neither, up}}, flattened; {100 * known.neither:.0f} % of rows reach neither barrier | "
        f"{known.flattened:.4f} |\n"
        f"| up against down, of rows that reached a barrier | {known.up_against_down:.4f} |\n"
        f"| P(up) for the sign of the return | {known.direction:.4f} |"
    )


def print_bounded() -> None:
    """What the range check and the other health checks say of heads that cannot leave their bound."""
    market = SimulatedMarket.draw(PANEL, seed=0)
    print("\n| volatility head | inside [0, scale] | fails |\n|---|---|---|")
    for name, head in named_heads().items():
        checks = head_checks(head(market), market)
        inside = "yes" if checks.pop("volatility_in_range").passed else "no"
        failed = ", ".join(f"`{check.name}`" for check in checks.values() if not check.passed)
        print(f"| {name} | {inside} | {failed or 'none'} |")
    untrained = [head_checks(random_head(market, seed), market) for seed in range(HEADS)]
    n_inside = sum(checks["volatility_in_range"].passed for checks in untrained)
    n_failed = sum(not all(check.passed for check in checks.values()) for checks in untrained)
    print(f"| {HEADS} of random weights | {n_inside} of {HEADS} | at least one: {n_failed} of {HEADS} |")


def main() -> None:
    """Print the tables."""
    print(f"{machine()}\n")
    print_flattened()
    print_bounded()


if __name__ == "__main__":
    main()
