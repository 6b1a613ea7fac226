"""The market's return, from the stored table for training and scoring alike: no prediction depends on its batch."""

from datetime import datetime

import pandas as pd

from models.config import DataConfig
from models.panel import build_panel
from models.store import BarsStore


def market_of(store: BarsStore, bars: pd.DataFrame, data: DataConfig, as_of: datetime) -> "pd.Series[float]":
    """Median log return by session of these bars, stored where it is new, and read back as known.

    The first session of the bars has no return to compute; it keeps what an earlier, longer look has stored, else 0.
    """
    computed = build_panel(bars, data).market
    if not computed.any():  # too few symbols: what more of them have stored is not their market
        return computed
    store.record_market(computed.iloc[1:], as_of)
    return store.market_as_known(as_of).reindex(computed.index, fill_value=0.0)
