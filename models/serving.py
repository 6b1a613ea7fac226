"""Predictions of an exported model: what was measured is what serves, so evidence and scoring both come from here."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.card import ModelCard, read_card
from models.config import DataConfig
from models.panel import Float32Array, IntArray, Panel, build_panel, last_rows, windows
from models.quiet import load_tensorflow


class ServedModel:
    """One exported model, loaded by TensorFlow alone; none of our classes is needed.

    It runs on the CPU even beside a GPU, so that it says the same on every machine.
    """

    def __init__(self, directory: Path) -> None:
        self._tf = load_tensorflow()
        self.card: ModelCard = read_card(directory)
        with self._tf.device("/CPU:0"):
            self._model = self._tf.saved_model.load(str(directory / "saved_model"))
        self._signature = self._model.signatures["serving_default"]

    def __call__(self, bars: Float32Array) -> dict[str, np.ndarray[Any, Any]]:
        """Heads for raw bars [batch, window + 1, 7]."""
        with self._tf.device("/CPU:0"):
            return {head: output.numpy() for head, output in self._signature(bars=self._tf.constant(bars)).items()}

    def predict(self, panel: Panel, rows: IntArray) -> pd.DataFrame:
        """`session, symbol, version, p_up` and the bounded heads for rows of a panel, a block of windows at a time."""
        blocks = [self(block) for block in windows(panel, rows, self.card.window)]
        heads = {head: np.concatenate([block[head] for block in blocks]) for head in (blocks[0] if blocks else ())}
        frame = pd.DataFrame(
            {
                "session": panel.session_of(rows).astype("datetime64[s]"),
                "symbol": pd.Series(panel.symbol_of(rows), dtype="str"),
                "version": pd.Series([self.card.version] * len(rows), dtype="str"),
            }
        )
        for head in self.card.heads:
            output = heads.get(head, np.empty((0, 2) if head == "direction" else 0))
            frame["p_up" if head == "direction" else head] = np.asarray(
                output[:, 1] if head == "direction" else output, np.float64
            )
        return frame


def disagreement(model: ServedModel, bars: pd.DataFrame, panel: Panel, rows: IntArray, data: DataConfig) -> float:
    """Largest difference of the same rows alone, in a batch, and with later bars cut off; NaN without rows.

    Bounded heads count in units of their scale.

    Args:
        model: The exported model.
        bars: The night's canonical bars, of which the panel was made.
        panel: The panel of all these bars.
        rows: A few rows to compare, of at most a handful of sessions.
        data: How the panel is made.
    """
    together = model.predict(panel, rows)
    alone = pd.concat([model.predict(panel, rows[[i]]) for i in range(len(rows))], ignore_index=True)
    as_of_each = _as_of_each_session(model, bars, panel, rows, data)
    truncated = together[["session", "symbol"]].merge(as_of_each, on=["session", "symbol"], how="left")
    units = {"p_up": 1.0, **model.card.scales}
    differences = [
        np.max(np.abs(together[column].to_numpy() - other[column].to_numpy())) / unit
        for other in (alone, truncated)
        for column, unit in units.items()
    ]
    return float(np.max(differences)) if len(rows) else float("nan")


def _as_of_each_session(
    model: ServedModel, bars: pd.DataFrame, panel: Panel, rows: IntArray, data: DataConfig
) -> pd.DataFrame:
    """Predictions of these rows from panels that end at their own session."""
    frames = []
    for position in np.unique(panel.session[rows]):
        known = bars[bars["session"] <= panel.sessions[position].astype("datetime64[s]")]
        past = build_panel(known, data, panel.market.iloc[: position + 1])
        wanted = np.isin(
            past.symbol_of(last := last_rows(past)), panel.symbol_of(rows[panel.session[rows] == position])
        )
        frames.append(model.predict(past, last[wanted]))
    return pd.concat(frames, ignore_index=True)
