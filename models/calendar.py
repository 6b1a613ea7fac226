"""Sessions, their closes, and what a night of a session may know."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.config import DataConfig
from models.errors import ConfigError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

SessionArray = npt.NDArray[np.datetime64]
"""datetime64[D], one session each."""

_FIRST = pd.Timestamp("1970-01-01")
ALWAYS_OPEN = "24/7"


@dataclass(frozen=True)
class Calendar:
    """The exchange's sessions; for 24/7 markets the UTC days."""

    exchange: str
    cutoff_hours: float = 6.0

    @classmethod
    def of(cls, config: DataConfig) -> "Calendar":
        return cls(config.exchange, config.cutoff_hours)

    @property
    def sessions(self) -> SessionArray:
        """All sessions that the calendar knows, ascending."""
        return _sessions(self.exchange)

    @property
    def time_zone(self) -> str:
        """Time zone of the exchange."""
        return str(_calendar(self.exchange).tz)

    def date_of(self, moment: datetime) -> date:
        """The date at the exchange at a moment."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()

    def holds(self, day: date) -> bool:
        """Whether the exchange is open that day."""
        return bool(self.is_session(np.array([day], "datetime64[D]"))[0])

    def is_session(self, days: SessionArray) -> npt.NDArray[np.bool_]:
        """Whether each day is a session of the exchange."""
        return np.isin(days, self.sessions)

    def closes(self, days: SessionArray) -> npt.NDArray[np.datetime64]:
        """UTC time of the close of each session, datetime64[us]; NaT for a day that is none."""
        position = np.searchsorted(self.sessions, days)
        known = self.is_session(days)
        closes = np.full(len(days), np.datetime64("NaT"), "datetime64[us]")
        closes[known] = _closes(self.exchange)[position[known]]
        return closes

    def close(self, session: date) -> datetime:
        """The close of one session, with time zone UTC."""
        moment: datetime = self.closes(np.array([session], "datetime64[D]"))[0].item()
        return moment.replace(tzinfo=UTC)

    def as_of(self, session: date) -> datetime:
        """Latest moment whose facts a night of this session may use: the next open, or close + cutoff for 24/7.

        Raises:
            ConfigError: the day is no session of this exchange.
        """
        self.refuse_other_days(session)
        if self.exchange == ALWAYS_OPEN:
            return datetime.combine(session + timedelta(days=1), datetime.min.time(), UTC) + timedelta(
                hours=self.cutoff_hours
            )
        following = _calendar(self.exchange).next_session(pd.Timestamp(session))
        opening: datetime = _calendar(self.exchange).session_open(following).to_pydatetime()
        return opening

    def refuse_other_days(self, day: date) -> None:
        """Do nothing for a session that can have a night.

        Raises:
            ConfigError: the exchange is closed that day, or the calendar does not reach to the session after it.
        """
        if not self.sessions[0] <= np.datetime64(day, "D") < self.sessions[-1]:
            raise ConfigError(
                f"{day} lies outside the calendar of {self.exchange}, which reaches from {self.sessions[0]} to "
                f"{self.sessions[-1]}. Give the date of a session within it."
            )
        if not self.holds(day):
            raise ConfigError(
                f"{day} is no session of {self.exchange}. Give the date of a session, for example "
                f"{self.session_at_or_before(day)}, or set data.exchange to the market's calendar."
            )

    def session_at_or_before(self, day: date) -> date:
        """The last session not later than this day."""
        position = int(np.searchsorted(self.sessions, np.datetime64(day, "D"), side="right")) - 1
        found: date = self.sessions[max(position, 0)].item()
        return found

    def between(self, earlier: date, later: date) -> int:
        """Sessions after the first day, up to the second; 0 where that is not later."""
        first, last = np.searchsorted(self.sessions, np.array([earlier, later], "datetime64[D]"), side="right")
        return max(int(last - first), 0)

    def after(self, session: date, n_sessions: int) -> date:
        """The session that many sessions later, or the calendar's first or last where it ends before that."""
        position = int(np.searchsorted(self.sessions, np.datetime64(session, "D"))) + n_sessions
        found: date = self.sessions[min(max(position, 0), len(self.sessions) - 1)].item()
        return found


@lru_cache(maxsize=8)
def _calendar(exchange: str) -> "ExchangeCalendar":
    import exchange_calendars

    recent = exchange_calendars.get_calendar(exchange)
    earliest = type(recent).bound_min()  # some calendars refuse earlier dates than their holidays are recorded for
    first = _FIRST if earliest is None else max(_FIRST, earliest)
    return exchange_calendars.get_calendar(exchange, start=first)


@lru_cache(maxsize=8)
def _sessions(exchange: str) -> SessionArray:
    sessions: SessionArray = _calendar(exchange).sessions.to_numpy().astype("datetime64[D]")
    return sessions


@lru_cache(maxsize=8)
def _closes(exchange: str) -> npt.NDArray[np.datetime64]:
    closes: SessionArray = _calendar(exchange).closes.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    return closes
