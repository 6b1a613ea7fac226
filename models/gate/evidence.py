"""The out-of-sample frame as the gate reads it: sessions numbered, resampled once, statistics by column name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bootstrap import (
    Interval,
    Resamples,
    Statistic,
    block_length,
    influence,
    mean_over_rows,
    mean_session_auc,
    pooled_auc,
    pooled_auc_without,
    session_auc_without,
)
from models.config import GateConfig
from models.scores import FloatArray, IntArray, qlike_losses

RowLoss = Callable[[FloatArray, FloatArray], FloatArray]
"""(n,) targets, (n,) forecasts → (n,) losses."""


KEYS: Final = ("session", "symbol", "version")
"""What every row of an out-of-sample frame is known by."""


def unreadable(frame: pd.DataFrame) -> str:
    """Why the rows of a frame cannot be told apart, in words; empty when they can."""
    absent = [name for name in KEYS if name not in frame]
    if absent:
        return f"column {', '.join(absent)} is missing"
    unnamed = int(frame[list(KEYS)].isna().any(axis=1).sum())
    if unnamed:
        return f"{unnamed} rows have no {', '.join(KEYS[:-1])} or {KEYS[-1]}"
    repeated = int(frame.duplicated(["session", "symbol"]).sum())
    return f"{repeated} rows repeat the session and symbol of another" if repeated else ""


class Rows(Protocol):
    """Rows with statistics over the groups that they fall into."""

    def column(self, name: str) -> FloatArray:
        """(n,) one column; NaN throughout when it is absent."""

    def auc(self, score: str, label: str = "direction") -> Statistic:
        """Direction AUC of a score column."""

    def mean_loss(self, loss: RowLoss, target: str, forecast: str) -> Statistic:
        """Mean loss of a forecast column over the rows that have the target."""

    def mean(self, values: FloatArray) -> Statistic:
        """Mean of (n,) numbers; rows of NaN are left out."""


@dataclass(frozen=True)
class Evidence:
    """Out-of-sample rows and the resamples of their sessions; statistics of one `Evidence` are paired."""

    frame: pd.DataFrame
    session: IntArray
    """(n,) number of each row's session, 0 for the first."""
    config: GateConfig
    """Replicates and confidence."""
    reach: int
    """Sessions that one label looks ahead."""
    relative: bool
    """Whether direction is relative to the session's median: then AUC pools all rows."""

    @classmethod
    def of(cls, frame: pd.DataFrame, config: GateConfig, *, reach: int, relative: bool) -> "Evidence":
        """Number the sessions of a frame.

        Args:
            frame: `session`, `symbol` and the columns that will be asked for.
            config: As the attribute.
            reach: As the attribute.
            relative: As the attribute.
        """
        ordered = frame.sort_values(["session", "symbol"], ignore_index=True)
        _, session = np.unique(ordered["session"].to_numpy(), return_inverse=True)
        return cls(ordered, session, config, reach, relative)

    @cached_property
    def resamples(self) -> Resamples:
        """Drawn once for all statistics."""
        return Resamples.draw(self._width, block=self.block, n_replicates=self.config.bootstrap_replicates)

    @cached_property
    def block(self) -> int:
        """Sessions in a block, from how long the baselines' scores are remembered on these rows.

        The baselines and not the candidate: so no candidate chooses its own block, and a better one is never measured
        with a longer. Between them they span what a forecast can be, from one that turns around within days (reversal)
        to one that hardly moves (volatility alone).
        """
        scores = (
            self.auc("reversal"),
            self.auc("p_up_volatility_only"),
            self.mean_loss(qlike_losses, "volatility_target", "volatility_har"),
            self.mean_loss(absolute_errors, "magnitude_target", "magnitude_ewma"),
        )
        return block_length(self.reach, [influence(score, self._width) for score in scores])

    @property
    def n_sessions(self) -> int:
        return int(self.session[-1]) + 1 if len(self.session) else 0

    def column(self, name: str) -> FloatArray:
        """(n,) one column; NaN throughout when the frame lacks it."""
        if name not in self.frame:
            return np.full(len(self.frame), np.nan)
        return self.frame[name].to_numpy(float)

    def auc(self, score: str, label: str = "direction") -> Statistic:
        """Direction AUC of a score column."""
        if (score, label) not in self._areas:
            area = pooled_auc if self.relative else mean_session_auc
            self._areas[score, label] = area(self.column(label), self.column(score), self.session, self._width)
        return self._areas[score, label]

    def mean_loss(self, loss: RowLoss, target: str, forecast: str) -> Statistic:
        """Mean loss of a forecast column over the rows that have the target."""
        return _mean_loss(self, loss, target, forecast, self.session, self._width)

    def mean(self, values: FloatArray) -> Statistic:
        """Mean of (n,) numbers; rows of NaN are left out."""
        known = ~np.isnan(values)
        return mean_over_rows(values[known], self.session[known], self._width)

    @cached_property
    def by_symbol(self) -> "BySymbol":
        """The same rows by symbol, to ask what a statistic would be without one."""
        symbols, symbol = np.unique(self.frame["symbol"].to_numpy(str), return_inverse=True)
        return BySymbol(self, tuple(symbols.tolist()), symbol)

    @property
    def session_names(self) -> tuple[str, ...]:
        """Dates of the sessions, in the order of their numbers."""
        return tuple(f"{pd.Timestamp(session):%Y-%m-%d}" for session in np.unique(self.frame["session"].to_numpy()))

    def interval(self, statistic: Statistic) -> Interval:
        """The statistic and its block-bootstrap interval."""
        return self.resamples.interval(statistic, self.config.confidence)

    @property
    def _width(self) -> int:
        return max(self.n_sessions, 1)

    @cached_property
    def _areas(self) -> dict[tuple[str, str], Statistic]:
        """AUC by (score, label): the counting behind one is the dearest part of the gate."""
        return {}


