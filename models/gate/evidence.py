"""The out-of-sample frame as the gate reads it: sessions numbered, resampled once, statistics by column name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

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
        realised, predicted = self.column(target), self.column(forecast)
        known = ~np.isnan(realised)
        return mean_over_rows(loss(realised[known], predicted[known]), self.session[known], self._width)

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


def absolute_errors(target: npt.ArrayLike, forecast: npt.ArrayLike) -> FloatArray:
    """(n,) |ŷ − y|, in the target's unit."""
    errors: FloatArray = np.abs(np.asarray(forecast, float) - np.asarray(target, float))
    return errors
