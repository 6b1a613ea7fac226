"""The label placebo: what direction AUC comes out where there is nothing to be known.

Labels are moved to other sessions, and everything else is done as ever: the same rows, the same split, the same
features, a fixed model. Whole cross-sections move, ten and more consecutive sessions together, so symbols stay as
alike, and neighbouring sessions share their labels as much, as they do in truth. Each block is turned upside down or
not by a coin: otherwise what some symbols do always, such as wild ones falling behind the median, could be learnt from
any order of the sessions, and a sound pipeline would not come out at one half.

The AUCs of many such shuffles are the null distribution of the night's own AUC. Their mean must be one half: if it is
not, labels reach the rows that are judged on them, or the score is wrong.
"""

from datetime import UTC, date, datetime
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np

from models.bootstrap import block_length
from models.dataset import Dataset
from models.features import summaries
from models.locations import Locations, exists, open_at, write_whole
from models.notation import fixed, percent
from models.offset import Standardisation, fit_direction_line
from models.panel import BoolArray, FloatArray, IntArray, Panel
from models.records import Check, Measured, Record, within
from models.scores import direction_auc
from models.splits import rows_between, single_fold

SHUFFLES: Final = 40
SIGMAS: Final = 4.0
"""Standard errors by which the mean may miss one half. With 40 shuffles luck alone does so once in 3,600 weeks; with
three it would once in 200."""


class PlaceboRecord(Record):
    """Direction AUCs of one recipe on shuffled labels."""

    recipe: str
    session: date
    """Of the night whose rows were used."""
    measured_at: datetime
    aucs: tuple[Measured, ...]
    """One a shuffle; None where no session has both classes."""
    seconds: float

    @property
    def mean(self) -> float:
        return float(self._numbers.mean()) if self.aucs else float("nan")

    @property
    def sd(self) -> float:
        return float(self._numbers.std(ddof=1)) if len(self.aucs) > 1 else float("nan")

    def share_below(self, auc: float) -> float:
        """Share of the shuffles whose AUC is lower than this one."""
        return float(np.mean(self._numbers < auc)) if self.aucs and not np.isnan(auc + self.mean) else float("nan")

    @property
    def _numbers(self) -> FloatArray:
        return np.asarray(self.aucs, np.float64)


def measure(dataset: Dataset, recipe: str, session: date, shuffles: int = SHUFFLES, seed: int = 0) -> PlaceboRecord:
    """Fit and score on shuffled labels, as often as asked.

    The model is the line on all summaries from which the network's direction starts, fitted on one training session in
    `targets.reach`. The split is the night's single fold.

    Args:
        dataset: Of a night with history enough to be judged.
        recipe: Of that night.
        session: Of that night.
        shuffles: How many.
        seed: Of the shuffles.
    """
    started = perf_counter()
    seen = summaries(dataset.panel, dataset.config.network.window, dataset.config.network.spans)
    rows = _Rows.of(dataset)
    scaling = Standardisation.of(seen, rows.train)
    aucs = []
    for one in range(shuffles):
        label = shuffled(dataset.targets.direction, dataset.panel, dataset.targets.reach, seed=seed + one)
        line = fit_direction_line(seen, label, rows.train, rows.validation, scaling)
        score = np.concatenate([block @ line.slopes for block in scaling.blocks(seen, rows.evidence)])
        aucs.append(direction_auc(label[rows.evidence], score, rows.sessions))
    return PlaceboRecord(
        recipe=recipe,
        session=session,
        measured_at=datetime.now(UTC),
        aucs=tuple(aucs),
        seconds=perf_counter() - started,
    )


