"""All that a night learns from and is judged on, made from its bars; every stage makes the same one again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from models.config import BoundedHead, RetrainConfig
from models.panel import IntArray, Panel, build_panel
from models.percentiles import head_scale
from models.records import Scale
from models.splits import History, Plan, Split, history, plan, rows_between, usable_rows
from models.targets import Targets, compute_targets


@dataclass(frozen=True)
class Dataset:
    """Panel, targets and their split by session."""

    bars: pd.DataFrame
    """Canonical bars of the night, sorted by symbol and session."""
    panel: Panel
    targets: Targets
    config: RetrainConfig
    planned: Plan | None = None
    """Splits to keep to; by default those of its own history."""

    @classmethod
    def of(cls, bars: pd.DataFrame, market: "pd.Series[float]", config: RetrainConfig) -> "Dataset":
        """The dataset of a night's bars and the market's stored returns by session."""
        panel = build_panel(bars, config.data, market)
        return cls(bars, panel, compute_targets(panel, config.targets), config)

    @cached_property
    def rows(self) -> IntArray:
        """Rows with enough of their window and all of their horizon present."""
        return usable_rows(self.panel, self.targets, self.config)

    @cached_property
    def history(self) -> History:
        """Sessions that can be learned from or judged on."""
        return history(self.panel, self.targets, self.config)

    @cached_property
    def plan(self) -> Plan:
        """The splits of tonight's models; only for a history that is long enough."""
        return self.planned or plan(self.history, self.panel.sessions, self.targets.reach, self.config)

    @property
    def split(self) -> Split:
        """The candidate's."""
        return self.plan.candidate

    @property
    def train(self) -> IntArray:
        """The candidate's training rows."""
        return self.between(self.split.train)

    @property
    def validation(self) -> IntArray:
        """Rows that choose the candidate's number of epochs; none where the recipe folds have chosen it."""
        return self.between(self.split.validation)

    @property
    def fresh(self) -> IntArray:
        """Rows that the candidate itself is judged on."""
        return self.between(self.split.evidence)

    @cached_property
    def evidence(self) -> IntArray:
        """Rows that any of tonight's models is judged on, by split and within it in the panel's order."""
        return np.concatenate([self.between(split.evidence) for split in self.plan.splits])

    def between(self, part: tuple[int, int]) -> IntArray:
        """Usable rows of a half-open range of session positions."""
        return rows_between(self.panel, self.rows, part)

    @property
    def trained_until(self) -> np.datetime64:
        """Last session that anything fitted has seen, early stopping included."""
        trained_until: np.datetime64 = self.panel.sessions[self.split.trained_until]
        return trained_until

    def scales(
        self, history: Sequence[Mapping[str, float | None]] = (), rows: IntArray | None = None
    ) -> dict[str, Scale]:
        """Scale of each bounded head, from training rows alone and the facts of the last nights.

        Args:
            history: Of earlier nights, oldest first; none for a recipe fold, which knows only its own past.
            rows: Training rows; the candidate's when not given.
        """
        heads: list[BoundedHead] = [head for head in self.config.network.heads if head != "direction"]
        train = self.train if rows is None else rows
        return {
            head: head_scale(head, getattr(self.targets, head)[train], self.config.targets, history) for head in heads
        }

    def realised(self, rows: IntArray) -> pd.DataFrame:
        """`direction, volatility_target, magnitude_target, direction_next_close` of these rows, never clipped."""
        later = self.config.targets.model_copy(update={"entry": "next_close"})
        return pd.DataFrame(
            {
                "direction": self.targets.direction[rows],
                "volatility_target": self.targets.volatility[rows],
                "magnitude_target": self.targets.magnitude[rows],
                "direction_next_close": compute_targets(self.panel, later).direction[rows],
            }
        )

    def target_frame(self) -> pd.DataFrame:
        """`session, symbol, direction, volatility, magnitude` of every row, NaN where there is no target."""
        every = np.arange(len(self.panel.session))
        return pd.DataFrame(
            {
                "session": self.panel.session_of(every).astype("datetime64[s]"),
                "symbol": pd.Series(self.panel.symbol_of(every), dtype="str"),
                "direction": self.targets.direction,
                "volatility": self.targets.volatility,
                "magnitude": self.targets.magnitude,
            }
        )
