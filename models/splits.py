"""Splits by session, never by row, purged by the reach of the labels."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from models.bootstrap import MIN_BLOCKS, block_length
from models.config import RetrainConfig
from models.panel import BoolArray, IntArray, Panel, eligible
from models.targets import Targets

LONGEST_QUARTER: Final = 92
"""Sessions; no calendar quarter has more days. Of weekdays it has 66, and spares those that a store lacks."""


@dataclass(frozen=True)
class Split:
    """One model's part of the sessions: train, validation, evidence, with no label of one reaching into the next.

    Each part is a half-open range [first, last) of positions on the panel's session axis.
    """

    fold: int
    train: tuple[int, int]
    validation: tuple[int, int]
    """Empty for a candidate whose number of epochs the recipe folds have chosen."""
    evidence: tuple[int, int]
    reach: int

    @property
    def trained_until(self) -> int:
        """Position of the last session that any fitted thing has seen, early stopping included."""
        return self.validation[1] - 1 + self.reach


@dataclass(frozen=True)
class Plan:
    """What a night trains, and the sessions on which each model is judged; no session twice."""

    folds: tuple[Split, ...]
    """Of the recipe folds, oldest first; none where the candidate's own sessions are all the evidence."""
    candidate: Split

    @property
    def splits(self) -> tuple[Split, ...]:
        """All of them, in the order of their evidence."""
        return (*self.folds, self.candidate)


@dataclass(frozen=True)
class History:
    """How many sessions can be judged or learned from, and how many are needed."""

    usable: tuple[int, int]
    """Half-open range of session positions with a full window and a complete horizon."""
    needed: int
    with_rows: frozenset[int] | None = None
    """Those of them with a usable row; None where each has one."""

    @property
    def sessions(self) -> int:
        return max(self.usable[1] - self.usable[0], 0)

    @property
    def enough(self) -> bool:
        return self.sessions >= self.needed

    def has_rows(self, part: tuple[int, int]) -> bool:
        """Whether any session of a half-open range of positions has a usable row."""
        return self.with_rows is None or not self.with_rows.isdisjoint(range(*part))


def history(panel: Panel, targets: Targets, config: RetrainConfig) -> History:
    """Sessions with at least one usable row, and the smallest number that allows training and evidence."""
    rows = usable_rows(panel, targets, config)
    positions = np.flatnonzero(np.bincount(panel.session[rows])).tolist()
    usable = (positions[0], positions[-1] + 1) if positions else (0, 0)
    least_training = 1
    parts = least_training + config.training.validation_sessions + 2 * targets.reach
    judged = max(config.gate.min_evidence_sessions, _two_blocks(targets.reach))
    # the evidence takes a third, evidence_sessions at most: the rest must hold the other parts
    rest = min(-(-3 * parts // 2), config.gate.evidence_sessions + parts)
    return History(usable, max(3 * judged, judged + parts, rest), frozenset(positions))


def plan(past: History, sessions: npt.NDArray[np.datetime64], reach: int, config: RetrainConfig) -> Plan:
    """The evidence cut at calendar quarters, each part judged by a model that was trained before its quarter.

    The candidate is trained on all that comes before the last `gate.fresh_sessions`, and judged on those. Quarters
    whose model would learn from fewer sessions than the evidence has are left out, the oldest first. Where too few
    sessions remain, and with `gate.folds = single`, the candidate alone is judged on all of the evidence.

    Args:
        past: Sessions with a full window and a complete horizon.
        sessions: (n,) the panel's session axis.
        reach: Sessions that one label looks ahead.
        config: Of the night.
    """
    single = single_fold(past, reach, config)
    fresh = _fresh_sessions(reach, config)
    folds = _recipe_folds(single.evidence, sessions, past, fresh, reach, config)
    if config.gate.folds == "single" or not folds:
        return Plan((), single)
    last = past.usable[1]
    until = last - fresh - reach
    return Plan(folds, Split(len(folds), (past.usable[0], until), (until, until), (last - fresh, last), reach))


def single_fold(past: History, reach: int, config: RetrainConfig) -> Split:
    """Evidence = the last min(evidence_sessions, a third of what is usable); validation and training before it."""
    first, last = past.usable
    evidence_first = last - min(config.gate.evidence_sessions, past.sessions // 3)
    return _before(evidence_first, first, (evidence_first, last), 0, reach, config)


def _before(
    boundary: int, first: int, evidence: tuple[int, int], fold: int, reach: int, config: RetrainConfig
) -> Split:
    """Validation and training up to a boundary that no label of them crosses."""
    validation_last = boundary - reach
    validation_first = validation_last - config.training.validation_sessions
    return Split(
        fold=fold,
        train=(first, validation_first - reach),
        validation=(validation_first, validation_last),
        evidence=evidence,
        reach=reach,
    )


def _fresh_sessions(reach: int, config: RetrainConfig) -> int:
    return max(config.gate.fresh_sessions, _two_blocks(reach))


def _two_blocks(reach: int) -> int:
    """Sessions of two of the bootstrap's blocks: with fewer there is no interval."""
    return MIN_BLOCKS * block_length(reach) + 1


def _recipe_folds(
    evidence: tuple[int, int],
    sessions: npt.NDArray[np.datetime64],
    past: History,
    fresh: int,
    reach: int,
    config: RetrainConfig,
) -> tuple[Split, ...]:
    judged = evidence[1] - evidence[0]
    quarters = np.asarray(sessions, "datetime64[M]").astype(int) // 3
    starts = np.flatnonzero(np.diff(quarters, prepend=quarters[0] - 1))
    cuts = [int(start) for start in starts if start < evidence[1] - fresh]
    folds: list[Split] = []
    for start, end in pairwise([*cuts, evidence[1] - fresh]):
        split = _before(
            start,
            max(past.usable[0], start - _memory(judged, reach, config)),
            (max(start, evidence[0]), end),
            len(folds),
            reach,
            config,
        )
        if end <= evidence[0] or split.train[1] - split.train[0] < judged:
            continue
        if all(past.has_rows(part) for part in (split.train, split.validation, split.evidence)):
            folds.append(split)
    left = sum(split.evidence[1] - split.evidence[0] for split in folds)
    return tuple(folds) if left + fresh >= config.gate.min_evidence_sessions else ()


def _memory(judged: int, reach: int, config: RetrainConfig) -> int:
    """Sessions before its quarter that a fold may read: as many as every night of that quarter has of them.

    A night reads `data.lookback_sessions` that move on with it. What a fold learnt from must not move, or it would have
    to be trained every night.
    """
    return config.data.lookback_sessions - config.network.window - reach - judged - LONGEST_QUARTER


def usable_rows(panel: Panel, targets: Targets, config: RetrainConfig) -> IntArray:
    """Rows with enough of their window and all of their horizon present."""
    chosen: BoolArray = eligible(panel, config.network.window, config.data.min_present) & targets.known
    return np.flatnonzero(chosen)


def rows_between(panel: Panel, rows: IntArray, part: tuple[int, int]) -> IntArray:
    """The rows whose session lies in a half-open range of positions."""
    position = panel.session[rows]
    return rows[(position >= part[0]) & (position < part[1])]
