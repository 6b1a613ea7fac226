"""Splits by session, never by row, purged by the reach of the labels."""

from dataclasses import dataclass

import numpy as np

from models.config import RetrainConfig
from models.panel import BoolArray, IntArray, Panel, eligible
from models.targets import Targets


@dataclass(frozen=True)
class Split:
    """One fold: train, then validation, then evidence, with no label of one reaching into the next.

    Each part is a half-open range [first, last) of positions on the panel's session axis.
    """

    fold: int
    train: tuple[int, int]
    validation: tuple[int, int]
    evidence: tuple[int, int]
    reach: int

    @property
    def trained_until(self) -> int:
        """Position of the last session that any fitted thing has seen, early stopping included."""
        return self.validation[1] - 1 + self.reach


@dataclass(frozen=True)
class History:
    """How many sessions can be judged or learned from, and how many are needed."""

    usable: tuple[int, int]
    """Half-open range of session positions with a full window and a complete horizon."""
    needed: int

    @property
    def sessions(self) -> int:
        return max(self.usable[1] - self.usable[0], 0)

    @property
    def enough(self) -> bool:
        return self.sessions >= self.needed


def history(panel: Panel, targets: Targets, config: RetrainConfig) -> History:
    """Sessions with at least one usable row, and the smallest number that allows training and evidence."""
    rows = usable_rows(panel, targets, config)
    positions = panel.session[rows]
    usable = (int(positions.min()), int(positions.max()) + 1) if len(positions) else (0, 0)
    least_training = 1
    parts = least_training + config.training.validation_sessions + 2 * targets.reach
    needed = max(3 * config.gate.min_evidence_sessions, config.gate.min_evidence_sessions + parts)
    return History(usable, needed)


def single_fold(past: History, reach: int, config: RetrainConfig) -> Split:
    """Evidence = the last min(evidence_sessions, a third of what is usable); validation and training before it."""
    first, last = past.usable
    evidence_first = last - min(config.gate.evidence_sessions, past.sessions // 3)
    validation_last = evidence_first - reach
    validation_first = validation_last - config.training.validation_sessions
    return Split(
        fold=0,
        train=(first, validation_first - reach),
        validation=(validation_first, validation_last),
        evidence=(evidence_first, last),
        reach=reach,
    )


def usable_rows(panel: Panel, targets: Targets, config: RetrainConfig) -> IntArray:
    """Rows with enough of their window and all of their horizon present."""
    chosen: BoolArray = eligible(panel, config.network.window, config.data.min_present) & targets.known
    return np.flatnonzero(chosen)


def rows_between(panel: Panel, rows: IntArray, part: tuple[int, int]) -> IntArray:
    """The rows whose session lies in a half-open range of positions."""
    position = panel.session[rows]
    return rows[(position >= part[0]) & (position < part[1])]
