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
from models.splits import History, Split, history, rows_between, single_fold, usable_rows
from models.targets import Targets, compute_targets


@dataclass(frozen=True)
class Dataset:
    """Panel, targets and their split by session."""

    bars: pd.DataFrame
    """Canonical bars of the night, sorted by symbol and session."""
    panel: Panel
    targets: Targets
    config: RetrainConfig

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
    def split(self) -> Split:
        """The single fold; only for a history that is long enough."""
        return single_fold(self.history, self.targets.reach, self.config)

    @property
    def train(self) -> IntArray:
        return rows_between(self.panel, self.rows, self.split.train)

    @property
    def validation(self) -> IntArray:
        return rows_between(self.panel, self.rows, self.split.validation)

    @property
    def evidence(self) -> IntArray:
        return rows_between(self.panel, self.rows, self.split.evidence)

    @property
    def trained_until(self) -> np.datetime64:
        """Last session that anything fitted has seen, early stopping included."""
        trained_until: np.datetime64 = self.panel.sessions[self.split.trained_until]
        return trained_until

    def scales(self, history: Sequence[Mapping[str, float | None]] = ()) -> dict[str, Scale]:
        """Scale of each bounded head, from the training rows alone and the facts of the last nights."""
        heads: list[BoundedHead] = [head for head in self.config.network.heads if head != "direction"]
        train = self.train
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
