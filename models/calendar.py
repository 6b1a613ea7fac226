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

Times = npt.NDArray[np.datetime64]
"""datetime64[us], UTC."""

_FIRST = pd.Timestamp("1970-01-01")
ALWAYS_OPEN = "24/7"
AROUND_THE_CLOCK = (ALWAYS_OPEN, "24/5")


@dataclass(frozen=True)
class Hours:
    """When the exchange trades: (n_sessions,) each, UTC; the ends of the break are NaT where there is none."""

    opens: Times
    break_starts: Times
    break_ends: Times
    closes: Times

    @property
    def minutes(self) -> npt.NDArray[np.float64]:
        """(n_sessions,) minutes of trading."""
        return self.minutes_of(self.opens, self.closes)

    def minutes_of(self, starts: Times, ends: Times) -> npt.NDArray[np.float64]:
        """(n_sessions,) minutes of trading from `starts` to `ends`, one pair for each session."""
        at_rest = np.nan_to_num(_minutes_common(starts, ends, self.break_starts, self.break_ends))
        return _minutes_common(starts, ends, self.opens, self.closes) - at_rest


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

    @property
    def around_the_clock(self) -> bool:
        """Whether a session ends only because a day does: nobody closes the market."""
        return self.exchange in AROUND_THE_CLOCK

    def dates_of(self, instants: Times) -> SessionArray:
        """(n,) the date at the exchange at each instant."""
        there = pd.Series(instants).dt.tz_localize("UTC").dt.tz_convert(self.time_zone).dt.tz_localize(None)
        dates: SessionArray = there.to_numpy().astype("datetime64[D]")
        return dates

    def date_of(self, moment: datetime) -> date:
        """The date at the exchange at a moment."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()

    def holds(self, day: date) -> bool:
        """Whether the exchange is open that day."""
        return bool(self.is_session(np.array([day], "datetime64[D]"))[0])

    def is_session(self, days: SessionArray) -> npt.NDArray[np.bool_]:
        """Whether each day is a session of the exchange."""
        return np.isin(days, self.sessions)

    def closes(self, days: SessionArray) -> Times:
        """UTC time of the close of each session, datetime64[us]; NaT for a day that is none."""
        return self.hours(days).closes

    def hours(self, days: SessionArray) -> "Hours":
        """When the exchange trades in each session; NaT for a day that is none."""
        position = np.searchsorted(self.sessions, days)
        known = self.is_session(days)
        times = np.full((4, len(days)), np.datetime64("NaT"), "datetime64[us]")
        times[:, known] = _hours(self.exchange)[:, position[known]]
        return Hours(*times)

    def sessions_of(self, starts: Times, length: np.timedelta64) -> SessionArray:
        """The session that trades at some time of each bar; NaT for a bar outside all trading hours.

        Of two sessions that a long bar touches the earlier. A lunch break lies within its session.

        Args:
            starts: (n,) UTC, datetime64[us].
            length: Of every bar.
        """
        opens, *_, closes = _hours(self.exchange)
        position = np.minimum(np.searchsorted(closes, starts, side="right"), len(closes) - 1)
        trades = (starts < closes[position]) & (starts + length > opens[position])
        return np.where(trades, self.sessions[position], np.datetime64("NaT"))

    def close(self, session: date) -> datetime:
        """The close of one session, with time zone UTC."""
        moment: datetime = self.closes(np.array([session], "datetime64[D]"))[0].item()
        return moment.replace(tzinfo=UTC)

    def as_of(self, session: date) -> datetime:
        """Latest moment whose facts a night of this session may use: the next open.

        Where that comes with the close itself, as in markets that trade around the clock, the close + cutoff.

        Raises:
            ConfigError: the day is no session of this exchange.
        """
        self.refuse_other_days(session)
        following = _calendar(self.exchange).next_session(pd.Timestamp(session))
        opening: datetime = _calendar(self.exchange).session_open(following).to_pydatetime()
        close = self.close(session)
        return opening if opening > close else close + timedelta(hours=self.cutoff_hours)

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
def _hours(exchange: str) -> Times:
    """(4, n_sessions) opens, starts and ends of breaks, closes."""
    calendar = _calendar(exchange)
    columns = (calendar.opens, calendar.break_starts, calendar.break_ends, calendar.closes)
    return np.stack([column.dt.tz_convert(None).to_numpy().astype("datetime64[us]") for column in columns])


def _minutes_common(starts: Times, ends: Times, others: Times, their_ends: Times) -> npt.NDArray[np.float64]:
    """Minutes that two stretches of time have in common; NaN where an end is missing."""
    common = (np.minimum(ends, their_ends) - np.maximum(starts, others)) / np.timedelta64(1, "m")
    return np.maximum(common, 0.0)