class _Rows(NamedTuple):
    """Rows of the single fold."""

    train: IntArray
    validation: IntArray
    evidence: IntArray
    sessions: IntArray | None
    """Of the evidence rows, for the absolute target, whose AUC is the mean of the sessions' own."""

    @classmethod
    def of(cls, dataset: Dataset) -> "_Rows":
        panel, targets, config = dataset.panel, dataset.targets, dataset.config
        split = single_fold(dataset.history, targets.reach, config)
        train, validation, evidence = (
            rows_between(panel, dataset.rows, part) for part in (split.train, split.validation, split.evidence)
        )
        relative = panel.relative and config.targets.direction == "relative"
        sessions = None if relative else panel.session[evidence].astype(np.int64)
        return cls(train[panel.session[train] % targets.reach == 0], validation, evidence, sessions)


def shuffled(direction: FloatArray, panel: Panel, reach: int, seed: int) -> FloatArray:
    """Labels of other sessions, each symbol with its own, and by a coin upside down.

    Args:
        direction: (M,) 1 up, 0 down, NaN none.
        panel: All series; M rows.
        reach: Sessions that one label looks ahead; blocks are as long as the shortest of the gate's bootstrap.
        seed: Of order and coins.

    Returns:
        (M,) NaN where the symbol has no label in the session from which it would come.
    """
    source, turned = _order(len(panel.sessions), block_length(reach), np.random.default_rng(seed))
    symbols, of_series = np.unique(panel.symbols, return_inverse=True)
    symbol = of_series[panel.series]
    table = np.full((len(symbols), len(panel.sessions)), np.nan)
    table[symbol, panel.session] = direction
    moved = table[symbol, source[panel.session]]
    labels: FloatArray = np.where(turned[panel.session], 1.0 - moved, moved)
    return labels


def _order(n_sessions: int, block: int, random: np.random.Generator) -> tuple[IntArray, BoolArray]:
    """(n_sessions,) the session from which each takes its labels, and whether they are turned upside down."""
    blocks = np.split(np.arange(n_sessions), np.arange(block, n_sessions, block))
    order = random.permutation(len(blocks))
    coins = random.integers(2, size=len(blocks)).astype(bool)
    source = np.concatenate([blocks[one] for one in order])
    turned = np.concatenate([np.full(len(blocks[one]), coins[one]) for one in order])
    return source, turned


def placebo_check(placebo: PlaceboRecord, auc: float) -> Check:
    """The mean of the null must be one half; the night's own AUC is shown against it.

    Args:
        placebo: Of the night's recipe.
        auc: The candidate's direction AUC.
    """
    error = placebo.sd / np.sqrt(max(len(placebo.aucs), 1))
    why = (
        f"{len(placebo.aucs)} shuffles of the labels on {placebo.measured_at:%Y-%m-%d} gave a mean AUC of "
        f"{fixed(placebo.mean)}, standard deviation {fixed(placebo.sd)}; other than 0.5 by {fixed(SIGMAS, 0)} standard "
        f"errors means a leak. Tonight's {fixed(auc)} exceeds {percent(placebo.share_below(auc), 0)} of them"
    )
    if not np.isfinite(error):
        return Check(name="placebo", group="leak", value=None, bound=None, passed=False, why=why)
    return within("placebo", "leak", placebo.mean, (0.5 - SIGMAS * error, 0.5 + SIGMAS * error), why)


def placebo_metrics(placebo: PlaceboRecord, auc: float) -> dict[str, float]:
    """The null and where the night's AUC lies in it, for verdict and report."""
    return {
        "placebo_mean": placebo.mean,
        "placebo_sd": placebo.sd,
        "placebo_share_below": placebo.share_below(auc),
    }


def stored_placebo(recipe: str, locations: Locations) -> PlaceboRecord | None:
    """What was last measured for this recipe; None where nothing was."""
    uri = locations.placebo(recipe)
    if not exists(uri):
        return None
    with open_at(uri, "r") as file:
        return PlaceboRecord.model_validate_json(file.read())


def store_placebo(placebo: PlaceboRecord, locations: Locations) -> None:
    """Keep it in the place of its recipe's last one."""
    write_whole(locations.placebo(placebo.recipe), placebo.model_dump_json(indent=1).encode())