@dataclass(frozen=True)
class BySymbol:
    """Rows by symbol: the weights of its statistics are those of the symbols, one and at most one zero."""

    evidence: Evidence
    names: tuple[str, ...]
    symbol: IntArray
    """(n,) number of each row's symbol, by `names`."""

    def column(self, name: str) -> FloatArray:
        """(n,) one column; NaN throughout when it is absent."""
        return self.evidence.column(name)

    def auc(self, score: str, label: str = "direction") -> Statistic:
        """Direction AUC of a score column."""
        if (score, label) not in self._areas:
            known, scores, width = self.column(label), self.column(score), len(self.names)
            self._areas[score, label] = (
                pooled_auc_without(known, scores, self.symbol, width)
                if self.evidence.relative
                else session_auc_without(known, scores, self.evidence.session, self.symbol, width)
            )
        return self._areas[score, label]

    def mean_loss(self, loss: RowLoss, target: str, forecast: str) -> Statistic:
        """Mean loss of a forecast column over the rows that have the target."""
        return _mean_loss(self, loss, target, forecast, self.symbol, len(self.names))

    def mean(self, values: FloatArray) -> Statistic:
        """Mean of (n,) numbers; rows of NaN are left out."""
        known = ~np.isnan(values)
        return mean_over_rows(values[known], self.symbol[known], len(self.names))

    @cached_property
    def _areas(self) -> dict[tuple[str, str], Statistic]:
        """AUC by (score, label): several checks ask for the same."""
        return {}


def _mean_loss(rows: Rows, loss: RowLoss, target: str, forecast: str, group: IntArray, n_groups: int) -> Statistic:
    realised, predicted = rows.column(target), rows.column(forecast)
    known = ~np.isnan(realised)
    return mean_over_rows(loss(realised[known], predicted[known]), group[known], n_groups)


def absolute_errors(target: npt.ArrayLike, forecast: npt.ArrayLike) -> FloatArray:
    """(n,) |ŷ − y|, in the target's unit."""
    errors: FloatArray = np.abs(np.asarray(forecast, float) - np.asarray(target, float))
    return errors
