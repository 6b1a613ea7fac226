"""Which night a scheduled run shall be, and until when a night may take."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from models.calendar import Calendar
from models.config import CatchUp
from models.records import Record


class Planned(Record):
    """What a scheduled run shall do."""

    session: date
    skip: str | None = None
    """Why nothing is to be done; None where the night of the session is to run."""


def planned_night(planned: datetime, now: datetime, policy: CatchUp, calendar: Calendar) -> Planned:
    """The night that a scheduled run shall be.

    Under `latest` a run that was missed stands in for the newest night that is due, for which after a long outage no
    run was ever made; the runs after it find that session judged.

    Args:
        planned: When the schedule meant the run to start: it is for this day at the exchange.
        now: The present moment; after an outage that may be days later.
        policy: What is done about nights that were missed.
        calendar: Sessions of the exchange.
    """
    session = calendar.date_of(planned)
    if not calendar.holds(session):
        return Planned(session=session, skip=f"{session} is no session of {calendar.exchange}")
    newest = _newest_due(planned, now, calendar)
    if policy == "latest" and newest > session:
        return Planned(session=newest)
    if policy == "none" and (newest > session or now > calendar.as_of(session)):
        missed = f"missed: it should have started at {planned:%Y-%m-%d %H:%M} UTC, and operation.catch_up = none"
        return Planned(session=session, skip=missed)
    return Planned(session=session)


def _newest_due(planned: datetime, now: datetime, calendar: Calendar) -> date:
    """The last session whose night, planned for the same time of day, should have started by now."""
    zone = ZoneInfo(calendar.time_zone)
    today = now.astimezone(zone)
    due_today = today.time() >= planned.astimezone(zone).time()
    return calendar.session_at_or_before(today.date() if due_today else today.date() - timedelta(days=1))


def deadline(session: date, must_finish_by: str, started: datetime, calendar: Calendar) -> datetime | None:
    """When the retraining of a session is given up; None where it has no deadline, or is a replay of the past.

    Args:
        session: The night's session.
        must_finish_by: `next_open`, `none`, or a time of day at the exchange, `08:30`: the first after the close.
        started: When the night began, with a time zone.
        calendar: Sessions of the exchange.
    """
    if must_finish_by == "none":
        return None
    latest = calendar.as_of(session)
    if must_finish_by != "next_open":
        latest = _first_after_close(session, time.fromisoformat(must_finish_by), calendar)
    return latest if started < calendar.as_of(session) else None


def _first_after_close(session: date, at: time, calendar: Calendar) -> datetime:
    zone = ZoneInfo(calendar.time_zone)
    close = calendar.close(session)
    same_day = datetime.combine(close.astimezone(zone).date(), at, zone)
    return same_day if same_day > close else datetime.combine(same_day.date() + timedelta(days=1), at, zone)
