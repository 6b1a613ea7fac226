"""Whether all is well: what should be there by now, against what is."""

from datetime import date, datetime

from models.calendar import Calendar
from models.records import Record


class Freshness(Record):
    """How fresh everything is, in sessions of the exchange."""

    due: date
    """The newest session whose night must be over: the exchange has opened again since."""
    data_until: date | None
    """Last session with bars in the store."""
    decided_until: date | None
    """Last session with a decision in the ledger."""
    scored: bool
    """Whether the champion's predictions for the last session of the store are published."""
    trained_until: date | None
    """Last session that the champion learnt from; None where nothing serves."""
    stopped: tuple[str, ...] = ()
    """Deliveries that were stopped and would bring later sessions than the store has."""


def due_session(now: datetime, calendar: Calendar) -> date:
    """The newest session whose next open has come."""
    session = calendar.session_at_or_before(calendar.date_of(now))
    while calendar.as_of(session) > now:
        session = calendar.after(session, -1)
    return session


def concerns(fresh: Freshness, calendar: Calendar, max_champion_age: int) -> tuple[str, ...]:
    """What is not as it should be, a sentence each; empty where all is well."""
    stopped = f"Stopped and not mended: {', '.join(fresh.stopped)}." if fresh.stopped else None
    data, nights = _about_data(fresh, calendar), _about_nights(fresh, calendar)
    found = (stopped, data, nights, _about_champion(fresh, calendar, max_champion_age))
    return tuple(concern for concern in found if concern)


def _about_data(fresh: Freshness, calendar: Calendar) -> str | None:
    last = fresh.data_until
    if last is None:
        return "There are no bars yet: bring some in with `nocturne ingest PATH`."
    behind = calendar.between(last, fresh.due)
    return f"The last bars are of {last}, {_sessions(behind)} behind: no good delivery came since." if behind else None


def _about_nights(fresh: Freshness, calendar: Calendar) -> str | None:
    last = fresh.decided_until
    if last is None:
        return "No night was decided yet: `nocturne retrain` runs one."
    behind = calendar.between(last, fresh.due)
    return f"The last night was that of {last}, {_sessions(behind)} ago: does the schedule run?" if behind else None


def _about_champion(fresh: Freshness, calendar: Calendar, max_age: int) -> str | None:
    last = fresh.trained_until
    if last is None:
        return "Nothing serves: no night has promoted a model."
    age = calendar.between(last, fresh.due)
    if age > max_age:
        limit = f"gate.max_champion_age_sessions = {max_age}"
        return f"The champion learnt until {last}, which is {_sessions(age)} ago; more than {limit}."
    if not fresh.scored:
        return f"The champion's predictions for {fresh.data_until} are not published: `nocturne score`."
    return None


def _sessions(n: int) -> str:
    return "1 session" if n == 1 else f"{n:,} sessions"
