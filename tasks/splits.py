"""What people say of splits: what is suspect, and their answers."""

from datetime import date, datetime

import pandas as pd

from models.calendar import Calendar
from models.config import RetrainConfig
from models.errors import ConfigError
from models.locations import Locations
from models.rulings import (
    NO_ACTION,
    ActionsSeen,
    Ruling,
    Rulings,
    actions_seen,
    refuse_unknown_bar,
    suspect_ratio,
)
from models.store import BarsStore
from tasks.promote import actor


def see_actions(config: RetrainConfig, now: datetime) -> ActionsSeen:
    """What a night of the last session would make of the bars as known now.

    Raises:
        StoreError: they cannot be read.
    """
    return actions_seen(_bars(config, now), config.data)


def confirm(
    symbol: str, session: date, ratio: float | None, reason: str, config: RetrainConfig, now: datetime
) -> Ruling:
    """Record that a symbol has split, for all nights from now on.

    Args:
        symbol: As in the bars.
        session: The first that trades at the new price.
        ratio: New shares for one old; None takes the simple ratio that prices are near.
        reason: Why, for whoever asks later.
        config: Where the store is.
        now: When the ruling becomes known.

    Raises:
        ConfigError: there is no such bar, the ratio is not known, or the reason is empty.
        StoreError: the table cannot be read or written.
    """
    bars = _bars(config, now)
    if ratio is None:
        ratio = suspect_ratio(actions_seen(bars, config.data), bars, symbol, session)
    return _rule(bars, symbol, session, ratio, reason, config, now)


def dismiss(symbol: str, session: date, reason: str, config: RetrainConfig, now: datetime) -> Ruling:
    """Record that a move was genuine; arguments and errors as of `confirm`."""
    return _rule(_bars(config, now), symbol, session, NO_ACTION, reason, config, now)


def _rule(
    bars: pd.DataFrame, symbol: str, session: date, ratio: float, reason: str, config: RetrainConfig, now: datetime
) -> Ruling:
    refuse_unknown_bar(bars, symbol, session)
    if not ratio > 0:
        raise ConfigError(f"The ratio {ratio:g} of {symbol} is no number of new shares for one old: it is above zero.")
    if not reason.strip():
        raise ConfigError(f"A ruling on {symbol} needs its reason, for whoever asks later. Say why with --reason.")
    ruling = Ruling(symbol=symbol, session=session, ratio=ratio, known_at=now, actor=actor(), reason=reason)
    return Rulings(Locations(config.storage)).add(ruling)


def _bars(config: RetrainConfig, now: datetime) -> pd.DataFrame:
    store = BarsStore(Locations(config.storage))
    last = store.last_session()
    first = Calendar.of(config.data).after(last, 1 - config.data.lookback_sessions) if last else None
    return store.as_known(now, first)
