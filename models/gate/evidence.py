"""The out-of-sample frame as the gate reads it: sessions numbered, resampled once, statistics by column name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bootstrap import (
    Interval,
    Resamples,
    Statistic,
    block_length,
    mean_over_rows,
    mean_session_auc,
    pooled_auc,
)
from models.config import GateConfig
from models.scores import FloatArray, IntArray

RowLoss = Callable[[FloatArray, FloatArray], FloatArray]
"""(n,) targets, (n,) forecasts → (n,) losses."""


@dataclass(frozen=True)
class Evidence:
    """Out-of-sample rows and the resamples of their sessions; statistics of one `Evidence` are paired."""

    frame: pd.DataFrame
    session: IntArray
    """(n,) number of each row's session, 0 for the first."""
    resamples: Resamples
    confidence: float
    relative: bool
    """Whether direction is relative to the session's median: then AUC pools all rows."""

    @classmethod
    def of(cls, frame: pd.DataFrame, config: GateConfig, *, reach: int, relative: bool) -> "Evidence":
        """Number and resample the sessions of a frame.

        Args:
            frame: `session`, `symbol` and the columns that will be asked for.
            config: Replicates and confidence.
            reach: Sessions that one label looks ahead.
            relative: As the attribute.
        """
        ordered = frame.sort_values(["session", "symbol"], ignore_index=True)
        sessions, session = np.unique(ordered["session"].to_numpy(), return_inverse=True)
        resamples = Resamples.draw(
            max(len(sessions), 1), block=block_length(reach), n_replicates=config.bootstrap_replicates
        )
        return cls(ordered, session, resamples, config.confidence, relative)

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
        area = pooled_auc if self.relative else mean_session_auc
        return area(self.column(label), self.column(score), self.session, self._width)

    def mean_loss(self, loss: RowLoss, target: str, forecast: str) -> Statistic:
        """Mean loss of a forecast column over the rows that have the target."""
        realised, predicted = self.column(target), self.column(forecast)
        known = ~np.isnan(realised)
        return mean_over_rows(loss(realised[known], predicted[known]), self.session[known], self._width)

    def interval(self, statistic: Statistic) -> Interval:
        """The statistic and its block-bootstrap interval."""
        return self.resamples.interval(statistic, self.confidence)

    @property
    def _width(self) -> int:
        return int(self.resamples.weights.shape[1])


def absolute_errors(target: npt.ArrayLike, forecast: npt.ArrayLike) -> FloatArray:
    """(n,) |ŷ − y|, in the target's unit."""
    errors: FloatArray = np.abs(np.asarray(forecast, float) - np.asarray(target, float))
    return errors
